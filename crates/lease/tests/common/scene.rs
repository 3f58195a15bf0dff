//! A world with one task of the usual agent in it, and short words for what a test does there.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "each test file uses its own part")]

use crate::{
    common::{ask, revision, start, vote},
    world::World,
};
use std::time::Duration;
use taskpass_lease::{
    Approval, CallTool, Effects, Event, Lease, Outcome, PlanLease, RenewLease, RequestApproval, StartTask,
    Task, Verdict,
};
use taskpass_types::{ApprovalId, EndReason, Reason, Refusal, TaskId, TenantId, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) task: TaskId,
    pub(crate) now: Timestamp,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let world = World { policy: Some(revision("r1")), ..World::default() };
        let mut scene = Self { world, task: TaskId::new(), now: NOW };
        scene.start(start(scene.task, None)).unwrap();
        scene
    }

    pub(crate) fn pass(&mut self, secs: u64) {
        self.now = self.now.plus(Duration::from_secs(secs));
    }

    pub(crate) fn apply(&mut self, event: Event) -> Result<Effects, Refusal> {
        self.world.apply(&event, self.now)
    }

    pub(crate) fn start(&mut self, start: StartTask) -> Result<Task, Refusal> {
        match self.apply(Event::StartTask(Box::new(start)))?.outcome {
            Outcome::Running(task) | Outcome::ReplayedTask(task) => Ok(*task),
            other => panic!("a start gave {other:?}"),
        }
    }

    pub(crate) fn plan(&mut self, plan: PlanLease) -> Result<Lease, Refusal> {
        match self.apply(Event::PlanLease(Box::new(plan)))?.outcome {
            Outcome::Planned(lease) | Outcome::ReplayedLease(lease) => Ok(*lease),
            other => panic!("a plan gave {other:?}"),
        }
    }

    pub(crate) fn renew(&mut self, renew: RenewLease) -> Result<Lease, Refusal> {
        match self.apply(Event::RenewLease(Box::new(renew)))?.outcome {
            Outcome::Renewed(lease) | Outcome::ReplayedLease(lease) => Ok(*lease),
            other => panic!("a renewal gave {other:?}"),
        }
    }

    pub(crate) fn call(&mut self, call: CallTool) -> Result<Task, Refusal> {
        match self.apply(Event::CallTool(Box::new(call)))?.outcome {
            Outcome::CallAllowed { task, .. } => Ok(*task),
            other => panic!("a call gave {other:?}"),
        }
    }

    pub(crate) fn ask(&mut self, ask: RequestApproval) -> Result<Approval, Refusal> {
        match self.apply(Event::RequestApproval(Box::new(ask)))?.outcome {
            Outcome::Approval(approval) => Ok(*approval),
            other => panic!("a request for approval gave {other:?}"),
        }
    }

    pub(crate) fn vote(&mut self, id: ApprovalId, by: &str, verdict: Verdict) -> Result<Approval, Refusal> {
        match self.apply(Event::Vote(Box::new(vote(id, by, verdict))))?.outcome {
            Outcome::Approval(approval) => Ok(*approval),
            other => panic!("a vote gave {other:?}"),
        }
    }

    /// An approval of the usual request with this digest, granted by ann.
    pub(crate) fn granted(&mut self, digest: u8) -> ApprovalId {
        let id = self.ask(ask(ApprovalId::new(), self.task, digest)).unwrap().id;
        self.vote(id, "ann", Verdict::Approve).unwrap();
        id
    }

    pub(crate) fn end(&mut self, task: TaskId) {
        let end = taskpass_lease::EndTask {
            tenant: TenantId::default(),
            task,
            reason: EndReason::Cancelled,
            by: "operator".to_owned(),
        };
        self.apply(Event::EndTask(end)).unwrap();
    }
}

#[track_caller]
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Reason {
    result.unwrap_err().reason()
}

/// What a refusal says for programs.
pub(crate) fn metadata(refusal: &Refusal, key: &str) -> Option<String> {
    refusal.metadata().find(|(found, _)| *found == key).map(|(_, value)| value.to_owned())
}
