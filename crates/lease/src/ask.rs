//! Asking people, what they say, and what time does to a question.

use crate::{
    Approval, ApprovalState, Effects, Fence, Limits, Outcome, Quorum, RequestKey, RequestRecord,
    RequestTarget, Task, Verdict, View, Vote,
    consent::{approval_denied, approval_expired, approval_not_found},
    plan::in_force,
    start::{invalid, quota, request_id_reused},
    step::{standing, task_not_found},
};
use std::collections::{BTreeMap, BTreeSet};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, DecisionId, GroupName, Owner, Reason, Refusal, ResourceName, TaskId,
    TenantId, Timestamp, ToolName, Ttl, UserName,
};

/// Bounds on what one request may carry.
const MAX_VERB_BYTES: usize = 16;
const MAX_ACTIONS: usize = 64;
const MAX_QUORUMS: usize = 8;
const MAX_MEMBERS: usize = 64;
/// A longer sentence is cut rather than refused: a *no* must not fail for its length.
const MAX_WHY_CHARS: usize = 500;

/// Ask people to approve one exact request.
#[derive(Clone, Debug)]
pub struct RequestApproval {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id, chosen by the broker.
    pub id: ApprovalId,
    /// SHA-256 of exactly what is to be approved.
    pub digest: [u8; 32],
    /// Who asks: the holder of the task.
    pub agent: AgentId,
    /// Who answers for the agent now.
    pub owner: Owner,
    /// The task; for a delegation, the parent.
    pub task: TaskId,
    /// What is asked for, in one word of at most 16 bytes.
    pub verb: String,
    /// The resource.
    pub resource: ResourceName,
    /// What would be done there.
    pub actions: BTreeSet<ActionName>,
    /// For how long it is asked for.
    pub ttl: Option<Ttl>,
    /// For a delegation, to whom.
    pub to: Option<AgentId>,
    /// For a tool call, the tool.
    pub tool: Option<ToolName>,
    /// Who has to approve; each group once, at most 8 groups of at most 64 members.
    pub quorums: Vec<Quorum>,
    /// The decision that asked for approval.
    pub decision: DecisionId,
    /// The policies that determined it.
    pub policies: Vec<String>,
    /// The policies in force.
    pub fence: Fence,
}

/// What a person says to a request for approval.
#[derive(Clone, Debug)]
pub struct CastVote {
    /// The tenant.
    pub tenant: TenantId,
    /// What it is about.
    pub approval: ApprovalId,
    /// Who says it. A person: workloads cannot approve.
    pub by: UserName,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why; the agent reads it. Cut to 500 characters.
    pub why: String,
}

pub(crate) fn request_approval(
    view: View,
    ask: &RequestApproval,
    limits: &Limits,
    now: Timestamp,
) -> Result<Effects, Refusal> {
    let task = standing(&view, now)?;
    if task.agent() != Some(&ask.agent) {
        return Err(task_not_found());
    }
    in_force(&view, &ask.fence.policy_revision)?;
    check_size(ask)?;
    let key = RequestKey::of_approval(&ask.tenant, &ask.agent, &ask.digest)?;
    if let Some(earlier) = earlier(&view, ask, &key, now)? {
        return Ok(Effects { outcome: Outcome::Approval(Box::new(earlier.clone())), ..Effects::default() });
    }
    let approval = new_approval(ask, task, limits, now);
    can_be_granted(&approval)?;
    if view.pending_approvals >= limits.approvals_per_agent {
        return Err(quota("approvals that one agent waits for", limits.approvals_per_agent));
    }
    let record = RequestRecord::new(&ask.digest, RequestTarget::Approval(ask.id));
    Ok(Effects {
        approval: Some(approval.clone()),
        request: Some((key, record)),
        outcome: Outcome::Approval(Box::new(approval)),
        ..Effects::default()
    })
}

/// The answer to the same question, as long as there is one: who asks twice does not ask two rounds of people, and who
/// was told *no* does not get another chance until the first one would have passed.
fn earlier<'a>(
    view: &'a View,
    ask: &RequestApproval,
    key: &RequestKey,
    now: Timestamp,
) -> Result<Option<&'a Approval>, Refusal> {
    let Some(request) = &view.request else { return Ok(None) };
    if !matches!(request.target, RequestTarget::Approval(_)) {
        return Err(request_id_reused(key.id.as_str()));
    }
    let Some(approval) = view.approval.as_ref().filter(|found| found.digest == ask.digest) else {
        return Ok(None);
    };
    let required: BTreeMap<GroupName, u8> =
        ask.quorums.iter().map(|quorum| (quorum.group.clone(), quorum.count)).collect();
    match &approval.state {
        ApprovalState::Denied { .. } if now < approval.expires_at => Err(approval_denied(approval)),
        ApprovalState::Pending | ApprovalState::Granted { .. } => {
            Ok(Some(approval).filter(|found| !found.has_expired(now) && found.covers(&required)))
        }
        _ => Ok(None),
    }
}

