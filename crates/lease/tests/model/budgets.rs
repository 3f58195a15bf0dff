//! Budgets and cuts, as the model counts them: exact for a whole tree, and never later than was said.

use crate::model::Model;
use std::time::Duration;
use taskpass_lease::{CallTool, Effects, Lease, PlanLease, Task};
use taskpass_types::{LeaseId, Scope, TaskId, Timestamp};

/// One call that was allowed.
pub(crate) struct Called {
    task: TaskId,
    lease: Option<LeaseId>,
}

/// The calls of one minute under one root task.
pub(crate) struct Minute {
    began_at: Timestamp,
    calls: u32,
}

impl Model {
    fn root(&self, task: TaskId) -> TaskId {
        self.chain(task).last().unwrap()
    }

    /// How many credentials were ever issued under a task and all below it.
    fn issued_below(&self, task: TaskId) -> usize {
        self.granted.values().filter(|(grant, _)| grant.task_path.contains(task)).count()
    }

    fn calls_below(&self, task: TaskId) -> usize {
        self.called.iter().filter(|called| self.chain(called.task).any(|above| above == task)).count()
    }

    fn uses(&self, lease: LeaseId) -> usize {
        self.called.iter().filter(|called| called.lease == Some(lease)).count()
    }

    /// Before the new lease is counted.
    pub(crate) fn check_credentials(&self, plan: &PlanLease) {
        if let Some(max) = plan.obligations.max_credentials {
            assert!(
                self.issued_below(self.root(plan.task)) < as_usize(max),
                "the budget of credentials holds"
            );
        }
    }

    pub(crate) fn check_called(&mut self, call: &CallTool, effects: &Effects, lease: Option<&Lease>) {
        self.check_alive(call.task);
        assert!(!self.held.contains(&call.task), "nothing is called under a hold");
        effects.tasks.last().into_iter().for_each(|task| self.check_task_is_free(task, true));
        assert_eq!(call.fence.policy_revision, self.policy);
        assert_eq!(self.declared[&call.task].agent, call.agent);
        let scope = Scope { resource: call.resource.clone(), action: call.action.clone() };
        assert!(self.declared[&call.task].scopes.contains(&scope), "within the task");
        assert_eq!(lease.map(|lease| lease.id), call.lease);
        if let Some(lease) = lease {
            assert!(!self.ended_leases.contains_key(&lease.id), "nothing is called under an ended lease");
            assert!(self.now < self.granted[&lease.id].1, "nor under an expired one");
            self.check_lives(lease.id);
            self.check_not_cut(lease.id, self.now);
            assert_eq!((lease.task(), &lease.resource), (Some(call.task), &call.resource));
            assert!(lease.actions.contains(&call.action), "within the lease");
            let used = self.uses(lease.id);
            for max in [lease.max_uses, call.obligations.max_uses].into_iter().flatten() {
                assert!(used < as_usize(max), "the budget of uses holds");
            }
        }
        self.check_consent(
            effects,
            &call.agent,
            &call.obligations.approvals,
            call.approval.as_ref(),
            call.id.to_string(),
        );
        let now = self.now;
        let minute = self.minutes.entry(self.root(call.task)).or_insert(Minute { began_at: now, calls: 0 });
        if now >= minute.began_at.plus(Duration::from_secs(60)) {
            *minute = Minute { began_at: now, calls: 0 };
        }
        minute.calls += 1;
        if let Some(max) = call.obligations.max_calls_per_minute {
            assert!(minute.calls <= max, "the budget of calls holds");
        }
        self.called.push(Called { task: call.task, lease: call.lease });
    }

    pub(crate) fn check_cut(&mut self, wanted: Timestamp, lease: &Lease) {
        let at = self.cuts.entry(lease.id).or_insert(wanted);
        *at = wanted.min(*at);
        assert!(self.now < wanted, "what is past ends it at once");
    }

    pub(crate) fn check_not_cut(&self, lease: LeaseId, at: Timestamp) {
        assert!(self.cuts.get(&lease).is_none_or(|cut| at < *cut), "nothing outlives the cut of {lease}");
    }

    pub(crate) fn check_counts(&self, task: &Task) {
        assert_eq!(as_usize(task.issued), self.issued_below(task.id), "credentials under {}", task.id);
        assert_eq!(as_usize(task.calls), self.calls_below(task.id), "calls under {}", task.id);
        assert!(task.window.is_none() || task.parent().is_none());
    }

    pub(crate) fn check_cuts(&self, lease: &Lease) {
        assert_eq!(as_usize(lease.uses), self.uses(lease.id), "uses of {}", lease.id);
        assert_eq!(lease.cut.as_ref().map(|cut| cut.at), self.cuts.get(&lease.id).copied(), "only sooner");
        if lease.end().is_none() {
            let due = lease.due(&self.world.limits);
            assert!(due <= lease.last_expiry && lease.recheck_at.is_none_or(|at| due <= at));
            assert!(lease.cut.as_ref().is_none_or(|cut| due <= cut.at), "the schedule knows the cut");
        }
    }
}

fn as_usize(count: u32) -> usize {
    usize::try_from(count).unwrap()
}
