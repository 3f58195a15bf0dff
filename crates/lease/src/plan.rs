//! Issuing and renewing: the durable intent before anything is signed.

use crate::{
    Effects, Lease, LeaseState, Limits, Outcome, PlanLease, RenewLease, RequestKey, RequestRecord,
    RequestTarget, Task, View,
    calls::least,
    consent::{approval_required, consent},
    obligations::{credentials_left, promised},
    start::{quota, request_id_reused},
    step::{lease_ended, lease_not_found, standing, task_not_found},
    wide::Who,
};
use std::{collections::BTreeSet, time::Duration};
use taskpass_types::{
    ActionName, CredentialKind, EndReason, Epoch, PolicyRevision, Reason, Refusal, ResourceName, Scope,
    Timestamp, Ttl,
};

/// Less than this is not worth a credential, and rounding could make it nothing.
const SHORTEST: Duration = Duration::from_secs(1);

pub(crate) fn plan_lease(
    view: View,
    plan: &PlanLease,
    limits: &Limits,
    now: Timestamp,
) -> Result<Effects, Refusal> {
    if let Some(request) = &view.request {
        return replay(&view, request, plan, now);
    }
    let task = standing(&view, now)?;
    if task.agent() != Some(&plan.agent) {
        return Err(task_not_found());
    }
    not_held(&view, task, &plan.resource, now)?;
    in_force(&view, &plan.fence.policy_revision)?;
    task.covers(&plan.resource, &plan.actions)?;
    promised(&plan.obligations, Some(plan.revocability), plan.confirmation.is_some())?;
    check_ttl(plan.kind, plan.ttl, limits)?;
    if task.live_below >= limits.live_per_task {
        return Err(quota("live leases and child tasks of one task", limits.live_per_task));
    }
    let root = view.root().unwrap_or(task);
    if root.issued >= limits.issued_per_task {
        return Err(quota("leases ever issued under one root task", limits.issued_per_task));
    }
    credentials_left(root, &plan.obligations)?;
    let expires_at = expiry(now, plan.ttl, plan.obligations.max_ttl, plan.evidence_expires_at, task)?;
    let approval =
        consent(&view, &plan.agent, &plan.obligations.approvals, plan.approval.as_ref(), plan.id, now)?;
    let lease = Lease {
        approval: approval.as_ref().map(|approval| approval.id),
        deny_epoch: view.bars.newest(),
        ..new_lease(plan, task, expires_at, now)
    };
    let mut tasks: Vec<Task> = view.ancestors.iter().chain([task]).map(issued_one_more).collect();
    if let Some(task) = tasks.last_mut() {
        task.live_below = task.live_below.saturating_add(1);
    }
    Ok(Effects {
        tasks,
        leases: vec![lease.clone()],
        request: Some((
            RequestKey {
                tenant: plan.tenant.clone(),
                agent: plan.agent.clone(),
                id: plan.request.id.clone(),
            },
            RequestRecord::new(&plan.request.digest, RequestTarget::Lease(lease.id)),
        )),
        approval,
        outcome: Outcome::Planned(Box::new(lease)),
        ..Effects::default()
    })
}