fn check_size(ask: &RequestApproval) -> Result<(), Refusal> {
    if ask.verb.is_empty() || ask.verb.len() > MAX_VERB_BYTES {
        return Err(invalid("verb", format!("is empty or longer than {MAX_VERB_BYTES} bytes")));
    }
    if ask.actions.len() > MAX_ACTIONS {
        return Err(invalid("actions", format!("has more than {MAX_ACTIONS} entries")));
    }
    let groups: BTreeSet<&GroupName> = ask.quorums.iter().map(|quorum| &quorum.group).collect();
    if ask.quorums.is_empty() || ask.quorums.len() > MAX_QUORUMS || groups.len() != ask.quorums.len() {
        let what = format!("is empty, has more than {MAX_QUORUMS} entries, or names a group twice");
        return Err(invalid("quorums", what));
    }
    if ask.quorums.iter().any(|quorum| quorum.count == 0 || quorum.members.len() > MAX_MEMBERS) {
        return Err(invalid("quorums", format!("asks for nobody, or for more than {MAX_MEMBERS} members")));
    }
    Ok(())
}

/// Nobody waits for what can never come.
fn can_be_granted(approval: &Approval) -> Result<(), Refusal> {
    for quorum in &approval.quorums {
        let eligible = approval.eligible(quorum);
        if eligible < usize::from(quorum.count) {
            let Quorum { group, count, .. } = quorum;
            return Err(Refusal::new(
                Reason::ApproverNotEligible,
                format!("{count} of `{group}` would have to approve this, but only {eligible} may"),
            )
            .fix(format!(
                "let the operator add people to `{group}`; the agent's owner and the task's initiator do not count"
            ))
            .with("group", group)
            .with("required", count)
            .with("eligible", eligible));
        }
    }
    Ok(())
}

fn new_approval(ask: &RequestApproval, task: &Task, limits: &Limits, now: Timestamp) -> Approval {
    Approval {
        tenant: ask.tenant.clone(),
        id: ask.id,
        digest: ask.digest,
        agent: ask.agent.clone(),
        owner: ask.owner.clone(),
        initiator: task.initiator.clone(),
        task: ask.task,
        verb: ask.verb.clone(),
        resource: ask.resource.clone(),
        actions: ask.actions.iter().cloned().collect(),
        purpose: task.purpose.clone(),
        ttl: ask.ttl,
        to: ask.to.clone(),
        tool: ask.tool.clone(),
        quorums: ask.quorums.clone(),
        decision: ask.decision,
        policies: ask.policies.clone(),
        policy_revision: ask.fence.policy_revision.clone(),
        votes: Vec::new(),
        created_at: now,
        expires_at: now.plus(limits.approval_ttl).min(task.deadline),
        state: ApprovalState::Pending,
    }
}

pub(crate) fn cast_vote(view: View, cast: &CastVote, now: Timestamp) -> Result<Effects, Refusal> {
    let mut approval = view.approval.ok_or_else(approval_not_found)?;
    if !approval.may_vote(&cast.by) {
        return Err(not_eligible(&approval, &cast.by));
    }
    if approval.has_expired(now) {
        return Err(approval_expired(&approval));
    }
    if approval.has_voted(&cast.by) {
        return Err(settled(&approval, format!("`{}` has voted on this already", cast.by)));
    }
    match (&approval.state, cast.verdict) {
        (ApprovalState::Pending, _) | (ApprovalState::Granted { .. }, Verdict::Deny) => {}
        _ => return Err(settled(&approval, format!("approval `{}` is decided", approval.id))),
    }
    let why: String = cast.why.chars().take(MAX_WHY_CHARS).collect();
    approval.votes.push(Vote { by: cast.by.clone(), verdict: cast.verdict, why: why.clone(), at: now });
    approval.state = match cast.verdict {
        Verdict::Deny => ApprovalState::Denied { by: cast.by.clone(), why, at: now },
        Verdict::Approve if approval.is_complete() => ApprovalState::Granted { at: now },
        Verdict::Approve => ApprovalState::Pending,
    };
    Ok(changed(approval))
}

pub(crate) fn tick_approval(view: View, limits: &Limits, now: Timestamp) -> Effects {
    let Some(mut approval) = view.approval else { return Effects::default() };
    if now < approval.due(limits) {
        return Effects::default();
    }
    if approval.settled_at().is_some() {
        return Effects {
            forget_approval: Some((approval.tenant, approval.id)),
            outcome: Outcome::Forgotten,
            ..Effects::default()
        };
    }
    approval.state = ApprovalState::Expired { at: approval.expires_at };
    changed(approval)
}

fn changed(approval: Approval) -> Effects {
    Effects {
        approval: Some(approval.clone()),
        outcome: Outcome::Approval(Box::new(approval)),
        ..Effects::default()
    }
}

fn not_eligible(approval: &Approval, person: &UserName) -> Refusal {
    let groups: Vec<String> = approval.quorums.iter().map(|quorum| format!("`{}`", quorum.group)).collect();
    Refusal::new(Reason::ApproverNotEligible, format!("`{person}` may not judge approval `{}`", approval.id))
        .fix(format!(
            "ask somebody of {} who is neither the agent's owner nor the task's initiator",
            groups.join(", ")
        ))
        .with("approval", approval.id)
}

fn settled(approval: &Approval, message: String) -> Refusal {
    let id = approval.id;
    Refusal::new(Reason::ApprovalSettled, message)
        .fix(format!("see how it stands: taskpass approval show {id}"))
        .with("approval", id)
}
