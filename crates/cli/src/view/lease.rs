//! A lease; never the credential.

use super::{End, end::state, rfc3339, timestamp, ttl_seconds, word};
use crate::output::{Record, Style};
use serde::Serialize;
use taskpass_proto::v1;
use taskpass_types::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeaseView {
    pub(crate) id: String,
    tenant: String,
    task_id: String,
    task_path: Vec<String>,
    pub(crate) agent: String,
    owner: String,
    /// `active`, or how it ended.
    state: String,
    subject: String,
    pub(crate) resource: String,
    actions: Vec<String>,
    kind: String,
    revocability: String,
    bound: bool,
    decision_id: String,
    policies: Vec<String>,
    policy_revision: String,
    key_generation: u32,
    #[serde(serialize_with = "rfc3339")]
    create_time: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    expire_time: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    hard_stop_time: Option<Timestamp>,
    ttl_seconds: u64,
    renewals: u32,
    /// Null while it is active.
    pub(crate) end: Option<End>,
}

impl LeaseView {
    pub(crate) fn new(lease: v1::Lease, now: Timestamp) -> Self {
        let expire_time = timestamp(lease.expire_time);
        let kind = word(lease.kind().as_str_name(), "CREDENTIAL_KIND_");
        let revocability = word(lease.revocability().as_str_name(), "REVOCABILITY_");
        let end = lease.end.map(End::from);
        Self {
            id: lease.id,
            tenant: lease.tenant,
            task_id: lease.task_id,
            task_path: lease.task_path,
            agent: lease.agent,
            owner: lease.owner,
            state: state("active", end.as_ref()),
            subject: lease.subject,
            resource: lease.resource,
            actions: lease.actions,
            kind,
            revocability,
            bound: lease.bound,
            decision_id: lease.decision_id,
            policies: lease.policies,
            policy_revision: lease.policy_revision,
            key_generation: lease.key_generation,
            create_time: timestamp(lease.create_time),
            expire_time,
            hard_stop_time: timestamp(lease.hard_stop_time),
            ttl_seconds: if end.is_some() { 0 } else { ttl_seconds(expire_time, now) },
            renewals: lease.renewals,
            end,
        }
    }
}

impl Record for LeaseView {
    const KIND: &'static str = "Lease";
    const COLUMNS: &'static [&'static str] =
        &["LEASE", "AGENT", "TASK", "RESOURCE", "ACTIONS", "KIND", "ENDS", "STATE"];

    fn name(&self) -> String {
        self.id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![
            style.id(&self.id),
            self.agent.clone(),
            style.id(&self.task_id),
            self.resource.clone(),
            style.text(&self.actions.join(",")),
            self.kind.clone(),
            if self.end.is_some() { "-".to_owned() } else { style.left(self.expire_time) },
            self.state.clone(),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let bound = if self.bound { "bound to the holder's key" } else { "bearer" };
        let mut details = vec![
            ("lease", self.id.clone()),
            ("state", self.state.clone()),
            ("agent", self.agent.clone()),
            ("owner", self.owner.clone()),
            ("subject", self.subject.clone()),
            ("task", self.task_path.join(" ")),
            ("grants", format!("{} {}", self.resource, self.actions.join(" "))),
            (
                "credential",
                format!("{} ({bound}), signed by key {}; never displayed", self.kind, self.key_generation),
            ),
            ("dies", self.revocability.clone()),
            (
                "decided",
                format!(
                    "{} under {} by {}",
                    self.decision_id,
                    self.policy_revision,
                    self.policies.join(", ")
                ),
            ),
            ("issued", style.past(self.create_time)),
            ("expires", format!("{} (renewed {} times)", style.left(self.expire_time), self.renewals)),
            ("hard stop", style.left(self.hard_stop_time)),
        ];
        match &self.end {
            Some(end) => details.push(("end", end.sentence(style))),
            None => details.push(("end it", format!("taskpass lease kill {}", style.id(&self.id)))),
        }
        details
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;

    fn lease() -> v1::Lease {
        v1::Lease {
            id: "ls_1".into(),
            kind: v1::CredentialKind::X509.into(),
            revocability: v1::Revocability::ExpiryOnly.into(),
            expire_time: Some(prost_types::Timestamp { seconds: 160, nanos: 0 }),
            ..Default::default()
        }
    }

    #[test]
    fn keys_are_stable() {
        insta::assert_snapshot!(keys(&LeaseView::new(lease(), Timestamp::default())), @r"
        .actions
        .agent
        .bound
        .createTime
        .decisionId
        .end
        .expireTime
        .hardStopTime
        .id
        .keyGeneration
        .kind
        .owner
        .policies
        .policyRevision
        .renewals
        .resource
        .revocability
        .state
        .subject
        .taskId
        .taskPath
        .tenant
        .ttlSeconds
        ");
    }

    #[test]
    fn enums_are_words() {
        let view = LeaseView::new(lease(), Timestamp::from_secs(100));
        assert_eq!(
            (view.kind.as_str(), view.revocability.as_str(), view.ttl_seconds),
            ("x509", "expiry_only", 60)
        );
    }

    #[test]
    fn a_row_has_a_cell_for_every_column() {
        let style = Style { now: Timestamp::default(), terminal: true };
        assert_eq!(LeaseView::new(lease(), style.now).row(&style).len(), LeaseView::COLUMNS.len());
    }
}
