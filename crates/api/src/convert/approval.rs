//! Approvals and tool calls as messages.

use super::record::{span, timestamp};
use std::fmt::Write as _;
use taskpass_broker::CallDecision;
use taskpass_lease::{Approval, ApprovalState, Quorum, Verdict, Vote};
use taskpass_proto::v1;
use taskpass_types::Consequence;

pub(crate) fn approval(approval: Approval) -> v1::Approval {
    let used_by = match &approval.state {
        ApprovalState::Used { by, .. } => by.clone(),
        _ => String::new(),
    };
    v1::Approval {
        id: approval.id.to_string(),
        tenant: approval.tenant.into(),
        state: state(&approval.state).into(),
        agent: approval.agent.into(),
        owner: approval.owner.into(),
        initiator: approval.initiator.into(),
        task_id: approval.task.to_string(),
        purpose: approval.purpose,
        verb: approval.verb,
        resource: approval.resource.into(),
        actions: approval.actions.into_iter().map(String::from).collect(),
        ttl: approval.ttl.map(span),
        delegate_to: approval.to.map(String::from).unwrap_or_default(),
        tool: approval.tool.map(String::from).unwrap_or_default(),
        request_digest: hex(&approval.digest),
        quorums: approval.quorums.into_iter().map(quorum).collect(),
        votes: approval.votes.into_iter().map(vote).collect(),
        decision_id: approval.decision.to_string(),
        policies: approval.policies,
        policy_revision: approval.policy_revision.into(),
        create_time: Some(timestamp(approval.created_at)),
        expire_time: Some(timestamp(approval.expires_at)),
        used_by,
    }
}

fn state(state: &ApprovalState) -> v1::ApprovalState {
    match state {
        ApprovalState::Denied { .. } => v1::ApprovalState::Denied,
        ApprovalState::Expired { .. } => v1::ApprovalState::Expired,
        ApprovalState::Granted { .. } => v1::ApprovalState::Granted,
        ApprovalState::Pending => v1::ApprovalState::Pending,
        ApprovalState::Used { .. } => v1::ApprovalState::Used,
    }
}

fn quorum(Quorum { group, members, count }: Quorum) -> v1::Quorum {
    v1::Quorum {
        group: group.into(),
        count: count.into(),
        members: members.into_iter().map(String::from).collect(),
    }
}

fn vote(Vote { by, verdict, why, at }: Vote) -> v1::Vote {
    v1::Vote { by: by.into(), approve: verdict == Verdict::Approve, reason: why, time: Some(timestamp(at)) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A decision about a call; a denial says what an error would.
pub(crate) fn call_decision(decision: &CallDecision) -> v1::ToolDecision {
    let denial = decision.denial.as_deref();
    let approval = denial.and_then(|denial| denial.metadata().find(|(key, _)| *key == "approval"));
    v1::ToolDecision {
        allowed: denial.is_none(),
        decision_id: decision.decision.to_string(),
        policies: decision.policies.clone(),
        policy_revision: decision.revision.to_string(),
        why: denial.map_or_else(|| decision.why.clone(), |denial| denial.message().to_owned()),
        fix: denial.and_then(|denial| denial.fix_text()).unwrap_or_default().to_owned(),
        reason: denial.map(|denial| denial.reason().code()).unwrap_or_default().to_owned(),
        approval_id: approval.map(|(_, id)| id.to_owned()).unwrap_or_default(),
        consequence: match decision.consequence {
            None => v1::Consequence::Unspecified,
            Some(Consequence::Report) => v1::Consequence::Report,
            Some(Consequence::Hold) => v1::Consequence::Hold,
            Some(Consequence::Kill) => v1::Consequence::Kill,
        }
        .into(),
    }
}