pub(crate) fn renew_lease(
    view: View,
    renew: &RenewLease,
    limits: &Limits,
    now: Timestamp,
) -> Result<Effects, Refusal> {
    let lease = view
        .lease
        .as_ref()
        .filter(|lease| lease.agent() == Some(&renew.agent))
        .ok_or_else(lease_not_found)?;
    alive(lease, now)?;
    view.bars.let_live(lease)?;
    let task = standing(&view, now)?;
    not_held(&view, task, &lease.resource, now)?;
    in_force(&view, &renew.fence.policy_revision)?;
    if lease.renewal_request.as_ref() == Some(&renew.request) {
        return sign_again(lease, now);
    }
    promised(&renew.obligations, Some(lease.revocability), renew.confirmation.is_some())?;
    if !renew.obligations.approvals.is_empty() && lease.approval.is_none() {
        return Err(approval_required(None));
    }
    check_ttl(lease.kind, renew.ttl, limits)?;
    let expires_at = expiry(now, renew.ttl, renew.obligations.max_ttl, renew.evidence_expires_at, task)?;
    // `alive` has left more than the shortest life before the cut.
    let expires_at = lease.cut.as_ref().map_or(expires_at, |cut| expires_at.min(cut.at.floor_to_secs()));
    let renewed = Lease {
        confirmation: renew.confirmation.clone(),
        decision: renew.decision,
        policies: renew.policies.clone(),
        policy_revision: renew.fence.policy_revision.clone(),
        key_generation: renew.key_generation,
        // It is under none of those until now.
        deny_epoch: view.bars.newest(),
        requested_ttl: renew.ttl,
        attested: renew.attested.clone(),
        attestation_age_secs: renew.attestation_age_secs,
        counters: renew.counters,
        recheck: renew.obligations.recheck,
        recheck_at: after(renew.obligations.recheck, now),
        max_uses: least(lease.max_uses, renew.obligations.max_uses),
        issued_at: now.floor_to_secs(),
        expires_at,
        last_expiry: lease.last_expiry.max(expires_at),
        renewal: lease.renewal.checked_add(1).ok_or_else(|| quota("renewals of one lease", u32::MAX))?,
        renewal_request: Some(renew.request.clone()),
        ..lease.clone()
    };
    Ok(Effects {
        leases: vec![renewed.clone()],
        outcome: Outcome::Renewed(Box::new(renewed)),
        ..Effects::default()
    })
}

fn replay(
    view: &View,
    request: &RequestRecord,
    plan: &PlanLease,
    now: Timestamp,
) -> Result<Effects, Refusal> {
    let RequestTarget::Lease(id) = request.target else {
        return Err(request_id_reused(plan.request.id.as_str()));
    };
    if !request.is_about(&plan.request.digest) {
        return Err(request_id_reused(plan.request.id.as_str()));
    }
    let Some(lease) = &view.lease else {
        return Err(
            Refusal::new(Reason::LeaseEnded, format!("lease `{id}` ended long ago")).with("lease", id)
        );
    };
    if lease.task() != Some(plan.task) {
        return Err(request_id_reused(plan.request.id.as_str()));
    }
    alive(lease, now)?;
    view.bars.let_live(lease)?;
    let task = standing(view, now)?;
    not_held(view, task, &lease.resource, now)?;
    in_force(view, &plan.fence.policy_revision)?;
    sign_again(lease, now)
}

/// The newest credential once more, unless a later, shorter one made it pointless.
fn sign_again(lease: &Lease, now: Timestamp) -> Result<Effects, Refusal> {
    if now >= lease.expires_at {
        return Err(Refusal::new(
            Reason::LeaseEnded,
            format!("the newest credential of lease `{}` has expired", lease.id),
        )
        .fix("renew the lease with a new request id")
        .with("lease", lease.id)
        .with("end_reason", EndReason::Expired));
    }
    Ok(Effects { outcome: Outcome::ReplayedLease(Box::new(lease.clone())), ..Effects::default() })
}

/// A lease that has ended or expired is never revived, and one about to is not renewed.
fn alive(lease: &Lease, now: Timestamp) -> Result<(), Refusal> {
    match lease.ended_by(now.plus(SHORTEST)) {
        None => Ok(()),
        Some(reason) => Err(lease_ended(lease, reason)),
    }
}

pub(crate) fn not_held(
    view: &View,
    task: &Task,
    resource: &ResourceName,
    now: Timestamp,
) -> Result<(), Refusal> {
    view.bars.let_pass(&Who::at(task, resource), now)?;
    let Some(hold) = &view.hold else { return Ok(()) };
    let by = &hold.by;
    Err(match hold.lease {
        Some(lease) => Refusal::new(
            Reason::HeldAfterKill,
            format!("`{resource}` is held for this agent and task by {by}, because of lease `{lease}`"),
        )
        .fix(format!("an operator can lift the hold: taskpass lease release {lease}"))
        .with("lease", lease),
        None => Refusal::new(
            Reason::HeldAfterKill,
            format!("`{resource}` is held for this agent and task by {by}"),
        )
        .fix(format!("an operator can lift the hold: taskpass task release {} {resource}", task.id)),
    }
    .with("task", task.id)
    .with("resource", resource))
}

pub(crate) fn in_force(view: &View, decided_under: &PolicyRevision) -> Result<(), Refusal> {
    if view.policy_revision.as_ref() == Some(decided_under) {
        return Ok(());
    }
    Err(policies_changed("the policies changed while this was being decided")
        .fix("ask again")
        .with("decided_under", decided_under))
}

