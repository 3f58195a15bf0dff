//! One transaction: load, step, save.

use crate::{
    Committed, Due, DueWhat,
    load::{self, load, readable},
    record::{HISTORY_KEY, approval_key, decode, deny_key, due_key, lease_header, lease_key, task_key},
    save::{save, save_history},
    tables::{Table, Write},
};
use std::time::Duration;
use taskpass_lease::{Event, HeldFor, HoldChange, Limits, Outcome, TaskState, step};
use taskpass_types::{DenyRecord, HistoryId, LeaseId, Reason, Refusal, Timestamp};

/// How many records one settlement marks; keeps a commit short.
const SETTLE_SLICE: u32 = 256;
/// When something that could not be handled is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The outcome of a step inside a transaction that has not been committed yet.
#[derive(Debug, Default)]
#[must_use = "commit, then turn it into `Committed`; or roll back and drop it"]
pub struct Pending {
    outcome: Outcome,
    deny: Option<DenyRecord>,
    hold: bool,
    held: Option<HeldFor>,
    approval: bool,
}

impl Pending {
    /// To be called once the transaction is durable, and not before.
    pub fn committed(self) -> Committed {
        Committed::new(self.outcome)
    }

    /// The deny record that it wrote.
    pub fn deny(&self) -> Option<&DenyRecord> {
        self.deny.as_ref()
    }

    /// Whether it set a hold.
    pub fn holds(&self) -> bool {
        self.hold
    }

    /// How long it holds something wider than a task.
    pub fn held(&self) -> Option<HeldFor> {
        self.held
    }

    /// Whether it wrote an approval.
    pub fn changes_approval(&self) -> bool {
        self.approval
    }
}

/// Makes one thing happen inside a transaction.
///
/// # Errors
/// When the state machine refuses, in which case nothing was written; or when the backend fails, in which case the whole
/// transaction has to be rolled back. [`spoils`] tells them apart.
pub fn apply(
    write: &mut dyn Write,
    event: &Event,
    limits: &Limits,
    now: Timestamp,
) -> Result<Pending, Refusal> {
    let view = load(write, event)?;
    let effects = step(view, event, limits, now)?;
    save(write, &effects, limits)?;
    Ok(Pending {
        hold: matches!(effects.hold, Some(HoldChange::Set(..))),
        held: match event {
            Event::BarWide(bar) => bar.hold,
            _ => None,
        },
        approval: effects.approval.is_some(),
        deny: effects.deny,
        outcome: effects.outcome,
    })
}

/// Handles one entry of the schedule: whatever it was, the entry is gone afterwards, so that none can be due for ever.
///
/// # Errors
/// As [`apply`].
pub fn apply_due(
    write: &mut dyn Write,
    due: &Due,
    limits: &Limits,
    now: Timestamp,
) -> Result<Pending, Refusal> {
    if write.remove(Table::Schedule, &due_key(due))?.is_none() {
        return Ok(Pending::default());
    }
    let event = due_event(write, due);
    match event.and_then(|event| apply(write, &event, limits, now)) {
        Ok(pending) => {
            put_back(write, due, limits)?;
            Ok(pending)
        }
        Err(refusal) if spoils(&refusal) => Err(refusal),
        Err(_) => {
            set_aside(write, due, now)?;
            Ok(Pending::default())
        }
    }
}

/// Whether a failure leaves a transaction half written, so that all of it has to be rolled back.
pub fn spoils(refusal: &Refusal) -> bool {
    matches!(refusal.reason(), Reason::StoreUnavailable | Reason::Internal)
}

fn due_event(write: &mut dyn Write, due: &Due) -> Result<Event, Refusal> {
    Ok(match &due.what {
        DueWhat::Approval(tenant, id) => Event::TickApproval(tenant.clone(), *id),
        DueWhat::Deny(tenant, epoch) => Event::ForgetDeny(tenant.clone(), *epoch),
        DueWhat::Lease(tenant, id) => Event::TickLease(tenant.clone(), *id),
        DueWhat::Task(tenant, id) => match load::task(write, tenant, *id)? {
            Some(task) if matches!(task.state, TaskState::Ended(_)) && task.live_below > 0 => {
                Event::SettleTask(tenant.clone(), *id, SETTLE_SLICE)
            }
            _ => Event::TickTask(tenant.clone(), *id),
        },
    })
}

/// Whatever still exists stays scheduled: also when the entry came early because limits changed since it was written, and
/// when one slice of a settlement left the time as it was.
fn put_back(write: &mut dyn Write, due: &Due, limits: &Limits) -> Result<(), Refusal> {
    let at = match &due.what {
        DueWhat::Approval(tenant, id) => {
            readable(load::approval(write, tenant, *id))?.map(|approval| approval.due(limits))
        }
        DueWhat::Deny(tenant, epoch) => readable(load::deny(write, tenant, *epoch))?.map(|deny| deny.until),
        DueWhat::Lease(tenant, id) => {
            readable(load::lease(write, tenant, *id))?.map(|lease| lease_header(&lease, limits).due)
        }
        DueWhat::Task(tenant, id) => readable(load::task(write, tenant, *id))?.map(|task| task.due(limits)),
    };
    match at {
        Some(at) => schedule(write, at, &due.what),
        None => Ok(()),
    }
}

fn schedule(write: &mut dyn Write, at: Timestamp, what: &DueWhat) -> Result<(), Refusal> {
    write.put(Table::Schedule, &due_key(&Due { at, what: what.clone() }), &[]).map(drop)
}

/// Moves a record that cannot be read out of the way: what is not found counts as ended. When it is something around it
/// that cannot be read, the record stays and is due again later.
fn set_aside(write: &mut dyn Write, due: &Due, now: Timestamp) -> Result<(), Refusal> {
    let (table, key, found) = match &due.what {
        DueWhat::Approval(tenant, id) => {
            (Table::Approvals, approval_key(tenant, *id), load::approval(write, tenant, *id).map(drop))
        }
        DueWhat::Deny(tenant, epoch) => {
            (Table::Denies, deny_key(tenant, *epoch), load::deny(write, tenant, *epoch).map(drop))
        }
        DueWhat::Lease(tenant, id) => {
            (Table::Leases, lease_key(tenant, *id), load::lease(write, tenant, *id).map(drop))
        }
        DueWhat::Task(tenant, id) => {
            (Table::Tasks, task_key(tenant, *id), load::task(write, tenant, *id).map(drop))
        }
    };
    match found {
        Ok(()) => schedule(write, now.plus(TRY_AGAIN), &due.what),
        Err(refusal) if refusal.reason() != Reason::StoreCorrupt => Err(refusal),
        Err(_) => match write.remove(table, &key)? {
            Some(bytes) => {
                write.put(Table::Quarantine, &[table.name().as_bytes(), &key].concat(), &bytes).map(drop)
            }
            None => Ok(()),
        },
    }
}

/// Prepares an empty or existing store and tells which life of it this is.
///
/// # Errors
/// When the backend fails, or the history cannot be read.
pub fn open(write: &mut dyn Write) -> Result<HistoryId, Refusal> {
    if let Some(bytes) = write.read(Table::Meta, HISTORY_KEY)? {
        return decode("history id", &bytes);
    }
    // An id's bytes serve: 74 random bits, never used twice.
    let history = HistoryId(*LeaseId::new().as_bytes());
    save_history(write, history)?;
    Ok(history)
}
