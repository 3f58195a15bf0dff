//! Starting and delegating tasks.

use crate::{
    Approval, Effects, Limits, Outcome, RequestKey, RequestRecord, RequestTarget, StartTask, Task, TaskState,
    View,
    consent::consent,
    plan::in_force,
    step::{standing, task_ended},
    wide::Who,
};
use std::collections::BTreeMap;
use taskpass_types::{EndReason, Reason, Refusal, TaskPath, Timestamp};

/// Bounds on what one task may carry.
const MAX_SCOPES: usize = 64;
const MAX_PURPOSE_BYTES: usize = 1024;
const MAX_LABELS: usize = 32;
const MAX_LABEL_BYTES: usize = 128;

pub(crate) fn start_task(
    view: View,
    start: &StartTask,
    limits: &Limits,
    now: Timestamp,
) -> Result<Effects, Refusal> {
    if let Some(request) = &view.request {
        return replay(&view, request, start, now);
    }
    check_size(start, limits)?;
    if view.running_tasks >= limits.tasks_per_agent {
        return Err(quota("running tasks of one agent", limits.tasks_per_agent));
    }
    let parent = start.parent.map(|_| parent_of(&view, start, limits, now)).transpose()?;
    let path: Vec<_> =
        parent.map_or(&[][..], |parent| &parent.agents).iter().chain([&start.agent]).cloned().collect();
    view.bars.let_pass(&Who { agents: &path, owner: &start.owner, resource: None }, now)?;
    if let Some(fence) = &start.fence {
        in_force(&view, &fence.policy_revision)?;
    }
    // Who hands a task on is who asked for approval, not who gets it.
    let asker = parent.and_then(Task::agent).unwrap_or(&start.agent);
    let approval = consent(&view, asker, &BTreeMap::new(), start.approval.as_ref(), start.id, now)?;
    let task = new_task(start, parent, approval.as_ref(), now)?;
    let parent = parent.cloned().map(|mut parent| {
        parent.live_below = parent.live_below.saturating_add(1);
        parent
    });
    Ok(Effects {
        tasks: [Some(task.clone()), parent].into_iter().flatten().collect(),
        request: Some((
            RequestKey {
                tenant: start.tenant.clone(),
                agent: start.agent.clone(),
                id: start.request.id.clone(),
            },
            RequestRecord::new(&start.request.digest, RequestTarget::Task(task.id)),
        )),
        approval,
        outcome: Outcome::Running(Box::new(task)),
        ..Effects::default()
    })
}

fn replay(
    view: &View,
    request: &RequestRecord,
    start: &StartTask,
    now: Timestamp,
) -> Result<Effects, Refusal> {
    let RequestTarget::Task(id) = request.target else {
        return Err(request_id_reused(start.request.id.as_str()));
    };
    if !request.is_about(&start.request.digest) {
        return Err(request_id_reused(start.request.id.as_str()));
    }
    let Some(task) = &view.replayed_task else {
        return Err(Refusal::new(Reason::TaskEnded, format!("task `{id}` ended long ago")).with("task", id));
    };
    if task.parent() != start.parent {
        return Err(request_id_reused(start.request.id.as_str()));
    }
    if let Some(reason) = task.ended_by(now) {
        return Err(task_ended(task, reason));
    }
    if start.parent.is_some() {
        standing(view, now)?;
    }
    view.bars.let_pass(&Who { agents: &task.agents, owner: &task.owner, resource: None }, now)?;
    if let Some(fence) = &start.fence {
        in_force(view, &fence.policy_revision)?;
    }
    Ok(Effects { outcome: Outcome::ReplayedTask(Box::new(task.clone())), ..Effects::default() })
}

fn check_size(start: &StartTask, limits: &Limits) -> Result<(), Refusal> {
    if start.scopes.is_empty() {
        return Err(invalid("scopes", "is empty: a task without a scope can do nothing".to_owned()));
    }
    if start.scopes.len() > MAX_SCOPES {
        let what = format!("has {} entries, at most {MAX_SCOPES} are allowed", start.scopes.len());
        return Err(invalid("scopes", what));
    }
    if start.purpose.len() > MAX_PURPOSE_BYTES {
        return Err(invalid("purpose", format!("is longer than {MAX_PURPOSE_BYTES} bytes")));
    }
    if start.labels.len() > MAX_LABELS {
        return Err(invalid("labels", format!("has more than {MAX_LABELS} entries")));
    }
    if start.labels.iter().any(|(key, value)| key.is_empty() || key.len().max(value.len()) > MAX_LABEL_BYTES)
    {
        let what = format!("has an empty key, or a key or value over {MAX_LABEL_BYTES} bytes");
        return Err(invalid("labels", what));
    }
    if start.sensitivity.as_ref().is_some_and(|word| word.is_empty() || word.len() > MAX_LABEL_BYTES) {
        return Err(invalid("sensitivity", format!("is empty or longer than {MAX_LABEL_BYTES} bytes")));
    }
    if start.ttl.as_duration() > limits.task_max {
        return Err(Refusal::new(
            Reason::TtlOutOfRange,
            format!(
                "a task may run for {} s at most, `{}` was asked for",
                limits.task_max.as_secs(),
                start.ttl
            ),
        )
        .fix("ask for a shorter task, or let the operator raise `limits.task_max`")
        .with("max_secs", limits.task_max.as_secs()));
    }
    Ok(())
}

