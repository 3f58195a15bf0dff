//! Asking verifiers about the dead: each is shown a marker, all that a deny record could name of a credential and nothing of the
//! credential itself, and says whether it refuses that.
//!
//! An acknowledgement says what was applied; a probe says what comes of it. Invariants: a verifier is asked only once it was sent
//! the end, with the message that it is in or a later one; one that accepts what it claims to refuse is *unproven* from then
//! on; no more is waiting or remembered of a verifier than is bounded here.

use crate::{
    Broker, Caller, Dead, Role,
    verifiers::{Entry, Session, Verifiers},
};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};
use taskpass_lease::{Lease, Task};
use taskpass_store::LeaseQuery;
use taskpass_types::{
    AgentId, Epoch, Grant, KeyGeneration, LeaseId, Owner, PolicyRevision, Reason, Refusal, ResourceName,
    SessionId, TaskPath, TenantId, Timestamp,
};
use tokio::time::timeout;

/// How many questions wait for one verifier.
const WAITING: usize = 64;
/// How many answers of one verifier are remembered; the oldest goes first.
const REMEMBERED: usize = 1_024;
/// How many leases of one receipt are asked about.
pub(crate) const ASKED: usize = 64;

/// What a deny record could name of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The lease.
    pub lease: LeaseId,
    /// From the root task down to its own.
    pub task_path: TaskPath,
    /// The agents along that path.
    pub agents: Vec<AgentId>,
    /// Who answers.
    pub owner: Owner,
    /// What it was for.
    pub resource: ResourceName,
    /// The policies in force at the decision.
    pub policy_revision: PolicyRevision,
    /// The key that signed it.
    pub key_generation: KeyGeneration,
    /// See [`Grant::deny_epoch`].
    pub deny_epoch: Epoch,
    /// When the last of its credentials expires. A verifier forgets why it refuses what has.
    pub expires_at: Timestamp,
}

impl Marker {
    pub(crate) fn of(lease: &Lease) -> Self {
        let expires_at = lease.last_expiry;
        let Grant {
            lease,
            task_path,
            agents,
            owner,
            resource,
            policy_revision,
            key_generation,
            deny_epoch,
            ..
        } = lease.grant();
        Self {
            lease,
            task_path,
            agents,
            owner,
            resource,
            policy_revision,
            key_generation,
            deny_epoch,
            expires_at,
        }
    }
}

/// A question.
#[derive(Clone, Debug)]
struct Question {
    marker: Marker,
    /// The end that must have been sent.
    epoch: Epoch,
}

/// What was asked of one verifier, and what it said.
#[derive(Default)]
pub(crate) struct Probes {
    waiting: VecDeque<Question>,
    asked: HashMap<LeaseId, Epoch>,
    refused: HashMap<LeaseId, Epoch>,
    order: VecDeque<LeaseId>,
}

impl Probes {
    /// Whether there is something to ask.
    fn ask(&mut self, question: Question) -> bool {
        let lease = question.marker.lease;
        let known = self.asked.get(&lease).is_some_and(|epoch| *epoch >= question.epoch);
        if known || self.waiting.len() >= WAITING {
            return false;
        }
        while self.order.len() >= REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.asked.remove(&oldest);
                self.refused.remove(&oldest);
            }
        }
        if self.asked.insert(lease, question.epoch).is_none() {
            self.order.push_back(lease);
        }
        self.waiting.push_back(question);
        true
    }

    /// What can be asked with a message that reaches `reached`, and is not pointless by `now`.
    fn take(&mut self, reached: Epoch, now: Timestamp) -> Vec<Marker> {
        let (ready, later) = self.waiting.drain(..).partition(|question| question.epoch <= reached);
        self.waiting = later;
        let ready: VecDeque<Question> = ready;
        ready.into_iter().map(|question| question.marker).filter(|marker| now < marker.expires_at).collect()
    }

    /// `None`: that was not asked.
    fn answer(&mut self, lease: LeaseId, refused: bool) -> Option<()> {
        let epoch = *self.asked.get(&lease)?;
        if refused {
            self.refused.insert(lease, epoch);
        }
        Some(())
    }

    fn refuses(&self, lease: LeaseId, epoch: Epoch) -> bool {
        self.refused.get(&lease).is_some_and(|known| *known >= epoch)
    }
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Which lease it was asked about.
    pub lease: LeaseId,
    /// Whether it refuses it.
    pub refused: bool,
}

/// How many verifiers were asked about an end, and how many refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCount {
    /// So many were asked.
    pub asked: usize,
    /// So many of them refused.
    pub refused: usize,
}

impl Session {
    /// What to ask with a message that reaches `reached`.
    pub(crate) fn probes(&self, reached: Epoch, now: Timestamp) -> Vec<Marker> {
        self.with(|entry| entry.probes.take(reached, now)).unwrap_or_default()
    }
}

impl Verifiers {
    fn ask(&self, tenant: &TenantId, dead: &Dead, marker: &Marker) {
        let ask = |entry: &mut Entry| {
            if entry.probes.ask(Question { marker: marker.clone(), epoch: dead.epoch() }) {
                metrics::counter!("taskpass_probes_total", "result" => "asked").increment(1);
                entry.wake.notify_one();
            }
        };
        // Elsewhere it is not told of such an end, and would say that it accepts it.
        self.concerned(tenant, &dead.narrowed(&marker.resource), ask);
    }

    fn count(&self, tenant: &TenantId, dead: &Dead, lease: LeaseId) -> ProbeCount {
        let mut count = ProbeCount::default();
        self.concerned(tenant, dead, |entry| {
            if entry.probes.asked.contains_key(&lease) {
                count.asked += 1;
                count.refused += usize::from(entry.probes.refuses(lease, dead.epoch()));
            }
        });
        count
    }

