//! Works off the store's schedule: deadlines, silence, expiry, settlement, retention.

use super::AFTER_FAILURE;
use crate::Broker;
use std::{collections::BTreeMap, time::Duration};
use taskpass_audit::{Action, Actor, Event};
use taskpass_lease::{Outcome, Settled};
use taskpass_store::{Due, DueWhat};
use taskpass_types::{EndReason, Refusal, TenantId, Timestamp};

/// How far ahead it looks. Nothing lives shorter than a second, so nothing that is written meanwhile is due sooner.
const HORIZON: Duration = Duration::from_millis(250);
/// How many entries it takes at once.
const BATCH: usize = 256;

const ACTOR: Actor = Actor::Broker("deadlines");

pub(super) async fn run(broker: Broker) {
    let mut denied = broker.parts().store.denied();
    loop {
        denied.mark_unchanged();
        let pause = match broker.work_off_schedule().await {
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
            for due in &due {
                handle(self, due, now, &mut forgotten).await?;
            }
            forgotten.write_down(self);
            // What was handled may be due again at once: a settlement goes on in slices.
            if due.is_empty() && !full {
                let next = later.first().map_or(HORIZON, |next| next.at.since(now));
                return Ok(next.max(Duration::from_millis(1)));
            }
        }
    }
}

/// What was forgotten in one batch, by tenant: deny records, and tasks and leases.
#[derive(Default)]
struct Forgotten(BTreeMap<TenantId, (u64, u64)>);

impl Forgotten {
    fn count(&mut self, what: &DueWhat) {
        let (DueWhat::Deny(tenant, _) | DueWhat::Lease(tenant, _) | DueWhat::Task(tenant, _)) = what;
        let (denies, records) = self.0.entry(tenant.clone()).or_default();
        match what {
            DueWhat::Deny(..) => *denies += 1,
            DueWhat::Lease(..) | DueWhat::Task(..) => *records += 1,
        }
    }

    fn write_down(self, broker: &Broker) {
        for (tenant, (denies, records)) in self.0 {
            for (action, count) in [(Action::DenyForget, denies), (Action::StorePurge, records)] {
                if count > 0 {
                    broker.note(Event::outcome(&tenant, action, ACTOR).count(count));
                }
            }
        }
    }
}

async fn handle(
    broker: &Broker,
    due: &Due,
    now: Timestamp,
    forgotten: &mut Forgotten,
) -> Result<(), Refusal> {
    if let Some(intent) = intent(broker, due, now).await {
        broker.note(intent);
    }
    let outcome = broker.parts().store.apply_due(due.clone(), now).await?.into_outcome();
    if matches!(outcome, Outcome::Forgotten) {
        forgotten.count(&due.what);
    }
    write_down(broker, due, outcome);
    Ok(())
}

/// What is about to happen, as far as the record tells.
async fn intent(broker: &Broker, due: &Due, now: Timestamp) -> Option<Event> {
    let store = &broker.parts().store;
    match &due.what {
        DueWhat::Deny(..) => None,
        DueWhat::Lease(tenant, id) => {
            let lease = store.lease(tenant, *id).await.ok()??;
            let ends = lease.end().is_none() && now >= lease.last_expiry;
            ends.then(|| Event::intent(tenant, Action::LeaseEnd, ACTOR).lease(*id).reason(EndReason::Expired))
        }
        DueWhat::Task(tenant, id) => {
            let task = store.task(tenant, *id).await.ok()??;
            match (task.end(), task.ended_by(now)) {
                (None, Some(reason)) => {
                    Some(Event::intent(tenant, Action::TaskEnd, ACTOR).task(*id).reason(reason))
                }
                (Some(_), _) if task.live_below > 0 => Some(
                    Event::intent(tenant, Action::TaskSettle, ACTOR).task(*id).count(task.live_below.into()),
                ),
                _ => None,
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
        (Outcome::LeaseEnded(_), DueWhat::Lease(tenant, id)) => {
            let event = Event::outcome(tenant, Action::LeaseEnd, ACTOR).lease(*id);
            broker.note(event.reason(EndReason::Expired));
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