pub(crate) fn policies_changed(message: &str) -> Refusal {
    Refusal::new(Reason::PolicyChanged, message)
}

fn issued_one_more(task: &Task) -> Task {
    let mut task = task.clone();
    task.issued = task.issued.saturating_add(1);
    task
}

fn after(span: Option<Ttl>, now: Timestamp) -> Option<Timestamp> {
    span.map(|span| now.plus(span.as_duration()))
}

impl Task {
    /// Whether all of `actions` on `resource` were declared when the task was started.
    ///
    /// # Errors
    /// `SCOPE_EXCEEDS_TASK` for the first that was not; `FIELD_INVALID` for none at all.
    pub fn covers(&self, resource: &ResourceName, actions: &BTreeSet<ActionName>) -> Result<(), Refusal> {
        if actions.is_empty() {
            return Err(Refusal::new(Reason::FieldInvalid, "`actions` is empty").with("field", "actions"));
        }
        for action in actions {
            let scope = Scope { resource: resource.clone(), action: action.clone() };
            if !self.scopes.contains(&scope) {
                return Err(Refusal::new(
                    Reason::ScopeExceedsTask,
                    format!("scope `{scope}` was not declared for task `{}`", self.id),
                )
                .fix("declare every scope when the task is started")
                .with("scope", scope)
                .with("task", self.id));
            }
        }
        Ok(())
    }
}

fn check_ttl(kind: CredentialKind, ttl: Ttl, limits: &Limits) -> Result<(), Refusal> {
    let max = limits.max_ttl(kind);
    if ttl.as_duration() <= max {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::TtlOutOfRange,
        format!("a {kind} may live for {} s at most, `{ttl}` was asked for", max.as_secs()),
    )
    .fix("ask for a shorter time; leases renew by themselves")
    .with("max_secs", max.as_secs()))
}

/// The earliest of everything that bounds a credential, in whole seconds (I2).
fn expiry(
    now: Timestamp,
    ttl: Ttl,
    policy_max: Option<Ttl>,
    evidence: Timestamp,
    task: &Task,
) -> Result<Timestamp, Refusal> {
    let ttl = policy_max.map_or(ttl, |max| ttl.min(max));
    let bound = now.plus(ttl.as_duration()).min(evidence).min(task.deadline);
    let expires_at = bound.floor_to_secs();
    if bound >= now.plus(SHORTEST) && expires_at > now {
        return Ok(expires_at);
    }
    if evidence <= task.deadline {
        return Err(Refusal::new(
            Reason::AttestationExpired,
            "the evidence of your identity is about to expire",
        )
        .fix("connect again with a fresh identity"));
    }
    Err(Refusal::new(Reason::TaskEnded, format!("task `{}` is about to reach its deadline", task.id))
        .fix("start a new task")
        .with("task", task.id))
}

fn new_lease(plan: &PlanLease, task: &Task, expires_at: Timestamp, now: Timestamp) -> Lease {
    Lease {
        tenant: plan.tenant.clone(),
        id: plan.id,
        task_path: task.path.clone(),
        agents: task.agents.clone(),
        owner: task.owner.clone(),
        subject: plan.subject.clone(),
        resource: plan.resource.clone(),
        actions: plan.actions.iter().cloned().collect(),
        kind: plan.kind,
        revocability: plan.revocability,
        confirmation: plan.confirmation.clone(),
        decision: plan.decision,
        policies: plan.policies.clone(),
        policy_revision: plan.fence.policy_revision.clone(),
        key_generation: plan.key_generation,
        deny_epoch: Epoch::default(),
        requested_ttl: plan.ttl,
        attested: plan.attested.clone(),
        attestation_age_secs: plan.attestation_age_secs,
        counters: plan.counters,
        approval: None,
        request: plan.request.id.clone(),
        status: plan.status,
        created_at: now,
        issued_at: now.floor_to_secs(),
        expires_at,
        last_expiry: expires_at,
        hard_stop: task.deadline,
        cut: None,
        recheck: plan.obligations.recheck,
        recheck_at: after(plan.obligations.recheck, now),
        uses: 0,
        max_uses: plan.obligations.max_uses,
        renewal: 0,
        renewal_request: None,
        state: LeaseState::Active,
    }
}
