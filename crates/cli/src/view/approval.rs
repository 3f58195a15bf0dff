//! An approval: what waits for people, who they are, and what they said.

use super::{rfc3339, timestamp, ttl_seconds, word};
use crate::{
    output::{Record, Style},
    span,
};
use serde::Serialize;
use std::time::Duration;
use taskpass_proto::v1::{self, ApprovalState};
use taskpass_types::Timestamp;

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApprovalView {
    pub(crate) id: String,
    tenant: String,
    /// `pending`, `granted`, `denied`, `expired`, `used`.
    pub(crate) state: String,
    agent: String,
    owner: String,
    initiator: String,
    task_id: String,
    purpose: String,
    verb: String,
    resource: String,
    actions: Vec<String>,
    /// How long the credential or the child task would live; 0: nobody said.
    requested_ttl_seconds: u64,
    delegate_to: String,
    tool: String,
    request_digest: String,
    quorums: Vec<QuorumView>,
    votes: Vec<VoteView>,
    decision_id: String,
    policies: Vec<String>,
    policy_revision: String,
    #[serde(serialize_with = "rfc3339")]
    create_time: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    expire_time: Option<Timestamp>,
    /// What is left until then, while it is pending or granted.
    ttl_seconds: u64,
    used_by: String,
}

#[derive(Clone, Serialize)]
struct QuorumView {
    group: String,
    count: u32,
    members: Vec<String>,
}

#[derive(Clone, Serialize)]
struct VoteView {
    by: String,
    approve: bool,
    reason: String,
    #[serde(serialize_with = "rfc3339")]
    time: Option<Timestamp>,
}

impl ApprovalView {
    pub(crate) fn new(approval: v1::Approval, now: Timestamp) -> Self {
        let state = approval.state();
        let expire_time = timestamp(approval.expire_time);
        let open = matches!(state, ApprovalState::Pending | ApprovalState::Granted);
        Self {
            id: approval.id,
            tenant: approval.tenant,
            state: word(state.as_str_name(), "APPROVAL_STATE_"),
            agent: approval.agent,
            owner: approval.owner,
            initiator: approval.initiator,
            task_id: approval.task_id,
            purpose: approval.purpose,
            verb: approval.verb,
            resource: approval.resource,
            actions: approval.actions,
            requested_ttl_seconds: approval
                .ttl
                .and_then(|ttl| u64::try_from(ttl.seconds).ok())
                .unwrap_or_default(),
            delegate_to: approval.delegate_to,
            tool: approval.tool,
            request_digest: approval.request_digest,
            quorums: approval.quorums.into_iter().map(QuorumView::from).collect(),
            votes: approval.votes.into_iter().map(VoteView::from).collect(),
            decision_id: approval.decision_id,
            policies: approval.policies,
            policy_revision: approval.policy_revision,
            create_time: timestamp(approval.create_time),
            expire_time,
            ttl_seconds: if open { ttl_seconds(expire_time, now) } else { 0 },
            used_by: approval.used_by,
        }
    }

    /// What would be done, in a few words.
    pub(crate) fn wants(&self) -> String {
        let what = format!("{} {}", self.resource, self.actions.join(","));
        match self.verb.as_str() {
            "delegate" => format!("hand {what} on to {}", self.delegate_to),
            "call_tool" => format!("call {} on {what}", self.tool),
            "renew" => format!("renew {what}"),
            _ => what,
        }
    }

    /// Who asks.
    pub(crate) fn agent(&self) -> &str {
        &self.agent
    }

    /// Why, in the words of whoever started the task: a claim.
    pub(crate) fn claim(&self) -> String {
        format!("\"{}\"", self.purpose)
    }

    /// How many people have voted.
    pub(crate) fn vote_count(&self) -> usize {
        self.votes.len()
    }

    /// How many of which group have still to approve; empty: nobody.
    pub(crate) fn missing(&self) -> String {
        let missing = self.quorums.iter().filter_map(|quorum| {
            let more = quorum.count.saturating_sub(self.approved_in(quorum));
            (more > 0).then(|| format!("{more} of `{}`", quorum.group))
        });
        missing.collect::<Vec<_>>().join(" and ")
    }

    /// The newest vote as a sentence; empty: nobody voted.
    pub(crate) fn last_vote(&self) -> String {
        self.votes.last().map_or_else(String::new, VoteView::sentence)
    }

    /// Who denied it, and the sentence for the agent.
    pub(crate) fn denial(&self) -> Option<(&str, &str)> {
        let vote = self.votes.iter().rev().find(|vote| !vote.approve)?;
        Some((&vote.by, &vote.reason))
    }

    fn approved_in(&self, quorum: &QuorumView) -> u32 {
        let approved = self.votes.iter().filter(|vote| vote.approve && quorum.members.contains(&vote.by));
        u32::try_from(approved.count()).unwrap_or(u32::MAX)
    }

    /// What can be typed now.
    fn next(&self, style: &Style) -> Vec<(&'static str, String)> {
        let id = style.id(&self.id);
        match self.state.as_str() {
            "pending" => vec![
                ("approve", format!("taskpass approve {id}")),
                ("deny", format!("taskpass deny {id} --reason \"…\"")),
            ],
            "granted" => vec![
                ("next", "the agent repeats its request; once".to_owned()),
                ("take back", format!("taskpass deny {id} --reason \"…\"")),
            ],
            "expired" => vec![("next", "the agent asks again, which makes a new approval".to_owned())],
            _ => Vec::new(),
        }
    }
}

impl From<v1::Quorum> for QuorumView {
    fn from(v1::Quorum { group, count, members }: v1::Quorum) -> Self {
        Self { group, count, members }
    }
}