    fn answer(&self, session: SessionId, answers: &[Probed]) -> Result<(), Refusal> {
        let unasked = || {
            Refusal::new(Reason::FieldInvalid, "this stream was not asked about that, or has ended")
                .fix("answer what the messages of an open stream asked")
                .with("field", "lease_id")
        };
        let known = self.entry(session, |entry| {
            answers.iter().try_for_each(|answer| {
                entry.probes.answer(answer.lease, answer.refused)?;
                let result = if answer.refused { "refused" } else { "accepted" };
                metrics::counter!("taskpass_probes_total", "result" => result).increment(1);
                if !answer.refused {
                    entry.lied = true;
                    tracing::error!(verifier = entry.name(), lease = %answer.lease, "a verifier accepts what it was told is dead");
                }
                Some(())
            })
        });
        self.tell();
        known.flatten().ok_or_else(unasked)
    }
}

impl Broker {
    /// A verifier says whether it refuses what it was asked about.
    ///
    /// # Errors
    /// `NOT_PERMITTED`; `FIELD_INVALID` for a stream that is not there, or what it was not asked.
    pub fn answer_probes(
        &self,
        caller: &Caller,
        session: SessionId,
        answers: &[Probed],
    ) -> Result<(), Refusal> {
        caller.require(&[Role::Verifier, Role::Operator])?;
        self.0.verifiers.answer(session, answers)
    }

    /// Asks every verifier that an end concerns about one lease under it, unless that has expired.
    pub(crate) fn ask_verifiers(&self, tenant: &TenantId, dead: &Dead, marker: &Marker) {
        if marker.expires_at <= self.now() {
            return;
        }
        self.0.verifiers.ask(tenant, dead, marker);
    }

    /// An end of a task with its newest lease, which verifiers can be asked about; without one if that cannot be read.
    pub async fn marked(&self, dead: Dead, task: &Task) -> Dead {
        let query = LeaseQuery {
            tenant: task.tenant.clone(),
            task: Some(task.id),
            limit: 1,
            ..LeaseQuery::default()
        };
        let newest = self.parts().store.leases(&query).await.ok();
        dead.marked(newest.and_then(|page| page.items.into_iter().next()).as_ref())
    }

    /// What they said so far.
    pub(crate) fn probed(&self, tenant: &TenantId, dead: &Dead, lease: LeaseId) -> ProbeCount {
        self.0.verifiers.count(tenant, dead, lease)
    }

    /// Waits until whoever was asked has answered, `wait` at most.
    pub(crate) async fn answered(&self, tenant: &TenantId, asked: &[(Dead, LeaseId)], wait: Duration) {
        let mut told = self.0.verifiers.told();
        let all = |(dead, lease): &(Dead, LeaseId)| {
            let ProbeCount { asked, refused } = self.probed(tenant, dead, *lease);
            asked == refused
        };
        let everybody = async {
            while !asked.iter().all(all) {
                if told.changed().await.is_err() {
                    return;
                }
            }
        };
        drop(timeout(wait, everybody).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskpass_types::TaskId;

    fn question(epoch: u64) -> Question {
        let marker = Marker {
            lease: LeaseId::new(),
            task_path: TaskPath::root(TaskId::new()),
            agents: vec![AgentId::new("ci/bot").unwrap()],
            owner: Owner::new("maya@acme.test").unwrap(),
            resource: ResourceName::new("billing-api").unwrap(),
            policy_revision: PolicyRevision::new("r1").unwrap(),
            key_generation: KeyGeneration(1),
            deny_epoch: Epoch::default(),
            expires_at: Timestamp::from_secs(100),
        };
        Question { marker, epoch: Epoch(epoch) }
    }

    #[test]
    fn nobody_is_asked_about_an_end_before_it_was_sent() {
        let mut probes = Probes::default();
        let (early, late) = (question(3), question(7));
        assert!(probes.ask(late.clone()) && probes.ask(early.clone()));
        assert!(!probes.ask(early.clone()), "once is enough");
        assert_eq!(probes.take(Epoch(2), Timestamp::from_secs(99)), []);
        assert_eq!(probes.take(Epoch(6), Timestamp::from_secs(99)), [early.marker]);
        assert_eq!(probes.take(Epoch(7), Timestamp::from_secs(99)), [late.marker]);
        assert_eq!(probes.take(Epoch(9), Timestamp::from_secs(99)), []);
    }

    #[test]
    fn nobody_is_asked_about_what_has_expired_meanwhile() {
        let mut probes = Probes::default();
        assert!(probes.ask(question(1)));
        assert_eq!(probes.take(Epoch(1), Timestamp::from_secs(100)), []);
    }

    #[test]
    fn only_what_was_asked_can_be_answered_and_all_of_it_is_bounded() {
        let mut probes = Probes::default();
        assert_eq!(probes.answer(LeaseId::new(), true), None);
        let first = question(1);
        probes.ask(first.clone());
        assert_eq!(probes.answer(first.marker.lease, true), Some(()));
        assert!(
            probes.refuses(first.marker.lease, Epoch(1)) && !probes.refuses(first.marker.lease, Epoch(2))
        );
        for _ in 0..2 * REMEMBERED {
            probes.ask(question(1));
            if probes.waiting.len() == WAITING {
                assert!(!probes.ask(question(1)));
                probes.take(Epoch(1), Timestamp::from_secs(99));
            }
        }
        assert!(probes.asked.len() <= REMEMBERED && probes.order.len() == probes.asked.len());
        assert!(!probes.refuses(first.marker.lease, Epoch(1)), "forgotten with the question");
    }
}
