//! The set of what is denied, and the question whether a grant is.
//!
//! Invariants: a record stays until nothing under it can be accepted any more (see [`Denies::extend`]), never less; a
//! question costs the length of the task path, not the number of records; memory is bounded.

use std::{
    borrow::Borrow,
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    hash::Hash,
};
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
    /// When it was written.
    pub at: Timestamp,
    /// When the last credential under it has expired by itself.
    pub until: Timestamp,
}

/// What a subject's newest record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    epoch: Epoch,
    reason: Option<EndReason>,
    at: Timestamp,
    until: Timestamp,
}

/// More records than were allowed for; nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deny set would have more than {0} records")]
pub struct TooMany(pub usize);

/// What is denied in one tenant.
#[derive(Clone, Debug, Default)]
pub struct Denies {
    agents: HashMap<AgentId, Ended>,
    generations: BTreeMap<KeyGeneration, Ended>,
    leases: HashMap<LeaseId, Ended>,
    owners: HashMap<Owner, Ended>,
    resources: HashMap<ResourceName, Ended>,
    revisions: HashMap<PolicyRevision, Ended>,
    tasks: HashMap<TaskId, Ended>,
    tenant: Option<Ended>,
    /// When to forget what; a subject whose end was put off is in it more than once.
    schedule: BinaryHeap<Reverse<(Timestamp, DenySubject)>>,
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
        if self.schedule.len().saturating_add(new) > max {
            return Err(TooMany(max));
        }
        records.into_iter().filter(|record| record.until > horizon).for_each(|record| self.add(record));
        Ok(())
    }

    fn add(&mut self, new: Record) {
        let mut ended = Ended { epoch: new.epoch, reason: new.reason, at: new.at, until: new.until };
        let old = self.get(&new.subject);
        if old.is_some_and(|old| old.epoch >= ended.epoch) {
            return;
        }
        match old {
            Some(old) if old.until >= ended.until => ended.until = old.until,
            _ => self.schedule.push(Reverse((ended.until, new.subject.clone()))),
        }
        match new.subject {
            DenySubject::Agent(id) => drop(self.agents.insert(id, ended)),
            DenySubject::KeyGeneration(id) => drop(self.generations.insert(id, ended)),
            DenySubject::Lease(id) => drop(self.leases.insert(id, ended)),
            DenySubject::Owner(id) => drop(self.owners.insert(id, ended)),
            DenySubject::PolicyRevision(id) => drop(self.revisions.insert(id, ended)),
            DenySubject::Resource(id) => drop(self.resources.insert(id, ended)),
            DenySubject::Task(id) => drop(self.tasks.insert(id, ended)),
            DenySubject::Tenant => self.tenant = Some(ended),
        }
    }

    fn forget(&mut self, horizon: Timestamp) {
        while let Some(Reverse((until, _))) = self.schedule.peek()
            && *until <= horizon
        {
            let Some(Reverse((until, subject))) = self.schedule.pop() else { return };
            if self.get(&subject).is_some_and(|ended| ended.until <= until) {
                self.remove(&subject);
            }
        }
    }

    fn get(&self, subject: &DenySubject) -> Option<Ended> {
        match subject {
            DenySubject::Agent(id) => self.agents.get(id).copied(),
            DenySubject::KeyGeneration(id) => self.generations.get(id).copied(),
            DenySubject::Lease(id) => self.leases.get(id).copied(),
            DenySubject::Owner(id) => self.owners.get(id).copied(),
            DenySubject::PolicyRevision(id) => self.revisions.get(id).copied(),
            DenySubject::Resource(id) => self.resources.get(id).copied(),
            DenySubject::Task(id) => self.tasks.get(id).copied(),
            DenySubject::Tenant => self.tenant,
        }
    }

    fn remove(&mut self, subject: &DenySubject) {
        match subject {
            DenySubject::Agent(id) => drop(self.agents.remove(id)),
            DenySubject::KeyGeneration(id) => drop(self.generations.remove(id)),
            DenySubject::Lease(id) => drop(self.leases.remove(id)),
            DenySubject::Owner(id) => drop(self.owners.remove(id)),
            DenySubject::PolicyRevision(id) => drop(self.revisions.remove(id)),
            DenySubject::Resource(id) => drop(self.resources.remove(id)),
            DenySubject::Task(id) => drop(self.tasks.remove(id)),
            DenySubject::Tenant => self.tenant = None,
        }
    }

    /// How many records take up memory.
    pub fn len(&self) -> usize {
        self.schedule.len()
    }

    /// Whether nothing is denied.
    pub fn is_empty(&self) -> bool {
        self.schedule.is_empty()
    }

    /// The newest record of every subject, in the order of subjects; for tests and tools.
    pub fn records(&self) -> Vec<Record> {
        let mut subjects: Vec<_> = self.schedule.iter().map(|Reverse((_, subject))| subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        subjects.into_iter().filter_map(|subject| Some(record(subject.clone(), self.get(subject)?))).collect()
    }
}

fn of<K, Q>(map: &HashMap<K, Ended>, key: &Q, subject: impl FnOnce() -> DenySubject) -> Option<Record>
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash,
{
    map.get(key).map(|ended| record(subject(), *ended))
}

fn record(subject: DenySubject, ended: Ended) -> Record {
    Record { epoch: ended.epoch, subject, reason: ended.reason, at: ended.at, until: ended.until }
}
