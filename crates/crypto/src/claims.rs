//! The one JSON form of a grant, for the token's private claim and the certificate's extension.
//!
//! Invariant: [`check`] accepts what can be said in full and read back the same; signers and verifiers both call it. A
//! member that we do not know is refused, at any depth, so that duplicates are too: whoever adds one raises
//! [`VERSION`], and verifiers are upgraded before brokers.

use crate::thumbprint;
use serde::{Deserialize, Serialize};
use std::fmt;
use taskpass_types::{
    ActionName, AgentId, Confirmation, DecisionId, Epoch, Grant, KeyGeneration, LeaseId, Owner,
    PolicyRevision, ResourceName, SpiffeId, StatusListId, TaskPath, TenantId, Timestamp,
};

/// The version of the form, and of the one that has `deny_epoch`, which few need.
const VERSION: u8 = 1;
const WITH_DENY_EPOCH: u8 = 2;
/// More actions than this in one credential is a mistake.
const MAX_ACTIONS: usize = 64;
/// Times at or after this many seconds are nonsense, and would overflow somebody's arithmetic.
const MAX_SECS: u64 = 1 << 40;

/// A grant that contradicts itself, or that a credential cannot say in full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the grant is not sound: {0}")]
pub struct UnsoundGrant(&'static str);

/// A grant less its subject, which both kinds of credential say in their own way.
///
/// Of those after the generation, five are in certificates only: a token says them in standard claims, and nothing is said twice.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantClaim {
    v: u8,
    tenant: TenantId,
    lease: LeaseId,
    renewal: u32,
    task_path: TaskPath,
    agents: Vec<AgentId>,
    owner: Owner,
    decision: DecisionId,
    policy: PolicyRevision,
    #[serde(rename = "gen")]
    generation: KeyGeneration,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny_epoch: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<ActionName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
}

/// What a token says in standard claims, and [`GrantClaim`] in members of its own.
pub(crate) struct Terms {
    pub(crate) resource: ResourceName,
    pub(crate) actions: Vec<ActionName>,
    pub(crate) cnf: Option<Confirmation>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
}

impl GrantClaim {
    /// What a token's private claim says.
    pub(crate) fn for_token(grant: &Grant) -> Self {
        let deny_epoch = Some(grant.deny_epoch).filter(|epoch| *epoch > Epoch::default());
        Self {
            v: if deny_epoch.is_some() { WITH_DENY_EPOCH } else { VERSION },
            tenant: grant.tenant.clone(),
            lease: grant.lease,
            renewal: grant.renewal,
            task_path: grant.task_path.clone(),
            agents: grant.agents.clone(),
            owner: grant.owner.clone(),
            decision: grant.decision,
            policy: grant.policy_revision.clone(),
            generation: grant.key_generation,
            deny_epoch,
            resource: None,
            actions: None,
            cnf: None,
            iat: None,
            exp: None,
        }
    }

    /// What a certificate's extension says.
    pub(crate) fn for_certificate(grant: &Grant) -> Self {
        Self {
            resource: Some(grant.resource.clone()),
            actions: Some(grant.actions.clone()),
            cnf: grant.confirmation.clone(),
            iat: Some(grant.issued_at.as_secs()),
            exp: Some(grant.expires_at.as_secs()),
            ..Self::for_token(grant)
        }
    }

    /// The grant that a token says, sound.
    pub(crate) fn with_terms(self, subject: SpiffeId, terms: Terms) -> Result<Grant, UnsoundGrant> {
        if self.resource.is_some()
            || self.actions.is_some()
            || self.cnf.is_some()
            || self.iat.is_some()
            || self.exp.is_some()
        {
            return Err(UnsoundGrant("it says twice what a standard claim says"));
        }
        self.build(subject, terms)
    }

    /// The grant that a certificate says, sound.
    pub(crate) fn with_own_terms(mut self, subject: SpiffeId) -> Result<Grant, UnsoundGrant> {
        let (Some(resource), Some(actions), Some(iat), Some(exp)) =
            (self.resource.take(), self.actions.take(), self.iat, self.exp)
        else {
            return Err(UnsoundGrant("its resource, actions, iat or exp is missing"));
        };
        let cnf = self.cnf.take();
        self.build(subject, Terms { resource, actions, cnf, iat, exp })
    }

