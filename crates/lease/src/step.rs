//! The step function, and the steps that end things.

use crate::{
    Effects, End, EndLease, EndTask, Ended, Event, Heartbeat, Hold, HoldChange, HoldKey, Lease, LeaseState,
    Limits, Outcome, ReleaseHold, Task, TaskState, View, ask, calls, cut, fleet, followers, plan, policies,
    settle, start, wide,
};
use std::time::Duration;
use taskpass_types::{DenyRecord, DenySubject, EndReason, Reason, Refusal, Timestamp};

/// Verifiers accept a credential for up to this long after its expiry; a deny record outlives it.
pub const VERIFIER_LEEWAY: Duration = Duration::from_secs(6);

/// What `event` does at `now`. An error means that nothing was, or may be, written.
///
/// # Errors
/// A [`Refusal`] that explains itself to the caller; none of them depends on another tenant's records.
pub fn step(view: View, event: &Event, limits: &Limits, now: Timestamp) -> Result<Effects, Refusal> {
    match event {
        Event::BarWide(bar) => wide::bar_wide(view, bar, limits, now),
        Event::CallTool(call) => calls::call_tool(view, call, now),
        Event::CutLease(cut) => cut::cut_lease(view, cut, now),
        Event::DenyKeys(deny) => Ok(fleet::deny_keys(&view, deny, limits, now)),
        Event::ForgetDeny(..) => Ok(forget_deny(view, now)),
        Event::EndLease(end) => end_lease(view, end, now),
        Event::EndTask(end) => end_task(view, end, now),
        Event::Heartbeat(beat) => heartbeat(&view, beat, now),
        Event::HoldTask(hold) => calls::hold_task(view, hold, now),
        Event::PlanLease(plan) => plan::plan_lease(view, plan, limits, now),
        Event::ReleaseHold(release) => Ok(release_hold(&view, release)),
        Event::ReleaseWide(release) => Ok(wide::release_wide(view, release, now)),
        Event::RenewLease(renew) => plan::renew_lease(view, renew, limits, now),
        Event::RequestApproval(request) => ask::request_approval(view, request, limits, now),
        Event::SetPolicies(set) => policies::set_policies(view, set, now),
        Event::SettleTask(..) => Ok(settle::settle_task(view)),
        Event::ShareFollowers(share) => Ok(followers::share_followers(view, share, now)),
        Event::ShareKeys(share) => fleet::share_keys(&view, share),
        Event::StartTask(start) => start::start_task(view, start, limits, now),
        Event::TakeTurn(take) => Ok(fleet::take_turn(&view, take, now)),
        Event::TickApproval(..) => Ok(ask::tick_approval(view, limits, now)),
        Event::TickLease(..) => tick_lease(view, limits, now),
        Event::TickTask(..) => tick_task(view, limits, now),
        Event::Vote(cast) => ask::cast_vote(view, cast, now),
    }
}

/// The task of the view if it may be used at `now`: it and all above it run and are not overdue.
pub(crate) fn standing(view: &View, now: Timestamp) -> Result<&Task, Refusal> {
    let task = view.task.as_ref().ok_or_else(task_not_found)?;
    for part in view.ancestors.iter().chain([task]) {
        if let Some(reason) = part.ended_by(now) {
            return Err(task_ended(part, reason));
        }
    }
    Ok(task)
}

pub(crate) fn task_not_found() -> Refusal {
    Refusal::new(Reason::TaskNotFound, "there is no such task, or it is not yours")
        .fix("list your tasks with `taskpass task list`")
}

pub(crate) fn lease_not_found() -> Refusal {
    Refusal::new(Reason::LeaseNotFound, "there is no such lease, or it is not yours")
        .fix("list your leases with `taskpass lease list`")
}

pub(crate) fn task_ended(task: &Task, reason: EndReason) -> Refusal {
    Refusal::new(Reason::TaskEnded, format!("task `{}` has ended: {reason}", task.id))
        .fix("start a new task; an ended one never comes back")
        .with("task", task.id)
        .with("end_reason", reason)
}

pub(crate) fn lease_ended(lease: &Lease, reason: EndReason) -> Refusal {
    Refusal::new(Reason::LeaseEnded, format!("lease `{}` has ended: {reason}", lease.id))
        .fix("ask for a new credential; an ended lease never comes back")
        .with("lease", lease.id)
        .with("end_reason", reason)
}

fn end_task(view: View, end: &EndTask, now: Timestamp) -> Result<Effects, Refusal> {
    let mut task = view.task.ok_or_else(task_not_found)?;
    // A parent that cannot be read is not among the ancestors; an end does not wait for it.
    let parent = view.ancestors.into_iter().rfind(|above| Some(above.id) == task.parent());
    if let Some(end) = task.end() {
        return Ok(Effects { outcome: Outcome::AlreadyEnded(end.clone()), ..Effects::default() });
    }
    let deny = DenyRecord {
        tenant: task.tenant.clone(),
        epoch: view.epoch.next(),
        subject: DenySubject::Task(task.id),
        reason: end.reason,
        by: bounded(&end.by),
        at: now,
        until: task.deadline.max(now).plus(VERIFIER_LEEWAY),
        audiences: task.resources(),
    };
    task.state =
        TaskState::Ended(End { reason: end.reason, at: now, by: bounded(&end.by), epoch: Some(deny.epoch) });
    Ok(Effects {
        tasks: [Some(task.clone()), parent.map(one_less_below)].into_iter().flatten().collect(),
        deny: Some(deny.clone()),
        outcome: Outcome::TaskEnded(Box::new(Ended { record: task, deny: Some(deny) })),
        ..Effects::default()
    })
}

