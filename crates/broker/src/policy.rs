//! The policies in force, swapped as one.

use crate::{Broker, POLICY_PATIENCE, callers::Caller};
use arc_swap::ArcSwap;
use parking_lot::RwLock;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use taskpass_audit::{Action, Actor, Event};
use taskpass_lease::{Event as Change, Task};
use taskpass_policy::{AgentFacts, Policies, Request, TaskFacts, Verb};
use taskpass_types::{
    ActionName, CredentialKind, DecisionId, PolicyRevision, Refusal, ResourceName, Revocability, TenantId,
    Timestamp, Ttl,
};
use tokio::sync::watch;

/// Holds the policies in force. A set that is not valid never gets in here; the one before keeps serving.
pub struct PolicyKeeper {
    in_force: ArcSwap<InForce>,
    refused: RwLock<Option<String>>,
    revision: watch::Sender<PolicyRevision>,
}

struct InForce {
    policies: Arc<Policies>,
    since: Timestamp,
}

/// What an operator sees of the policies.
#[derive(Clone, Debug)]
pub struct PolicyStatus {
    /// A digest of their text.
    pub revision: PolicyRevision,
    /// Since when they are in force here.
    pub since: Timestamp,
    /// The name of each.
    pub names: Vec<String>,
    /// Why a newer set is not in force.
    pub refused: Option<String>,
}

impl PolicyKeeper {
    /// Begins with `policies`.
    pub fn new(policies: Policies, now: Timestamp) -> Self {
        let revision = watch::Sender::new(policies.revision().clone());
        let in_force = ArcSwap::from_pointee(InForce { policies: Arc::new(policies), since: now });
        Self { in_force, refused: RwLock::default(), revision }
    }

    pub(crate) fn current(&self) -> Arc<Policies> {
        self.in_force.load().policies.clone()
    }

    /// Changes whenever other policies come into force.
    pub fn revision(&self) -> watch::Receiver<PolicyRevision> {
        self.revision.subscribe()
    }

    /// What an operator sees.
    pub fn status(&self) -> PolicyStatus {
        let in_force = self.in_force.load();
        PolicyStatus {
            revision: in_force.policies.revision().clone(),
            since: in_force.since,
            names: in_force.policies.iter().map(|policy| policy.name.to_string()).collect(),
            refused: self.refused.read().clone(),
        }
    }

    fn swap(&self, policies: Policies, now: Timestamp) {
        let revision = policies.revision().clone();
        self.in_force.store(Arc::new(InForce { policies: Arc::new(policies), since: now }));
        *self.refused.write() = None;
        self.revision.send_replace(revision);
    }

    /// Waits, not for long, until something else than `revision` is in force.
    async fn changed_from(&self, revision: &PolicyRevision) {
        let mut changes = self.revision();
        let waited = changes.wait_for(|now| now != revision);
        // Whether it changed or the patience ran out: the caller decides again and is refused if it must be.
        drop(tokio::time::timeout(POLICY_PATIENCE, waited).await);
    }
}

/// What is to be decided: all actions on one resource for one credential.
pub(crate) struct Question<'a> {
    pub(crate) agent: &'a AgentFacts,
    pub(crate) verb: Verb,
    pub(crate) task: &'a Task,
    pub(crate) resource: &'a ResourceName,
    pub(crate) actions: &'a BTreeSet<ActionName>,
    pub(crate) kind: CredentialKind,
    pub(crate) revocability: Revocability,
    pub(crate) ttl: Ttl,
    pub(crate) bound: bool,
    pub(crate) attestation_age: Duration,
}

/// All actions were allowed.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) id: DecisionId,
    pub(crate) policies: Vec<String>,
    pub(crate) max_ttl: Option<Ttl>,
    pub(crate) revision: PolicyRevision,
}

impl Broker {
    /// Decides every action on its own; one denial refuses all, and says which and why.
    pub(crate) fn decide(&self, question: &Question<'_>) -> Result<Decided, Refusal> {
        let policies = self.parts().policies.current();
        let resource = self.parts().registry.resource_facts(question.resource);
        let Task { kind, purpose, initiator, path, labels, .. } = question.task;
        let task = TaskFacts::new(kind, purpose, initiator, path.depth(), labels);
        let mut decided = Decided {
            id: DecisionId::new(),
            policies: Vec::new(),
            max_ttl: None,
            revision: policies.revision().clone(),
        };
        for action in question.actions {
            let decision = policies.decide(&Request {
                agent: question.agent,
                verb: question.verb,
                resource: &resource,
                action,
                kind: question.kind,
                revocability: question.revocability,
                ttl: question.ttl,
                bound: question.bound,
                task: &task,
                attestation_age: question.attestation_age,
            });
            if let Some(refusal) = decision.refusal() {
                return Err(refusal.with("decision", decided.id));
            }
            let names = decision.determining.iter().map(ToString::to_string);
            decided.policies.extend(names);
            decided.max_ttl = strictest(decided.max_ttl, decision.obligations.max_ttl);
        }
        decided.policies.sort_unstable();
        decided.policies.dedup();
        Ok(decided)
    }

    /// Makes the store fence by the policies that this broker began with. Nothing is issued before.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn begin(&self) -> Result<(), Refusal> {
        self.fence(&self.parts().policies.current()).await
    }

    /// Puts a valid set of policies in force: first durably in the store, where every plan is fenced by it, then here.
    ///
    /// # Errors
    /// When the store cannot write; the policies before stay in force, and operators see why.
    pub async fn adopt_policies(&self, policies: Policies) -> Result<(), Refusal> {
        self.fence(&policies).await.inspect_err(|why| {
            tracing::warn!(%why, "the policies on disk are not in force yet");
            *self.parts().policies.refused.write() = Some(format!("not in force yet: {why}"));
        })?;
        self.parts().policies.swap(policies, self.now());
        Ok(())
    }

    async fn fence(&self, policies: &Policies) -> Result<(), Refusal> {
        let tenant = TenantId::default();
        let revision = policies.revision();
        let count = u64::try_from(policies.len()).unwrap_or(u64::MAX);
        let actor = || Actor::Broker("policies");
        let describe = |event: Event| event.policy_revision(revision).count(count);
        self.note(describe(Event::intent(&tenant, Action::PolicyLoad, actor())));
        let set = self.parts().store.apply(Change::SetPolicyRevision(revision.clone()), self.now()).await;
        let outcome = describe(Event::outcome(&tenant, Action::PolicyLoad, actor()));
        match set {
            Ok(_) => {
                self.note(outcome);
                Ok(())
            }
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    /// Keeps an invalid set of policies out, and says so to operators.
    pub fn refuse_policies(&self, why: &Refusal) {
        tracing::error!(%why, "the policies on disk are not valid; the ones before stay in force");
        *self.parts().policies.refused.write() = Some(why.message().to_owned());
        let event = Event::outcome(&TenantId::default(), Action::PolicyRefuse, Actor::Broker("policies"));
        self.note(event.refusal(why));
    }

    /// What an operator sees of the policies.
    ///
    /// # Errors
    /// `NOT_PERMITTED`.
    pub fn policy_status(&self, caller: &Caller) -> Result<PolicyStatus, Refusal> {
        caller.require(&[crate::Role::Operator])?;
        Ok(self.parts().policies.status())
    }

    pub(crate) async fn policies_changed_from(&self, revision: &PolicyRevision) {
        self.parts().policies.changed_from(revision).await;
    }
}

fn strictest(a: Option<Ttl>, b: Option<Ttl>) -> Option<Ttl> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
