//! One transition that waits for a store's writer, and whoever waits for its answer.

use crate::{
    Committed, Due, Pending, apply, apply_due, foresee,
    tables::{Table, Write},
};
use taskpass_lease::{Event, Limits, Verdict};
use taskpass_types::{Refusal, Timestamp};
use tokio::sync::oneshot;

/// What to do.
#[derive(Debug)]
pub enum Work {
    /// Something happened.
    Apply(Event),
    /// Something is due.
    Due(Due),
}

/// One transition and whoever waits for it. Dropping it unanswered tells the caller that the outcome is unknown.
#[derive(Debug)]
pub struct Job {
    work: Work,
    now: Timestamp,
    answer: oneshot::Sender<Result<Committed, Refusal>>,
}

impl Job {
    /// The job, and where its answer arrives.
    pub fn new(work: Work, now: Timestamp) -> (Self, oneshot::Receiver<Result<Committed, Refusal>>) {
        let (answer, answered) = oneshot::channel();
        (Self { work, now, answer }, answered)
    }

    /// Does it inside a transaction; may be run again in another, as long as it is not answered.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn run(&self, write: &mut dyn Write, limits: &Limits) -> Result<Pending, Refusal> {
        match &self.work {
            Work::Apply(event) => apply(write, event, limits, self.now),
            Work::Due(due) => apply_due(write, due, limits, self.now),
        }
    }

    /// What it will look at, as far as it can be told beforehand.
    pub fn foresee(&self) -> Vec<(Table, Vec<u8>)> {
        match &self.work {
            Work::Apply(event) => foresee::event(event),
            Work::Due(due) => foresee::due(due),
        }
    }

    /// Tells the caller. One that went away does not matter: what was committed stays.
    pub fn answer(self, result: Result<Committed, Refusal>) {
        drop(self.answer.send(result));
    }

    /// What takes something away goes first: ends, holds, a no, a change of policy; and what operators do by hand.
    pub fn urgent(&self) -> bool {
        let Work::Apply(event) = &self.work else { return false };
        match event {
            Event::BarWide(_)
            | Event::EndLease(_)
            | Event::EndTask(_)
            | Event::DenyKeys(_)
            | Event::HoldTask(_)
            | Event::ReleaseHold(_)
            | Event::ReleaseWide(_)
            | Event::SetPolicies(_) => true,
            Event::CutLease(cut) => cut.at <= self.now,
            Event::Vote(cast) => cast.verdict == Verdict::Deny,
            _ => false,
        }
    }

    /// Whether it takes something away from somebody, for good: an end, a change of policy.
    pub fn takes_away(&self) -> bool {
        match &self.work {
            Work::Apply(Event::SetPolicies(_)) => true,
            Work::Apply(_) => self.urgent(),
            Work::Due(_) => true,
        }
    }

    /// Whether a store that has lost something does it all the same: what ends, and what makes it whole again.
    pub fn may_while_mending(&self) -> bool {
        let Work::Apply(event) = &self.work else { return false };
        matches!(
            event,
            Event::BarWide(_)
                | Event::EndLease(_)
                | Event::EndTask(_)
                | Event::SetPolicies(_)
                | Event::ShareKeys(_)
                | Event::TakeTurn(_)
        ) || self.mends()
    }

    /// Whether a store that has lost something is whole afterwards: whatever was signed until now counts no more.
    pub fn mends(&self) -> bool {
        matches!(&self.work, Work::Apply(Event::DenyKeys(_)))
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::conformance::events;
    use taskpass_types::{ApprovalId, LeaseId, TaskId, TenantId};

    #[test]
    fn what_takes_something_away_is_urgent() {
        let (tenant, now) = (TenantId::default(), Timestamp::from_secs(9));
        let vote = |verdict| events::vote(&tenant, ApprovalId::new(), "ann", verdict);
        let cut = |secs| events::cut_lease(&tenant, LeaseId::new(), Timestamp::from_secs(secs));
        let policies = Event::SetPolicies(Box::new(events::set_policies("r1")));
        let call = Event::CallTool(Box::new(events::call(&tenant, TaskId::new(), None)));
        for (event, urgent) in [
            (events::end_lease(&tenant, LeaseId::new(), false), true),
            (events::hold_task(&tenant, TaskId::new()), true),
            (events::release_hold(&tenant, TaskId::new()), true),
            (policies, true),
            (cut(8), true),
            (cut(9), true),
            (cut(10), false),
            (vote(Verdict::Deny), true),
            (vote(Verdict::Approve), false),
            (call, false),
        ] {
            let (job, _) = Job::new(Work::Apply(event.clone()), now);
            assert_eq!(job.urgent(), urgent, "{event:?}");
        }
    }
}
