//! Deny records that are about more than a task: an agent, an owner, a resource, policies, keys, everything.
//!
//! They are few, and what they cut off is found by what a credential says, as verifiers do it; so they are kept, not resolved.

use taskpass_store::Store;
use taskpass_types::{
    DenyRecord, DenySubject, Epoch, Grant, HistoryId, KeyGeneration, Refusal, TenantId, Timestamp,
};

/// Records that are read at once.
const RECORDS: usize = 512;

/// Those that are in force, as far as they were read.
pub(super) struct Wide {
    history: HistoryId,
    epoch: Epoch,
    records: Vec<DenyRecord>,
}

impl Wide {
    pub(super) fn new(history: HistoryId) -> Self {
        Self { history, epoch: Epoch::default(), records: Vec::new() }
    }

    /// Reads what was denied since the last look.
    pub(super) async fn follow(
        &mut self,
        store: &dyn Store,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.history != store.history() {
            *self = Self::new(store.history());
        }
        self.records.retain(|record| record.until > now);
        loop {
            let denies = store.denies_after(tenant, self.epoch, RECORDS).await?;
            if denies.epoch < self.epoch {
                *self = Self::new(self.history);
                continue;
            }
            let full = denies.records.len() == RECORDS;
            let last = denies.records.last().map(|last| last.epoch).filter(|_| full);
            self.epoch = last.unwrap_or(denies.epoch);
            let wide = |record: &DenyRecord| {
                record.until > now && !matches!(record.subject, DenySubject::Lease(_) | DenySubject::Task(_))
            };
            self.records.extend(denies.records.into_iter().filter(wide));
            if !full {
                return Ok(());
            }
        }
    }

    /// Whether one of them is about a credential.
    pub(super) fn denies(&self, grant: &Grant) -> bool {
        self.records.iter().any(|record| {
            signed_before(record).is_some_and(|newest| grant.key_generation <= newest)
                || is_under(grant, record)
        })
    }
}

/// Whatever keys up to this generation signed is refused. That is not a matter of leases: a store that lost something does
/// not know all of them, so such an authority gets no revocation list at all, and whoever checks refuses what it signed.
pub(super) fn signed_before(record: &DenyRecord) -> Option<KeyGeneration> {
    match record.subject {
        DenySubject::KeyGeneration(generation) => Some(generation),
        _ => None,
    }
}

/// Whether a credential is under something wider than a task, keys apart. Of a lease that was renewed only the newest
/// credential is known.
pub(super) fn is_under(grant: &Grant, record: &DenyRecord) -> bool {
    let planned_before = grant.deny_epoch < record.epoch;
    match &record.subject {
        DenySubject::Agent(agent) => planned_before && grant.agents.contains(agent),
        DenySubject::Owner(owner) => planned_before && grant.owner == *owner,
        DenySubject::PolicyRevision(revision) => grant.policy_revision == *revision,
        DenySubject::Resource(resource) => planned_before && grant.resource == *resource,
        DenySubject::Tenant => planned_before,
        DenySubject::KeyGeneration(_) | DenySubject::Lease(_) | DenySubject::Task(_) => false,
    }
}