pub(crate) fn end_lease(view: View, end: &EndLease, now: Timestamp) -> Result<Effects, Refusal> {
    let mut lease = view.lease.ok_or_else(lease_not_found)?;
    if let Some(end) = lease.end().cloned().or_else(|| view.bars.end_of(&lease)) {
        return Ok(Effects { outcome: Outcome::AlreadyEnded(end), ..Effects::default() });
    }
    let deny = DenyRecord {
        tenant: lease.tenant.clone(),
        epoch: view.epoch.next(),
        subject: DenySubject::Lease(lease.id),
        reason: end.reason,
        by: bounded(&end.by),
        at: now,
        until: lease.last_expiry.max(now).plus(VERIFIER_LEEWAY),
        audiences: vec![lease.resource.clone()],
    };
    lease.state =
        LeaseState::Ended(End { reason: end.reason, at: now, by: bounded(&end.by), epoch: Some(deny.epoch) });
    let hold = match (lease.agent(), lease.task()) {
        (Some(agent), Some(task)) if end.hold => Some(HoldChange::Set(
            HoldKey {
                tenant: lease.tenant.clone(),
                agent: agent.clone(),
                task,
                resource: lease.resource.clone(),
            },
            Hold { at: now, by: bounded(&end.by), lease: Some(lease.id) },
        )),
        _ => None,
    };
    Ok(Effects {
        tasks: view.task.map(one_less_below).into_iter().collect(),
        leases: vec![lease.clone()],
        deny: Some(deny.clone()),
        hold,
        outcome: Outcome::LeaseEnded(Box::new(Ended { record: lease, deny: Some(deny) })),
        ..Effects::default()
    })
}

fn heartbeat(view: &View, _beat: &Heartbeat, now: Timestamp) -> Result<Effects, Refusal> {
    let mut task = standing(view, now)?.clone();
    task.silent_at = Task::silent_after(task.heartbeat, now);
    // Without a promise to show life there is nothing to remember.
    let tasks = task.heartbeat.map(|_| task.clone()).into_iter().collect();
    Ok(Effects { tasks, outcome: Outcome::Running(Box::new(task)), ..Effects::default() })
}

fn tick_task(view: View, limits: &Limits, now: Timestamp) -> Result<Effects, Refusal> {
    let Some(task) = &view.task else { return Ok(Effects::default()) };
    match (task.end(), task.overdue(now)) {
        (None, Some(reason)) => {
            let end = EndTask {
                tenant: task.tenant.clone(),
                task: task.id,
                reason,
                by: "broker/deadlines".to_owned(),
            };
            end_task(view, &end, now)
        }
        (Some(end), _) if task.live_below == 0 && now >= end.at.plus(limits.kept()) => Ok(Effects {
            forget_task: Some((task.tenant.clone(), task.id)),
            outcome: Outcome::Forgotten,
            ..Effects::default()
        }),
        _ => Ok(Effects::default()),
    }
}

fn tick_lease(view: View, limits: &Limits, now: Timestamp) -> Result<Effects, Refusal> {
    let Some(mut lease) = view.lease.clone() else { return Ok(Effects::default()) };
    let above = view.bars.end_of(&lease);
    Ok(match (lease.end(), lease.ended_by(now)) {
        // The record says so only now; everybody knew.
        (None, _) if let Some(end) = above => {
            lease.state = LeaseState::Ended(end);
            marked(view.task, lease)
        }
        (None, Some(EndReason::Drifted)) => {
            let by = lease.cut.as_ref().map_or("broker/deadlines", |cut| &cut.by);
            return end_lease(view, &cut::drifted(&lease, by), now);
        }
        (None, Some(_)) => {
            lease.state = LeaseState::Ended(End {
                reason: EndReason::Expired,
                at: lease.last_expiry,
                by: "broker/deadlines".to_owned(),
                epoch: None,
            });
            marked(view.task, lease)
        }
        (None, None) if lease.recheck_at.is_some_and(|at| now >= at) => {
            lease.recheck_at = lease.recheck.map(|every| now.plus(every.as_duration()));
            Effects {
                leases: vec![lease.clone()],
                outcome: Outcome::RecheckDue(Box::new(lease)),
                ..Effects::default()
            }
        }
        (Some(end), _) if now >= end.at.plus(limits.kept()) => Effects {
            forget_lease: Some((lease.tenant.clone(), lease.id)),
            outcome: Outcome::Forgotten,
            ..Effects::default()
        },
        _ => Effects::default(),
    })
}

/// A lease that is over without a deny record of its own.
fn marked(task: Option<Task>, lease: Lease) -> Effects {
    Effects {
        tasks: task.map(one_less_below).into_iter().collect(),
        leases: vec![lease.clone()],
        outcome: Outcome::LeaseEnded(Box::new(Ended { record: lease, deny: None })),
        ..Effects::default()
    }
}

fn forget_deny(view: View, now: Timestamp) -> Effects {
    let forget_deny = view.deny.filter(|deny| now >= deny.until).map(|deny| (deny.tenant, deny.epoch));
    let outcome = if forget_deny.is_some() { Outcome::Forgotten } else { Outcome::Nothing };
    Effects { forget_deny, outcome, ..Effects::default() }
}

fn release_hold(view: &View, release: &ReleaseHold) -> Effects {
    if view.hold.is_none() {
        return Effects::default();
    }
    Effects {
        hold: Some(HoldChange::Clear(release.key.clone())),
        outcome: Outcome::Released,
        ..Effects::default()
    }
}

fn one_less_below(mut task: Task) -> Task {
    task.live_below = task.live_below.saturating_sub(1);
    task
}

/// Whoever ends something is named in at most this many characters.
pub(crate) fn bounded(by: &str) -> String {
    by.chars().take(200).collect()
}
