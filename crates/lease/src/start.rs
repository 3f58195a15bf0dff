//! Starting and delegating tasks.

use crate::{
    Effects, Limits, Outcome, RequestKey, RequestRecord, RequestTarget, StartTask, Task, TaskState, View,
    step::{standing, task_ended},
};
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
    let task = new_task(start, parent, now)?;
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
            RequestRecord { digest: start.request.digest, target: RequestTarget::Task(task.id) },
        )),
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
    if request.digest != start.request.digest {
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
    Ok(Effects { outcome: Outcome::ReplayedTask(Box::new(task.clone())), ..Effects::default() })
}

fn check_size(start: &StartTask, limits: &Limits) -> Result<(), Refusal> {
    let invalid = |field: &'static str, what: String| {
        Err(Refusal::new(Reason::FieldInvalid, format!("`{field}` {what}")).with("field", field))
    };
    if start.scopes.is_empty() {
        return invalid("scopes", "is empty: a task without a scope can do nothing".to_owned());
    }
    if start.scopes.len() > MAX_SCOPES {
        return invalid(
            "scopes",
            format!("has {} entries, at most {MAX_SCOPES} are allowed", start.scopes.len()),
        );
    }
    if start.purpose.len() > MAX_PURPOSE_BYTES {
        return invalid("purpose", format!("is longer than {MAX_PURPOSE_BYTES} bytes"));
    }
    if start.labels.len() > MAX_LABELS {
        return invalid("labels", format!("has more than {MAX_LABELS} entries"));
    }
    if start.labels.iter().any(|(key, value)| key.is_empty() || key.len().max(value.len()) > MAX_LABEL_BYTES)
    {
        return invalid(
            "labels",
            format!("has an empty key, or a key or value over {MAX_LABEL_BYTES} bytes"),
        );
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
    if parent.live_below >= limits.live_per_task {
        return Err(quota("live leases and child tasks of one task", limits.live_per_task));
    }
    Ok(parent)
}

fn new_task(start: &StartTask, parent: Option<&Task>, now: Timestamp) -> Result<Task, Refusal> {
    let path = match parent {
        None => TaskPath::root(start.id),
        Some(parent) => parent.path.child(start.id).ok_or_else(|| {
            Refusal::new(
                Reason::DepthExceeded,
                format!("tasks may be delegated {} levels deep at most", TaskPath::MAX_DEPTH - 1),
            )
        })?,
    };
    let wanted = now.plus(start.ttl.as_duration());
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
        created_at: now,
        deadline: parent.map_or(wanted, |parent| wanted.min(parent.deadline)),
        heartbeat: start.heartbeat,
        silent_at: Task::silent_after(start.heartbeat, now),
        request: start.request.id.clone(),
        live_below: 0,
        issued: 0,
        state: TaskState::Running,
    })
}

pub(crate) fn request_id_reused(id: &str) -> Refusal {
    Refusal::new(Reason::RequestIdReused, format!("request id `{id}` was used before for something else"))
        .fix("use a new request id for a new request; repeat one only with the same content")
        .with("request_id", id)
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
