//! Plans, decisions and sets of policies as messages.

use super::record::timestamp;
use taskpass_broker::{
    Explained, Finding, PastDecision, Plan, ReplayChange, ReplaySum, Report, Subject, Then,
};
use taskpass_lease::PolicySetInfo;
use taskpass_policy::Suggestion;
use taskpass_proto::v1;
use taskpass_types::Timestamp;

pub(crate) fn plan(plan: &Plan) -> v1::PolicyPlan {
    v1::PolicyPlan {
        id: plan.id.to_string(),
        from_revision: plan.from.to_string(),
        to_revision: plan.policies.revision().to_string(),
        policies: u32::try_from(plan.policies.len()).unwrap_or(u32::MAX),
        examined: plan.examined,
        affected: u64::try_from(plan.findings.len()).unwrap_or(u64::MAX),
        agents: plan.agents().into_iter().map(ToString::to_string).collect(),
        warnings: plan.policies.warnings().iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn plan_item(finding: &Finding) -> v1::PlanItem {
    v1::PlanItem {
        id: finding.subject.to_string(),
        agent: finding.agent.to_string(),
        task_id: finding.task.to_string(),
        resource: finding.resource.as_ref().map(ToString::to_string).unwrap_or_default(),
        actions: finding.actions.iter().map(ToString::to_string).collect(),
        why: finding.why.clone(),
        rule: finding.rule.id.to_string(),
        action: action(finding).into(),
        // What is revoked ends when the change is made, which is not known yet.
        end_time: finding.ends_at.filter(|_| finding.rule.then != Then::Revoke).map(timestamp),
        shadow: finding.rule.shadow,
    }
}

/// A task ends or does not; only a lease can end later.
fn action(finding: &Finding) -> v1::DriftAction {
    match (finding.subject, finding.rule.then) {
        (_, Then::Revoke) => v1::DriftAction::Revoke,
        (Subject::Lease(_), Then::Grace(_)) => v1::DriftAction::Grace,
        (Subject::Lease(_), Then::Shorten) => v1::DriftAction::Shorten,
        _ => v1::DriftAction::Report,
    }
}

pub(crate) fn report(report: Report) -> v1::DecisionReport {
    v1::DecisionReport {
        allowed: report.allowed,
        policies: report.policies,
        policy_revision: report.revision,
        why: report.why,
        fix: report.fix,
        obligations: report.obligations,
    }
}

pub(crate) fn explained(explained: Explained) -> v1::ExplainDecisionResponse {
    let Explained { past, now, suggestion } = explained;
    let (suggestion, no_suggestion) = match suggestion {
        None => (String::new(), String::new()),
        Some(Suggestion::Permit(text)) => (text, String::new()),
        Some(other) => (String::new(), other.to_string()),
    };
    v1::ExplainDecisionResponse {
        seq: past.seq,
        time: instant(&past),
        agent: past.agent.to_string(),
        verb: past.verb.to_string(),
        resource: past.resource.to_string(),
        actions: past.actions.iter().map(ToString::to_string).collect(),
        task_id: past.task.map(|task| task.to_string()).unwrap_or_default(),
        lease_id: past.lease.unwrap_or_default(),
        decision_id: past.decision,
        then: Some(report(past.then)),
        now: now.map(report),
        suggestion,
        no_suggestion,
    }
}

pub(crate) fn replay_change(change: ReplayChange) -> v1::ReplayChange {
    let ReplayChange { past, now } = change;
    v1::ReplayChange {
        seq: past.seq,
        time: instant(&past),
        agent: past.agent.to_string(),
        verb: past.verb.to_string(),
        resource: past.resource.to_string(),
        actions: past.actions.iter().map(ToString::to_string).collect(),
        decision_id: past.decision,
        was_allowed: past.then.allowed,
        now_allowed: now.allowed,
        why: now.why,
    }
}

pub(crate) fn replay_sum(sum: ReplaySum) -> v1::ReplaySum {
    v1::ReplaySum {
        replayed: sum.replayed,
        newly_denied: sum.newly_denied,
        newly_allowed: sum.newly_allowed,
        passed_over: sum.passed_over,
    }
}

pub(crate) fn policy_set(info: &PolicySetInfo) -> v1::PolicySet {
    v1::PolicySet {
        number: info.number,
        revision: info.revision.to_string(),
        time: Some(timestamp(info.at)),
        by: info.by.clone(),
        origin: info.origin.as_str().to_owned(),
        bytes: info.bytes,
    }
}

fn instant(past: &PastDecision) -> Option<prost_types::Timestamp> {
    past.time.parse::<Timestamp>().ok().map(timestamp)
}
