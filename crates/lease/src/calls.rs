//! Tool calls under a task, and holding a task's resource without ending anything.
//!
//! Invariants: a call is allowed within what the task declared and, when it names a lease, within that; never under an end
//! or a hold; and each is counted, on its task and on every task above, in the step that allows it.

use crate::{
    ApprovalUse, Effects, Fence, Hold, HoldChange, HoldKey, Lease, Outcome, Task, View,
    consent::consent,
    obligations::{budget_exceeded, promised},
    plan::{in_force, not_held},
    step::{bounded, lease_ended, lease_not_found, standing, task_not_found},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use taskpass_types::{
    ActionName, AgentId, CallId, LeaseId, Obligations, Reason, Refusal, ResourceName, Scope, TaskId,
    TenantId, Timestamp,
};

/// How long a window of calls lasts.
const WINDOW: Duration = Duration::from_secs(60);

/// The calls of one minute, which begins with the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallWindow {
    /// When the first call came.
    pub began_at: Timestamp,
    /// How many came since.
    pub calls: u32,
}

/// Allow one tool call, decided by the policies of `fence`.
#[derive(Clone, Debug)]
pub struct CallTool {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id, chosen by the broker.
    pub id: CallId,
    /// The task.
    pub task: TaskId,
    /// The lease whose credential it is made with.
    pub lease: Option<LeaseId>,
    /// Who calls: the holder of the task.
    pub agent: AgentId,
    /// What is acted upon.
    pub resource: ResourceName,
    /// What is done.
    pub action: ActionName,
    /// What the permission is tied to.
    pub obligations: Obligations,
    /// The policies in force.
    pub fence: Fence,
    /// The approval it rests on, if one is needed.
    pub approval: Option<ApprovalUse>,
}

/// Refuse the same agent, task and resource until released, and end nothing.
#[derive(Clone, Debug)]
pub struct HoldTask {
    /// The tenant.
    pub tenant: TenantId,
    /// The holder of the task.
    pub agent: AgentId,
    /// The task.
    pub task: TaskId,
    /// One of the resources that the task declares.
    pub resource: ResourceName,
    /// Who, in words.
    pub by: String,
    /// The lease that gave rise to it.
    pub lease: Option<LeaseId>,
}

pub(crate) fn call_tool(view: View, call: &CallTool, now: Timestamp) -> Result<Effects, Refusal> {
    let task = standing(&view, now)?;
    if task.agent() != Some(&call.agent) {
        return Err(task_not_found());
    }
    not_held(&view, task, &call.resource, now)?;
    let lease = lease_of(&view, call, now)?;
    task.covers(&call.resource, &[call.action.clone()].into())?;
    in_force(&view, &call.fence.policy_revision)?;
    let bound = lease.is_some_and(|lease| lease.confirmation.is_some());
    promised(&call.obligations, lease.map(|lease| lease.revocability), bound)?;
    uses_left(lease, &call.obligations)?;
    let window = window(view.root().unwrap_or(task), &call.obligations, now)?;
    let approval =
        consent(&view, &call.agent, &call.obligations.approvals, call.approval.as_ref(), call.id, now)?;

    let lease = lease.cloned().map(|lease| Lease { uses: lease.uses.saturating_add(1), ..lease });
    let tasks: Vec<Task> = view.ancestors.iter().chain([task]).map(|part| counted(part, window)).collect();
    let task = tasks.last().cloned().ok_or_else(task_not_found)?;
    Ok(Effects {
        tasks,
        leases: lease.iter().cloned().collect(),
        outcome: Outcome::CallAllowed {
            task: Box::new(task),
            lease: lease.map(Box::new),
            approval: approval.as_ref().map(|approval| approval.id),
        },
        approval,
        ..Effects::default()
    })
}

/// The lease that the call names, if it may be used for it.
fn lease_of<'a>(view: &'a View, call: &CallTool, now: Timestamp) -> Result<Option<&'a Lease>, Refusal> {
    let Some(id) = call.lease else { return Ok(None) };
    let named = |lease: &&Lease| {
        lease.id == id && lease.task() == Some(call.task) && lease.agent() == Some(&call.agent)
    };
    let lease = view.lease.as_ref().filter(named).ok_or_else(lease_not_found)?;
    if let Some(reason) = lease.ended_by(now) {
        return Err(lease_ended(lease, reason));
    }
    view.bars.let_live(lease)?;
    lease.covers(&call.resource, &call.action)?;
    Ok(Some(lease))
}

