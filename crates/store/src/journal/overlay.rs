//! What the journal holds, laid over what the store says.

use crate::Denies;
use serde::{Deserialize, Serialize};
use taskpass_lease::{
    self as lease, BarWide, EndLease, EndTask, Event, Lease, LeaseState, Task, TaskState, Wide,
};
use taskpass_types::{DenyRecord, DenySubject, Epoch, TenantId, Timestamp};

/// An end, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    Lease(EndLease),
    Task(EndTask),
    Wide(BarWide),
}

impl End {
    pub(super) fn of(event: Event) -> Option<Self> {
        match event {
            Event::BarWide(bar) if bar.end => Some(Self::Wide(bar)),
            Event::EndLease(end) => Some(Self::Lease(end)),
            Event::EndTask(end) => Some(Self::Task(end)),
            _ => None,
        }
    }
}

impl From<End> for Event {
    fn from(end: End) -> Self {
        match end {
            End::Lease(end) => Self::EndLease(end),
            End::Task(end) => Self::EndTask(end),
            End::Wide(bar) => Self::BarWide(bar),
        }
    }
}

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journaled {
    pub(super) event: End,
    pub(super) at: Timestamp,
    pub(super) deny: DenyRecord,
}

/// All records of the journal, in their order.
#[derive(Debug, Default)]
pub(super) struct Overlay(Vec<Journaled>);

impl Overlay {
    pub(super) fn new(entries: Vec<Journaled>) -> Self {
        Self(entries)
    }

    pub(super) fn entries(&self) -> &[Journaled] {
        &self.0
    }

    pub(super) fn push(&mut self, entry: Journaled) {
        self.0.push(entry);
    }

    /// The record that ends exactly this.
    fn of(&self, tenant: &TenantId, subject: &DenySubject) -> Option<&DenyRecord> {
        self.0.iter().map(|entry| &entry.deny).find(|deny| deny.tenant == *tenant && deny.subject == *subject)
    }

    /// The record that cuts a lease off: its own, or that of a task above it.
    pub(super) fn denies(&self, lease: &Lease) -> Option<&DenyRecord> {
        let tasks = || lease.task_path.iter().find_map(|id| self.of(&lease.tenant, &DenySubject::Task(id)));
        self.of(&lease.tenant, &DenySubject::Lease(lease.id)).or_else(tasks).or_else(|| self.wide(lease))
    }

    /// What is wider than a task. Nothing is planned while the journal holds anything, so all that there is was before.
    fn wide(&self, lease: &Lease) -> Option<&DenyRecord> {
        let denies = self.0.iter().map(|entry| &entry.deny).filter(|deny| deny.tenant == lease.tenant);
        denies.into_iter().find(|deny| Wide::of(&deny.subject).is_some_and(|wide| wide.includes(lease)))
    }

    pub(super) fn task(&self, task: Task) -> Task {
        match self.of(&task.tenant, &DenySubject::Task(task.id)) {
            Some(deny) if task.end().is_none() => Task { state: TaskState::Ended(end(deny)), ..task },
            _ => task,
        }
    }

    pub(super) fn lease(&self, lease: Lease) -> Lease {
        match self.of(&lease.tenant, &DenySubject::Lease(lease.id)).or_else(|| self.wide(&lease)) {
            Some(deny) if lease.end().is_none() => Lease { state: LeaseState::Ended(end(deny)), ..lease },
            _ => lease,
        }
    }

    /// The store's deny records with the journal's behind them.
    pub(super) fn add(&self, mut denies: Denies, tenant: &TenantId, after: Epoch, limit: usize) -> Denies {
        let newest = denies.epoch;
        for deny in self
            .0
            .iter()
            .map(|entry| &entry.deny)
            .filter(|deny| deny.tenant == *tenant && deny.epoch > newest)
        {
            denies.epoch = deny.epoch;
            if deny.epoch > after && denies.records.len() < limit {
                denies.records.push(deny.clone());
            }
        }
        denies
    }
}

fn end(deny: &DenyRecord) -> lease::End {
    lease::End { reason: deny.reason, at: deny.at, by: deny.by.clone(), epoch: Some(deny.epoch) }
}