    fn build(self, subject: SpiffeId, terms: Terms) -> Result<Grant, UnsoundGrant> {
        let deny_epoch = match (self.v, self.deny_epoch) {
            (VERSION, None) => Epoch::default(),
            (WITH_DENY_EPOCH, Some(epoch)) if epoch > Epoch::default() => epoch,
            _ => return Err(UnsoundGrant("its version is not 1, or 2 with a deny epoch")),
        };
        let grant = Grant {
            tenant: self.tenant,
            lease: self.lease,
            renewal: self.renewal,
            task_path: self.task_path,
            agents: self.agents,
            owner: self.owner,
            subject,
            resource: terms.resource,
            actions: terms.actions,
            decision: self.decision,
            policy_revision: self.policy,
            key_generation: self.generation,
            deny_epoch,
            confirmation: terms.cnf,
            status: None,
            issued_at: Timestamp::from_secs(terms.iat),
            expires_at: Timestamp::from_secs(terms.exp),
        };
        check(&grant)?;
        Ok(grant)
    }
}

/// Whether a credential can say `grant` in full and without contradiction.
pub(crate) fn check(grant: &Grant) -> Result<(), UnsoundGrant> {
    let unsound = |why| Err(UnsoundGrant(why));
    if grant.agents.is_empty() || grant.agents.len() > TaskPath::MAX_DEPTH {
        return unsound("it has no agent, or more than a task path is deep");
    }
    if grant.actions.is_empty() || grant.actions.len() > MAX_ACTIONS {
        return unsound("it has no action, or more than 64");
    }
    if !grant.actions.is_sorted_by(|a, b| a < b) {
        return unsound("its actions are not sorted and distinct");
    }
    if !subject_is_holder(grant) {
        return unsound("its subject is not `<agent>/task/<task>` of its own holder and task");
    }
    let bound = |at: Timestamp| at == at.floor_to_secs() && (1..MAX_SECS).contains(&at.as_secs());
    if !bound(grant.issued_at) || !bound(grant.expires_at) {
        return unsound("a time is zero, beyond 2^40 s or has milliseconds");
    }
    if grant.expires_at <= grant.issued_at {
        return unsound("it ends before it begins");
    }
    if grant.status.is_some_and(|status| {
        status.index >= StatusListId::SIZE || status.list.generation() > grant.key_generation
    }) {
        return unsound("its place is beyond its status list, or the list is newer than its key");
    }
    match &grant.confirmation {
        Some(Confirmation::CertificateThumbprint(text) | Confirmation::KeyThumbprint(text))
            if !thumbprint::is_sha256(text) =>
        {
            unsound("its confirmation is not a SHA-256 in base64url")
        }
        _ => Ok(()),
    }
}

fn subject_is_holder(grant: &Grant) -> bool {
    let (Some(agent), Some(task)) = (grant.agent(), grant.task_path.task()) else {
        return false;
    };
    let task_of = |path| str::strip_prefix(path, agent.as_str())?.strip_prefix("/task/");
    task_of(grant.subject.path()).is_some_and(|text| says(text, format_args!("{task}")))
}

/// Whether `text` is exactly what `what` would be written as; nothing is written for it.
pub(crate) fn says(text: &str, what: fmt::Arguments<'_>) -> bool {
    struct Rest<'a>(&'a str);

    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, written: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(written).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    let mut rest = Rest(text);
    fmt::write(&mut rest, what).is_ok() && rest.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_says_the_same() {
        let task = taskpass_types::TaskId::new();
        let (text, renewal) = (format!("{task}.7"), 7);
        assert!(says(&text, format_args!("{task}.{renewal}")));
        for other in
            ["", ".7", &text[1..], &text[..text.len() - 1], &format!("{text} "), &format!("{task}.07")]
        {
            assert!(!says(other, format_args!("{task}.{renewal}")), "{other:?}");
        }
    }
}
