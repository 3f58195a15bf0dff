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
    /// When drift ends it, sooner than it would end by itself; null: nothing does.
    #[serde(serialize_with = "rfc3339")]
    cut_time: Option<Timestamp>,
    cut_by: String,
    uses: u32,
    /// 0: no limit.
    max_uses: u32,
    /// When it is decided anew; null: it need not be.
    #[serde(serialize_with = "rfc3339")]
    recheck_time: Option<Timestamp>,
    /// Empty: it needed none.
    approval_id: String,
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
            cut_time: timestamp(lease.cut_time),
            cut_by: lease.cut_by,
            uses: lease.uses,
            max_uses: lease.max_uses,
            recheck_time: timestamp(lease.recheck_time),
            approval_id: lease.approval_id,
            end,
        }
    }
}

impl LeaseView {
    /// What ends it before its time; empty: nothing does.
    fn cut(&self, style: &Style) -> String {
        match (self.cut_time, &self.end) {
            (Some(_), None) => format!("ends in {} by {}", style.left(self.cut_time), self.cut_by),
            (Some(_), Some(_)) => format!("by {}", self.cut_by),
            (None, _) => String::new(),
        }
    }

    /// Empty: no tool was called with it, and nothing limits that.
    fn used(&self) -> String {
        match (self.uses, self.max_uses) {
            (0, 0) => String::new(),
            (uses, 0) => uses.to_string(),
            (uses, max) => format!("{uses} of {max}"),
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
            ("cut", self.cut(style)),
            ("uses", self.used()),
            ("recheck", self.recheck_time.map_or_else(String::new, |at| style.left(Some(at)))),
            ("approval", self.approval_id.clone()),
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
        .approvalId
        .bound
        .createTime
        .cutBy
        .cutTime
        .decisionId
        .end
        .expireTime
        .hardStopTime
        .id
        .keyGeneration
        .kind
        .maxUses
        .owner
        .policies
        .policyRevision
        .recheckTime
        .renewals
        .resource
        .revocability
        .state
        .subject
        .taskId
        .taskPath
        .tenant
        .ttlSeconds
        .uses
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
    fn what_limits_it_is_told() {
        let style = Style { now: Timestamp::from_secs(100), terminal: true };
        let told = |lease, name| {
            let details = LeaseView::new(lease, style.now).details(&style);
            details.into_iter().find(|(key, _)| *key == name).unwrap().1
        };
        let cut_time = Some(prost_types::Timestamp { seconds: 130, nanos: 0 });
        let cut = v1::Lease { cut_time, cut_by: "rule `gentle`".into(), ..lease() };
        assert_eq!(told(cut, "cut"), "ends in 30s by rule `gentle`");
        assert_eq!(told(lease(), "cut"), "");
        for (uses, max_uses, shown) in [(0, 0, ""), (3, 0, "3"), (0, 5, "0 of 5")] {
            assert_eq!(told(v1::Lease { uses, max_uses, ..lease() }, "uses"), shown);
        }
    }

    #[test]
    fn a_row_has_a_cell_for_every_column() {
        let style = Style { now: Timestamp::default(), terminal: true };
        assert_eq!(LeaseView::new(lease(), style.now).row(&style).len(), LeaseView::COLUMNS.len());
    }
}