impl Lease {
    /// Whether its credential is for `action` on `resource`.
    ///
    /// # Errors
    /// `SCOPE_EXCEEDS_TASK`.
    pub fn covers(&self, resource: &ResourceName, action: &ActionName) -> Result<(), Refusal> {
        if self.resource == *resource && self.actions.contains(action) {
            return Ok(());
        }
        let scope = Scope { resource: resource.clone(), action: action.clone() };
        Err(Refusal::new(
            Reason::ScopeExceedsTask,
            format!("scope `{scope}` is not within lease `{}`", self.id),
        )
        .fix("ask for a credential with this scope, and name its lease")
        .with("scope", scope)
        .with("lease", self.id))
    }
}

fn uses_left(lease: Option<&Lease>, obligations: &Obligations) -> Result<(), Refusal> {
    let Some(lease) = lease else {
        // Whoever leaves out the lease must not thereby leave out its budget.
        return match obligations.max_uses {
            None => Ok(()),
            Some(_) => Err(Refusal::new(
                Reason::ObligationUnmet,
                "policy counts the calls of each credential; this call names no lease",
            )
            .fix("name the lease whose credential the call is made with")
            .with("obligation", "max_uses")),
        };
    };
    match least(lease.max_uses, obligations.max_uses) {
        Some(max) if lease.uses >= max => {
            Err(budget_exceeded(format!("{max} tool calls with lease `{}`", lease.id))
                .fix("ask for a new credential, or let the operator raise the budget")
                .with("budget", "max_uses")
                .with("limit", max)
                .with("lease", lease.id))
        }
        _ => Ok(()),
    }
}

/// The window with this call in it.
fn window(root: &Task, obligations: &Obligations, now: Timestamp) -> Result<CallWindow, Refusal> {
    let open = root.window.filter(|window| now < window.began_at.plus(WINDOW));
    let window = open.unwrap_or(CallWindow { began_at: now, calls: 0 });
    match obligations.max_calls_per_minute {
        Some(max) if window.calls >= max => {
            let left = window.began_at.plus(WINDOW).since(now).as_millis().div_ceil(1000);
            Err(budget_exceeded(format!(
                "{max} tool calls in a minute for task `{}` and all below it",
                root.id
            ))
            .fix(format!("wait {left} s and call again"))
            .with("budget", "max_calls_per_minute")
            .with("limit", max)
            .with("task", root.id)
            .with("retry_after_secs", left))
        }
        _ => Ok(CallWindow { calls: window.calls.saturating_add(1), ..window }),
    }
}

fn counted(task: &Task, window: CallWindow) -> Task {
    let mut task = task.clone();
    task.calls = task.calls.saturating_add(1);
    if task.parent().is_none() {
        task.window = Some(window);
    }
    task
}

pub(crate) fn least(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    a.into_iter().chain(b).min()
}

pub(crate) fn hold_task(view: View, hold: &HoldTask, now: Timestamp) -> Result<Effects, Refusal> {
    let task = view.task.filter(|task| task.agent() == Some(&hold.agent)).ok_or_else(task_not_found)?;
    if let Some(end) = task.end() {
        return Ok(Effects { outcome: Outcome::AlreadyEnded(end.clone()), ..Effects::default() });
    }
    // Nothing can be asked for on any other resource; and a caller must not be able to make holds without number.
    if !task.scopes.iter().any(|scope| scope.resource == hold.resource) {
        return Err(Refusal::new(
            Reason::ScopeExceedsTask,
            format!(
                "task `{}` declares nothing on `{}`, so there is nothing to hold",
                task.id, hold.resource
            ),
        )
        .fix("hold a resource that the task declares, or end the task")
        .with("task", task.id));
    }
    if let Some(earlier) = view.hold {
        return Ok(Effects { outcome: Outcome::Held(Box::new(earlier)), ..Effects::default() });
    }
    let key = HoldKey {
        tenant: hold.tenant.clone(),
        agent: hold.agent.clone(),
        task: hold.task,
        resource: hold.resource.clone(),
    };
    let set = Hold { at: now, by: bounded(&hold.by), lease: hold.lease };
    Ok(Effects {
        hold: Some(HoldChange::Set(key, set.clone())),
        outcome: Outcome::Held(Box::new(set)),
        ..Effects::default()
    })
}