fn parent_of<'a>(
    view: &'a View,
    start: &StartTask,
    limits: &Limits,
    now: Timestamp,
) -> Result<&'a Task, Refusal> {
    let parent = standing(view, now)?;
    if let Some(scope) = start.scopes.iter().find(|scope| !parent.scopes.contains(scope)) {
        return Err(Refusal::new(
            Reason::ScopeExceedsParent,
            format!("scope `{scope}` is not within the parent task"),
        )
        .fix("ask only for scopes that the parent task declared")
        .with("scope", scope)
        .with("parent", parent.id));
    }
    // Narrowing one's own task is no detour; coming back through somebody else is.
    if parent.agent() != Some(&start.agent) && parent.agents.contains(&start.agent) {
        return Err(Refusal::new(
            Reason::DelegationCycle,
            format!("`{}` handed this task on; it cannot get it back from below", start.agent),
        )
        .fix("delegate to an agent that is not yet in the task path")
        .with("agent", &start.agent)
        .with("parent", parent.id));
    }
    if parent.live_below >= limits.live_per_task {
        return Err(quota("live leases and child tasks of one task", limits.live_per_task));
    }
    Ok(parent)
}

fn new_task(
    start: &StartTask,
    parent: Option<&Task>,
    approval: Option<&Approval>,
    now: Timestamp,
) -> Result<Task, Refusal> {
    let path = match parent {
        None => TaskPath::root(start.id),
        Some(parent) => parent.path.child(start.id).ok_or_else(|| {
            Refusal::new(
                Reason::DepthExceeded,
                format!("tasks may be delegated {} levels deep at most", TaskPath::MAX_DEPTH - 1),
            )
        })?,
    };
    let ttl = start.max_ttl.map_or(start.ttl, |max| start.ttl.min(max));
    let wanted = now.plus(ttl.as_duration());
    Ok(Task {
        tenant: start.tenant.clone(),
        id: start.id,
        path,
        agents: parent
            .map(|parent| parent.agents.clone())
            .unwrap_or_default()
            .into_iter()
            .chain([start.agent.clone()])
            .collect(),
        owner: start.owner.clone(),
        kind: start.kind.clone(),
        purpose: start.purpose.clone(),
        scopes: start.scopes.clone(),
        initiator: start.initiator.clone(),
        labels: start.labels.clone(),
        sensitivity: start.sensitivity.clone().or_else(|| parent?.sensitivity.clone()),
        decision: start.decision,
        policy_revision: start.fence.as_ref().map(|fence| fence.policy_revision.clone()),
        approval: approval.map(|approval| approval.id),
        created_at: now,
        deadline: parent.map_or(wanted, |parent| wanted.min(parent.deadline)),
        heartbeat: start.heartbeat,
        silent_at: Task::silent_after(start.heartbeat, now),
        request: start.request.id.clone(),
        live_below: 0,
        issued: 0,
        calls: 0,
        window: None,
        state: TaskState::Running,
    })
}

pub(crate) fn request_id_reused(id: &str) -> Refusal {
    Refusal::new(Reason::RequestIdReused, format!("request id `{id}` was used before for something else"))
        .fix("use a new request id for a new request; repeat one only with the same content")
        .with("request_id", id)
}

pub(crate) fn invalid(field: &'static str, what: String) -> Refusal {
    Refusal::new(Reason::FieldInvalid, format!("`{field}` {what}")).with("field", field)
}

pub(crate) fn quota(what: &'static str, limit: u32) -> Refusal {
    Refusal::new(Reason::QuotaExceeded, format!("the limit of {limit} {what} is reached"))
        .fix("end what is no longer needed, or let the operator raise the limit")
        .with("limit", limit)
        .with("quota", what)
}

impl Task {
    /// Why it cannot be used at `now`, looking at it alone.
    pub fn ended_by(&self, now: Timestamp) -> Option<EndReason> {
        self.end().map(|end| end.reason).or_else(|| self.overdue(now))
    }
}
