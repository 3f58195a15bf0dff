//! Works off the store's schedule: deadlines, silence, expiry, settlement, retention.

use super::AFTER_FAILURE;
use crate::Broker;
use futures::future::join_all;
use std::{collections::BTreeMap, time::Duration};
use taskpass_audit::{Action, Actor, Event};
use taskpass_lease::{Duty, Outcome, Settled};
use taskpass_store::{Committed, Due, DueWhat};
use taskpass_types::{EndReason, Reason, Refusal, TenantId, Timestamp};

/// How far ahead it looks. Nothing lives shorter than a second, so nothing that is written meanwhile is due sooner.
const HORIZON: Duration = Duration::from_millis(250);
/// How many entries it takes at once.
const BATCH: usize = 256;
/// How many it handles at once: a commit of so many is short enough for a grant that waits behind it.
const AT_ONCE: usize = 8;

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

/// Handles all of `due`, several at once so that they share commits. What fails is due again, and holds nothing up that comes
/// behind it.
async fn handle(
    broker: &Broker,
    due: &[Due],
    now: Timestamp,
    forgotten: &mut Forgotten,
) -> Result<(), Refusal> {
    let mut handled = Ok(());
    for some in due.chunks(AT_ONCE) {
        let follows = join_all(some.iter().map(|due| look(broker, due, now))).await;
        let announced: Vec<Option<Event>> = follows
            .into_iter()
            .zip(some)
            .map(|(follows, due)| announce(broker, due, follows, forgotten))
            .collect();
        let done = join_all(some.iter().map(|due| broker.parts().store.apply_due(due.clone(), now))).await;
        for ((due, announced), done) in some.iter().zip(announced).zip(done) {
            handled = handled.and(conclude(broker, due, announced, done, forgotten).await);
        }
    }
    handled
}

/// What is about to happen, as far as the record tells.
enum Follows {
    /// It is forgotten.
    Forgetting,
    /// Something ends or is settled; how to describe that.
    Change(TenantId, Action, Box<dyn Fn(Event) -> Event + Send>),
    Nothing,
}

async fn look(broker: &Broker, due: &Due, now: Timestamp) -> Follows {
    let store = &broker.parts().store;
    let found = async {
        Some(match &due.what {
            DueWhat::Approval(tenant, id) => {
                let (approval, id) = (store.approval(tenant, *id).await.ok()??, *id);
                match approval.settled_at() {
                    Some(_) => Follows::Forgetting,
                    None if !approval.has_expired(now) => Follows::Nothing,
                    None => change(tenant, Action::ApprovalExpire, move |event| event.approval(id)),
                }
            }
            DueWhat::Deny(..) => Follows::Forgetting,
            DueWhat::Lease(tenant, id) => {
                let (lease, id) = (store.lease(tenant, *id).await.ok()??, *id);
                match (lease.end(), lease.ended_by(now)) {
                    (Some(_), _) => Follows::Forgetting,
                    (None, Some(reason)) => {
                        change(tenant, Action::LeaseEnd, move |event| event.lease(id).reason(reason))
                    }
                    (None, None) => Follows::Nothing,
                }
            }
            DueWhat::Task(tenant, id) => {
                let (task, id) = (store.task(tenant, *id).await.ok()??, *id);
                match (task.end(), task.ended_by(now)) {
                    (None, None) => Follows::Nothing,
                    (None, Some(reason)) => {
                        change(tenant, Action::TaskEnd, move |event| event.task(id).reason(reason))
                    }
                    (Some(_), _) if task.live_below > 0 => {
                        let below = task.live_below.into();
                        change(tenant, Action::TaskSettle, move |event| event.task(id).count(below))
                    }
                    (Some(_), _) => Follows::Forgetting,
                }
            }
        })
    };
    found.await.unwrap_or(Follows::Nothing)
}

fn change(tenant: &TenantId, action: Action, describe: impl Fn(Event) -> Event + Send + 'static) -> Follows {
    Follows::Change(tenant.clone(), action, Box::new(describe))
}

/// Writes down what is about to happen; gives what to write down should it fail.
fn announce(broker: &Broker, due: &Due, follows: Follows, forgotten: &mut Forgotten) -> Option<Event> {
    match follows {
        Follows::Forgetting => forgotten.announce(broker, &due.what),
        Follows::Change(tenant, action, describe) => {
            broker.note(describe(Event::intent(&tenant, action, ACTOR)));
            Some(describe(Event::outcome(&tenant, action, ACTOR)))
        }
        Follows::Nothing => None,
    }
}

async fn conclude(
    broker: &Broker,
    due: &Due,
    announced: Option<Event>,
    done: Result<Committed, Refusal>,
    forgotten: &mut Forgotten,
) -> Result<(), Refusal> {
    let failed = |refusal: &Refusal| {
        announced.into_iter().for_each(|event| broker.note(event.refusal(refusal)));
    };
    match done.map(Committed::into_outcome) {
        Ok(Outcome::Forgotten) => forgotten.count(&due.what),
        // When the store does not answer now, the lease is checked again at its next recheck.
        Ok(Outcome::RecheckDue(lease)) => drop(broker.recheck(&lease).await?),
        // Another broker of the fleet had taken it from the schedule.
        Ok(Outcome::Nothing) => {
            failed(&Refusal::new(Reason::Superseded, "another broker of the fleet did it"));
        }
        Ok(outcome) => write_down(broker, due, outcome),
        Err(refusal) => {
            failed(&refusal);
            return Err(refusal);
        }
    }
    Ok(())
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
