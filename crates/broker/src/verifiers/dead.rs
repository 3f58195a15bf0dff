//! What has ended, as verifiers see it.

use crate::Marker;
use taskpass_lease::{End, Lease, Task, Wide};
use taskpass_types::{DenyRecord, Epoch, ResourceName, Timestamp};

/// What has ended, as verifiers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    pub(super) epoch: Epoch,
    pub(super) at: Timestamp,
    pub(super) until: Timestamp,
    audiences: Vec<ResourceName>,
    /// What verifiers can be asked about.
    pub(super) marker: Option<Marker>,
}

impl Dead {
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// Only where this resource is guarded.
    pub(crate) fn narrowed(&self, resource: &ResourceName) -> Self {
        Self { audiences: vec![resource.clone()], marker: None, ..*self }
    }

    /// With a lease that verifiers are asked about.
    #[must_use]
    pub fn marked(self, lease: Option<&Lease>) -> Self {
        Self { marker: lease.map(Marker::of).or(self.marker), ..self }
    }

    /// `None`: it lives, or ended by itself.
    pub fn lease(lease: &Lease) -> Option<Self> {
        let until = lease.last_expiry.plus(taskpass_lease::VERIFIER_LEEWAY);
        let dead = Self::ended(lease.end()?, until, vec![lease.resource.clone()])?;
        Some(dead.marked(Some(lease)))
    }

    /// `None`: it runs, or ended with what is above it.
    pub fn task(task: &Task) -> Option<Self> {
        let until = task.deadline.plus(taskpass_lease::VERIFIER_LEEWAY);
        Self::ended(task.end()?, until, task.resources())
    }

    /// Whatever is for this resource and ended by this record, without a look at when it expires.
    pub(crate) fn ending(resource: ResourceName, epoch: Epoch, at: Timestamp) -> Self {
        Self { epoch, at, until: Timestamp::from_millis(u64::MAX), audiences: vec![resource], marker: None }
    }

    /// All of these; `None`: none of them has a deny record.
    pub fn leases(leases: &[Lease]) -> Option<Self> {
        leases.iter().filter_map(Self::lease).reduce(|mut all, one| {
            // Who enforces the newest enforces all before it.
            if one.epoch > all.epoch {
                (all.epoch, all.at) = (one.epoch, one.at);
            }
            all.until = all.until.max(one.until);
            let new = one.audiences.into_iter().filter(|name| !all.audiences.contains(name));
            let new: Vec<_> = new.collect();
            all.audiences.extend(new);
            all
        })
    }

    /// All that there was of something wider than a task.
    pub fn wide(end: &End, wide: &Wide, until: Timestamp) -> Option<Self> {
        let audiences = match wide {
            Wide::Resource(resource) => vec![resource.clone()],
            Wide::Agent(_) | Wide::Owner(_) | Wide::Tenant => Vec::new(),
        };
        Self::ended(end, until, audiences)
    }

    fn ended(end: &End, until: Timestamp, audiences: Vec<ResourceName>) -> Option<Self> {
        Some(Self { epoch: end.epoch?, at: end.at, until: until.max(end.at), audiences, marker: None })
    }

    pub(super) fn concerns(&self, resource: &ResourceName) -> bool {
        self.audiences.is_empty() || self.audiences.contains(resource)
    }
}

impl From<&DenyRecord> for Dead {
    fn from(record: &DenyRecord) -> Self {
        let DenyRecord { epoch, at, until, audiences, .. } = record;
        Self { epoch: *epoch, at: *at, until: *until, audiences: audiences.clone(), marker: None }
    }
}
