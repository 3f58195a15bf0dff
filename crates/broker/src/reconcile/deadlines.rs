//! Works off the store's schedule: deadlines, silence, expiry, settlement, retention.

use super::AFTER_FAILURE;
use crate::Broker;
use std::{collections::BTreeMap, time::Duration};
use taskpass_audit::{Action, Actor, Event};
use taskpass_lease::{Duty, Outcome, Settled};
use taskpass_store::{Due, DueWhat};
use taskpass_types::{EndReason, Reason, Refusal, TenantId, Timestamp};

/// How far ahead it looks. Nothing lives shorter than a second, so nothing that is written meanwhile is due sooner.
const HORIZON: Duration = Duration::from_millis(250);
/// How many entries it takes at once.
const BATCH: usize = 256;

/// How often a broker looks whether the one on duty still is.
const OTHERS: Duration = Duration::from_secs(1);

const ACTOR: Actor = Actor::Broker("deadlines");

pub(super) async fn run(broker: Broker) {
    let mut denied = broker.parts().store.denied();
    loop {
        denied.mark_unchanged();
        let round = async {
            if broker.on_duty(Duty::Deadlines).await? { broker.work_off_schedule().await } else { Ok(OTHERS) }
        };
        let pause = match round.await {
            Ok(pause) => pause,
            Err(refusal) => {
                tracing::warn!(?refusal, "the schedule could not be worked off; trying again");
                AFTER_FAILURE
            }
        };
        // A task that has just ended is settled at once.
        drop(tokio::time::timeout(pause, denied.changed()).await);
    }
}

impl Broker {
    /// One round over the store's schedule: ends what is overdue, settles what has ended, forgets what is past its
    /// retention. Says how long to wait until there is something to do again.
    ///
    /// # Errors
    /// When the store does not answer; what is left is due again in the next round.
    pub async fn work_off_schedule(&self) -> Result<Duration, Refusal> {
        loop {
            let now = self.now();
            let ahead = self.parts().store.due(now.plus(HORIZON), BATCH).await?;
            let full = ahead.len() == BATCH;
            let (due, later): (Vec<_>, Vec<_>) = ahead.into_iter().partition(|due| due.at <= now);
            let mut forgotten = Forgotten::default();
            let handled = handle(self, &due, now, &mut forgotten).await;
            forgotten.write_down(self);
            handled?;
            // What was handled may be due again at once: a settlement goes on in slices.
            if due.is_empty() && !full {
                let next = later.first().map_or(HORIZON, |next| next.at.since(now));
                return Ok(next.max(Duration::from_millis(1)));
            }
        }
    }
}

/// What was forgotten in one batch: deny records, and tasks and leases. One pair of entries a tenant for each, for what
/// they were is in the log already.
#[derive(Default)]
struct Forgotten(BTreeMap<(TenantId, Action), u64>);

impl Forgotten {
    /// Announces it, once. What fails is told by the count.
    fn announce(&mut self, broker: &Broker, what: &DueWhat) -> Option<Event> {
        self.0.entry(Self::key(what)).or_insert_with_key(|(tenant, action)| {
            broker.note(Event::intent(tenant, *action, ACTOR));
            0
        });
        None
    }

    fn count(&mut self, what: &DueWhat) {
        *self.0.entry(Self::key(what)).or_default() += 1;
    }

    fn key(what: &DueWhat) -> (TenantId, Action) {
        match what {
            DueWhat::Deny(tenant, _) => (tenant.clone(), Action::DenyForget),
            DueWhat::Approval(tenant, _) | DueWhat::Lease(tenant, _) | DueWhat::Task(tenant, _) => {
                (tenant.clone(), Action::StorePurge)
            }
        }
    }

    fn write_down(self, broker: &Broker) {
        for ((tenant, action), count) in self.0 {
            broker.note(Event::outcome(&tenant, action, ACTOR).count(count));
        }
    }
}

async fn handle(
    broker: &Broker,
    due: &[Due],
    now: Timestamp,
    forgotten: &mut Forgotten,
) -> Result<(), Refusal> {
    for due in due {
        let failure = announce(broker, due, now, forgotten).await;
        match broker.parts().store.apply_due(due.clone(), now).await {
            Ok(done) => match done.into_outcome() {
                Outcome::Forgotten => forgotten.count(&due.what),
                // When the store does not answer now, the lease is checked again at its next recheck.
                Outcome::RecheckDue(lease) => drop(broker.recheck(&lease).await?),
                // Another broker of the fleet had taken it from the schedule.
                Outcome::Nothing => {
                    let done = Refusal::new(Reason::Superseded, "another broker of the fleet did it");
                    failure.into_iter().for_each(|failure| broker.note(failure.refusal(&done)));
                }
                outcome => write_down(broker, due, outcome),
            },
            Err(refusal) => {
                failure.into_iter().for_each(|failure| broker.note(failure.refusal(&refusal)));
                return Err(refusal);
            }
        }
    }
    Ok(())
}