impl From<v1::Vote> for VoteView {
    fn from(v1::Vote { by, approve, reason, time }: v1::Vote) -> Self {
        Self { by, approve, reason, time: timestamp(time) }
    }
}

impl VoteView {
    /// `approved by maya: "checked order 7291"`.
    fn sentence(&self) -> String {
        let verb = if self.approve { "approved" } else { "denied" };
        let reason = if self.reason.is_empty() { String::new() } else { format!(": \"{}\"", self.reason) };
        format!("{verb} by {}{reason}", self.by)
    }
}

impl Record for ApprovalView {
    const KIND: &'static str = "Approval";
    const COLUMNS: &'static [&'static str] = &["ID", "ASKED", "AGENT", "WANTS", "WHY", "EXPIRES", "STATE"];

    fn name(&self) -> String {
        self.id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![
            style.id(&self.id),
            style.past(self.create_time),
            self.agent.clone(),
            self.wants(),
            style.text(&self.claim()),
            if self.ttl_seconds > 0 { style.left(self.expire_time) } else { "-".to_owned() },
            self.state.clone(),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let mut details = vec![
            ("approval", self.id.clone()),
            ("state", self.state.clone()),
            ("agent", self.agent.clone()),
            ("owner", self.owner.clone()),
            ("wants", self.wants()),
            ("for", lifetime(self.requested_ttl_seconds)),
            ("task", self.task_id.clone()),
            ("agent says", self.claim()),
            ("started by", self.initiator.clone()),
            ("asked", style.past(self.create_time)),
            ("expires", if self.ttl_seconds > 0 { style.left(self.expire_time) } else { String::new() }),
        ];
        for quorum in &self.quorums {
            let members =
                if quorum.members.is_empty() { "nobody".to_owned() } else { quorum.members.join(", ") };
            let approved = self.approved_in(quorum);
            details.push((
                "needs",
                format!("{} of `{}` ({approved} so far): {members}", quorum.count, quorum.group),
            ));
        }
        for vote in &self.votes {
            details.push(("vote", format!("{}, {}", vote.sentence(), style.past(vote.time))));
        }
        details.extend([
            ("used by", self.used_by.clone()),
            (
                "decided",
                format!(
                    "{} under {} by {}",
                    self.decision_id,
                    self.policy_revision,
                    self.policies.join(", ")
                ),
            ),
            ("request", self.request_digest.clone()),
        ]);
        details.extend(self.next(style));
        details
    }
}

/// Empty when nobody said.
fn lifetime(secs: u64) -> String {
    if secs == 0 { String::new() } else { span::show(Duration::from_secs(secs)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{approval, keys};

    fn view(approval: v1::Approval) -> ApprovalView {
        ApprovalView::new(approval, Timestamp::from_secs(100))
    }

    #[test]
    fn keys_are_stable() {
        insta::assert_snapshot!(keys(&view(approval())), @r"
        .actions
        .agent
        .createTime
        .decisionId
        .delegateTo
        .expireTime
        .id
        .initiator
        .owner
        .policies
        .policyRevision
        .purpose
        .quorums
        .quorums[].count
        .quorums[].group
        .quorums[].members
        .requestDigest
        .requestedTtlSeconds
        .resource
        .state
        .taskId
        .tenant
        .tool
        .ttlSeconds
        .usedBy
        .verb
        .votes
        .votes[].approve
        .votes[].by
        .votes[].reason
        .votes[].time
        ");
    }

    #[test]
    fn a_row_says_who_wants_what_and_why() {
        let style = Style { now: Timestamp::from_secs(100), terminal: true };
        let row = view(approval()).row(&style);
        assert_eq!(row.len(), ApprovalView::COLUMNS.len());
        assert_eq!(row.first().unwrap(), "ap_01234567");
        assert_eq!(&row[1..4], ["1m00s ago", "support/triage", "payments-api refund:create"]);
        assert_eq!(&row[5..], ["9m00s", "pending"]);
    }

    #[test]
    fn what_is_missing_counts_members_of_each_group() {
        assert_eq!(view(approval()).missing(), "1 of `finance` and 1 of `security`");
        let both = v1::Vote { by: "noor".into(), approve: true, ..Default::default() };
        let mut granted = approval();
        granted.votes.push(both);
        assert_eq!(view(granted).missing(), "");
    }

    #[test]
    fn every_verb_is_told_in_words() {
        let told = |verb: &str| view(v1::Approval { verb: verb.into(), ..approval() }).wants();
        assert_eq!(told("issue"), "payments-api refund:create");
        assert_eq!(told("delegate"), "hand payments-api refund:create on to ");
        assert_eq!(told("call_tool"), "call  on payments-api refund:create");
    }

    #[test]
    fn what_to_type_next_depends_on_the_state() {
        let style = Style { now: Timestamp::from_secs(100), terminal: true };
        for (state, ttl, next) in [
            (ApprovalState::Pending, 540, "taskpass approve ap_01234567"),
            (ApprovalState::Granted, 540, "once"),
            (ApprovalState::Expired, 0, "asks again"),
        ] {
            let view = view(v1::Approval { state: state.into(), ..approval() });
            assert_eq!(view.ttl_seconds, ttl);
            let details = view.details(&style);
            assert!(details.iter().any(|(_, value)| value.contains(next)), "{state:?}: {details:?}");
        }
        let mut denied = approval();
        denied.state = ApprovalState::Denied.into();
        denied.votes.push(v1::Vote {
            by: "noor".into(),
            reason: "use the ledger".into(),
            ..Default::default()
        });
        assert_eq!(view(denied).denial(), Some(("noor", "use the ledger")));
    }
}
