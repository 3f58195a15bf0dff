//! The set of what is denied, and the question whether a grant is.
//!
//! Invariants: a record stays until nothing under it can be accepted any more (see [`Denies::extend`]), never less; a
//! question costs the length of the task path, not the number of records; memory is bounded, and small: some 70 bytes a
//! record, for a snapshot is built beside the set that it replaces.

use crate::table::{Ended, Table, Until};
use std::{collections::BTreeMap, hash::Hash};
use taskpass_types::{
    AgentId, DenySubject, EndReason, Epoch, Grant, KeyGeneration, LeaseId, Owner, PolicyRevision,
    ResourceName, TaskId, Timestamp,
};

/// One deny record, less what a verifier has no use for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub epoch: Epoch,
    /// What is refused.
    pub subject: DenySubject,
    /// Why; `None`: for a reason that this version does not know.
    pub reason: Option<EndReason>,
    /// When the last credential under it has expired by itself; held to the second, rounded up.
    pub until: Timestamp,
}

/// More records than were allowed for; nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deny set would have more than {0} records")]
pub struct TooMany(pub usize);

/// What is denied in one tenant.
#[derive(Clone, Debug, Default)]
pub struct Denies {
    agents: Table<AgentId>,
    /// Few, and asked for by range. A tenant is one subject.
    generations: BTreeMap<KeyGeneration, Ended>,
    leases: Table<LeaseId>,
    owners: Table<Owner>,
    resources: Table<ResourceName>,
    revisions: Table<PolicyRevision>,
    tasks: Table<TaskId>,
    tenant: Option<Ended>,
}

impl Denies {
    /// The newest record that refuses `grant`, by the narrowest subject.
    pub fn find(&self, grant: &Grant) -> Option<Record> {
        // What was planned after an agent, an owner, a resource or the tenant was ended is not under that end.
        let later = |record: &Record| record.epoch > grant.deny_epoch;
        self.lease(grant)
            .or_else(|| {
                grant.task_path.iter().rev().find_map(|id| of(&self.tasks, &id, || DenySubject::Task(id)))
            })
            .or_else(|| {
                let agent = |id: &AgentId| of(&self.agents, id, || DenySubject::Agent(id.clone()));
                grant.agents.iter().rev().find_map(|id| agent(id).filter(later))
            })
            .or_else(|| {
                of(&self.owners, &grant.owner, || DenySubject::Owner(grant.owner.clone())).filter(later)
            })
            .or_else(|| {
                of(&self.resources, &grant.resource, || DenySubject::Resource(grant.resource.clone()))
                    .filter(later)
            })
            .or_else(|| self.revision(grant))
            .or_else(|| self.generation(grant))
            .or_else(|| self.tenant.map(|ended| record(DenySubject::Tenant, ended)).filter(later))
    }

    fn lease(&self, grant: &Grant) -> Option<Record> {
        of(&self.leases, &grant.lease, || DenySubject::Lease(grant.lease))
    }

    fn revision(&self, grant: &Grant) -> Option<Record> {
        let revision = &grant.policy_revision;
        of(&self.revisions, revision, || DenySubject::PolicyRevision(revision.clone()))
    }

    /// A record about a generation is also about all before it.
    fn generation(&self, grant: &Grant) -> Option<Record> {
        let (up_to, ended) = self.generations.range(grant.key_generation..).next()?;
        Some(record(DenySubject::KeyGeneration(*up_to), *ended))
    }

    /// Forgets what ended by `horizon`, and adds the records that did not, in the order of their epochs; or does
    /// nothing when there would be more than `max`.
    ///
    /// `horizon` is the caller's clock less its leeway: what a verifier still accepts, it must still be able to refuse.
    pub fn extend(&mut self, records: Vec<Record>, horizon: Timestamp, max: usize) -> Result<(), TooMany> {
        self.forget(horizon);
        let new = records.iter().filter(|record| record.until > horizon).count();
        if self.len().saturating_add(new) > max {
            return Err(TooMany(max));
        }
        records.into_iter().filter(|record| record.until > horizon).for_each(|record| self.add(record));
        Ok(())
    }

    fn add(&mut self, new: Record) {
        let ended = Ended { epoch: new.epoch, until: Until::from(new.until), reason: new.reason };
        match new.subject {
            DenySubject::Agent(id) => self.agents.add(id, ended),
            DenySubject::KeyGeneration(id) => {
                let ended = ended.over(self.generations.get(&id).copied());
                self.generations.insert(id, ended);
            }
            DenySubject::Lease(id) => self.leases.add(id, ended),
            DenySubject::Owner(id) => self.owners.add(id, ended),
            DenySubject::PolicyRevision(id) => self.revisions.add(id, ended),
            DenySubject::Resource(id) => self.resources.add(id, ended),
            DenySubject::Task(id) => self.tasks.add(id, ended),
            DenySubject::Tenant => self.tenant = Some(ended.over(self.tenant)),
        }
    }

    fn forget(&mut self, horizon: Timestamp) {
        self.agents.forget(horizon);
        self.generations.retain(|_, ended| !ended.until.is_by(horizon));
        self.leases.forget(horizon);
        self.owners.forget(horizon);
        self.resources.forget(horizon);
        self.revisions.forget(horizon);
        self.tasks.forget(horizon);
        self.tenant = self.tenant.filter(|ended| !ended.until.is_by(horizon));
    }

    /// How many records take up memory.
    pub fn len(&self) -> usize {
        [
            self.agents.len(),
            self.generations.len(),
            self.leases.len(),
            self.owners.len(),
            self.resources.len(),
            self.revisions.len(),
            self.tasks.len(),
            usize::from(self.tenant.is_some()),
        ]
        .into_iter()
        .sum()
    }

    /// Whether nothing is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest record of every subject, in the order of epochs.
    pub fn records(&self) -> Vec<Record> {
        let mut records: Vec<_> = self
            .agents
            .iter()
            .map(|(id, ended)| record(DenySubject::Agent(id.clone()), *ended))
            .chain(self.generations.iter().map(|(id, ended)| record(DenySubject::KeyGeneration(*id), *ended)))
            .chain(self.leases.iter().map(|(id, ended)| record(DenySubject::Lease(*id), *ended)))
            .chain(self.owners.iter().map(|(id, ended)| record(DenySubject::Owner(id.clone()), *ended)))
            .chain(self.resources.iter().map(|(id, ended)| record(DenySubject::Resource(id.clone()), *ended)))
            .chain(
                self.revisions
                    .iter()
                    .map(|(id, ended)| record(DenySubject::PolicyRevision(id.clone()), *ended)),
            )
            .chain(self.tasks.iter().map(|(id, ended)| record(DenySubject::Task(*id), *ended)))
            .chain(self.tenant.map(|ended| record(DenySubject::Tenant, ended)))
            .collect();
        records.sort_unstable_by_key(|record| record.epoch);
        records
    }
}

fn of<K: Clone + Eq + Hash + Ord>(
    table: &Table<K>,
    key: &K,
    subject: impl FnOnce() -> DenySubject,
) -> Option<Record> {
    table.get(key).map(|ended| record(subject(), ended))
}

fn record(subject: DenySubject, ended: Ended) -> Record {
    Record { epoch: ended.epoch, subject, reason: ended.reason, until: ended.until.into() }
}
