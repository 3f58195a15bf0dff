//! What waits for the writer: two bounded lanes, so that an end neither waits behind issuing nor is refused because of it.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use taskpass_store::Job;
use taskpass_types::{Reason, Refusal};

/// How many operations may wait in one lane.
const LANE: usize = 4096;
/// How many operations share one commit: long enough to hide the fsync, short enough not to keep an end waiting.
const BATCH: usize = 256;
/// After a batch of at least this many, its callers are likely to come back at once; so long they are waited for. One
/// larger commit costs less than two smaller ones, and the wait is a fraction of either.
const CROWD: usize = 8;
const LINGER: Duration = Duration::from_micros(500);

/// The two lanes.
#[derive(Default)]
pub(crate) struct Queue {
    lanes: Mutex<Lanes>,
    changed: Condvar,
}

#[derive(Default)]
struct Lanes {
    urgent: VecDeque<Job>,
    ordinary: VecDeque<Job>,
    /// How many the last batch had.
    answered: usize,
    /// For how many ordinary ones the writer is to be woken; for less would cost more than it gains.
    wanted: usize,
    nudged: bool,
    closed: bool,
}

impl Lanes {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.ordinary.is_empty()
    }

    /// Whether waiting a moment will make a larger batch; what is urgent does not wait.
    fn worth_waiting(&self) -> bool {
        self.answered >= CROWD && self.urgent.is_empty() && self.ordinary.len() < BATCH && !self.closed
    }
}

impl Queue {
    /// Lets `job` wait; refuses at once when its lane is full.
    pub(crate) fn push(&self, job: Job) -> Result<(), Refusal> {
        let mut lanes = self.lanes.lock();
        let lane = if job.urgent() { &mut lanes.urgent } else { &mut lanes.ordinary };
        if lane.len() >= LANE {
            return Err(Refusal::new(Reason::StoreUnavailable, "too many operations wait for the store")
                .fix("ask again in a moment"));
        }
        lane.push_back(job);
        let wake = !lanes.urgent.is_empty() || lanes.ordinary.len() >= lanes.wanted;
        drop(lanes);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Makes the writer look after the file although nothing waits.
    pub(crate) fn nudge(&self) {
        self.lanes.lock().nudged = true;
        self.changed.notify_one();
    }

    /// Lets [`Queue::take`] return `None` once all that waits is taken.
    pub(crate) fn close(&self) {
        self.lanes.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next batch, urgent ones first; empty after a nudge or when nothing came for `patience`; `None` at the end.
    pub(crate) fn take(&self, patience: Option<Duration>) -> Option<Vec<Job>> {
        let mut lanes = self.lanes.lock();
        lanes.wanted = 1;
        while lanes.is_empty() && !lanes.nudged {
            if lanes.closed {
                return None;
            }
            match patience {
                None => self.changed.wait(&mut lanes),
                Some(patience) if self.changed.wait_for(&mut lanes, patience).timed_out() => break,
                Some(_) => {}
            }
        }
        self.linger(&mut lanes);
        lanes.wanted = usize::MAX;
        lanes.nudged = false;
        let urgent = lanes.urgent.len().min(BATCH);
        let ordinary = lanes.ordinary.len().min(BATCH - urgent);
        lanes.answered = urgent + ordinary;
        let mut batch: Vec<Job> = lanes.urgent.drain(..urgent).collect();
        batch.extend(lanes.ordinary.drain(..ordinary));
        Some(batch)
    }

    fn linger(&self, lanes: &mut MutexGuard<'_, Lanes>) {
        let expected = lanes.answered.saturating_add(lanes.ordinary.len());
        #[expect(clippy::disallowed_methods, reason = "bounds a wait; no decision rests on it")]
        let end = Instant::now() + LINGER;
        lanes.wanted = expected.min(BATCH);
        while lanes.worth_waiting() && lanes.ordinary.len() < expected {
            if self.changed.wait_until(lanes, end).timed_out() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskpass_lease::Event;
    use taskpass_store::{Work, conformance::events};
    use taskpass_types::{TaskId, TenantId, Timestamp};

    fn job(event: Event) -> Job {
        Job::new(Work::Apply(event), Timestamp::default()).0
    }

    fn ordinary() -> Job {
        job(events::heartbeat(&TenantId::default(), TaskId::new()))
    }

    fn urgent() -> Job {
        job(events::end_task(&TenantId::default(), TaskId::new()))
    }

    #[test]
    fn ends_go_first_and_are_not_refused_because_of_a_full_lane() {
        let queue = Queue::default();
        for _ in 0..LANE {
            queue.push(ordinary()).unwrap();
        }
        assert_eq!(queue.push(ordinary()).unwrap_err().reason(), Reason::StoreUnavailable);
        queue.push(urgent()).unwrap();
        let batch = queue.take(None).unwrap();
        assert_eq!((batch.len(), batch[0].urgent(), batch[1].urgent()), (BATCH, true, false));
    }

    #[test]
    fn what_waits_is_taken_before_the_end() {
        let queue = Queue::default();
        for _ in 0..BATCH + 1 {
            queue.push(ordinary()).unwrap();
        }
        queue.close();
        assert_eq!(queue.take(None).unwrap().len(), BATCH);
        assert_eq!(queue.take(None).unwrap().len(), 1);
        assert!(queue.take(None).is_none());
    }

    #[test]
    fn a_nudge_is_an_empty_batch() {
        let queue = Queue::default();
        queue.nudge();
        assert_eq!(queue.take(None).unwrap().len(), 0);
        assert_eq!(queue.take(Some(Duration::from_millis(1))).unwrap().len(), 0);
    }
}