/// Writes down what is about to happen, as far as the record tells; gives what to write down should it fail.
async fn announce(broker: &Broker, due: &Due, now: Timestamp, forgotten: &mut Forgotten) -> Option<Event> {
    let store = &broker.parts().store;
    let change = |tenant, action, describe: &dyn Fn(Event) -> Event| {
        broker.note(describe(Event::intent(tenant, action, ACTOR)));
        Some(describe(Event::outcome(tenant, action, ACTOR)))
    };
    match &due.what {
        DueWhat::Approval(tenant, id) => {
            let approval = store.approval(tenant, *id).await.ok()??;
            match approval.settled_at() {
                Some(_) => forgotten.announce(broker, &due.what),
                None if !approval.has_expired(now) => None,
                None => change(tenant, Action::ApprovalExpire, &|event| event.approval(*id)),
            }
        }
        DueWhat::Deny(..) => forgotten.announce(broker, &due.what),
        DueWhat::Lease(tenant, id) => {
            let lease = store.lease(tenant, *id).await.ok()??;
            match (lease.end(), lease.ended_by(now)) {
                (Some(_), _) => forgotten.announce(broker, &due.what),
                (None, Some(reason)) => {
                    change(tenant, Action::LeaseEnd, &|event| event.lease(*id).reason(reason))
                }
                (None, None) => None,
            }
        }
        DueWhat::Task(tenant, id) => {
            let task = store.task(tenant, *id).await.ok()??;
            match (task.end(), task.ended_by(now)) {
                (None, None) => None,
                (None, Some(reason)) => {
                    change(tenant, Action::TaskEnd, &|event| event.task(*id).reason(reason))
                }
                (Some(_), _) if task.live_below > 0 => {
                    change(tenant, Action::TaskSettle, &|event| event.task(*id).count(task.live_below.into()))
                }
                (Some(_), _) => forgotten.announce(broker, &due.what),
            }
        }
    }
}

fn write_down(broker: &Broker, due: &Due, outcome: Outcome) {
    match (outcome, &due.what) {
        (Outcome::TaskEnded(ended), DueWhat::Task(tenant, id)) => {
            let Some(end) = ended.record.end() else { return };
            metrics::counter!("taskpass_tasks_ended_total", "reason" => end.reason.as_str()).increment(1);
            let event = Event::outcome(tenant, Action::TaskEnd, ACTOR).task(*id).reason(end.reason);
            broker.note(ended.deny.iter().fold(event, |event, deny| event.epoch(deny.epoch)));
            if end.reason == EndReason::Silent {
                broker.note(Event::outcome(tenant, Action::TaskHeartbeatLost, ACTOR).task(*id));
            }
        }
        (Outcome::LeaseEnded(ended), DueWhat::Lease(tenant, id)) => {
            let event = Event::outcome(tenant, Action::LeaseEnd, ACTOR).lease(*id);
            let event = ended.record.end().into_iter().fold(event, |event, end| event.reason(end.reason));
            broker.note(ended.deny.iter().fold(event, |event, deny| event.epoch(deny.epoch)));
        }
        (Outcome::Approval(approval), DueWhat::Approval(tenant, id)) => {
            metrics::counter!("taskpass_approvals_expired_total").increment(1);
            let event = Event::outcome(tenant, Action::ApprovalExpire, ACTOR).approval(*id);
            broker.note(event.agent(&approval.agent).task(approval.task));
        }
        (Outcome::Settled(settled), DueWhat::Task(tenant, id)) => {
            settle(broker, tenant, &settled);
            if !settled.more {
                broker.note(Event::outcome(tenant, Action::TaskSettle, ACTOR).task(*id));
            }
        }
        _ => {}
    }
}

fn settle(broker: &Broker, tenant: &TenantId, settled: &Settled) {
    for lease in &settled.leases {
        let event = Event::outcome(tenant, Action::LeaseSettle, ACTOR).lease(lease.id);
        broker.note(lease.end().map_or(event.clone(), |end| event.reason(end.reason)));
    }
    for task in &settled.tasks {
        let event = Event::outcome(tenant, Action::TaskEnd, ACTOR).task(task.id);
        broker.note(event.reason(EndReason::ParentEnded));
    }
}
