//! The certificates that are cut off, by the parts of the revocation lists that name them.
//!
//! Invariant: a part that did not change stays the same allocation, so that whoever signed a list of it can tell that nothing
//! is new in it, and taking a copy of all costs nothing.

use super::denied::Look;
use std::{collections::BTreeMap, sync::Arc};
use taskpass_crypto::x509::{CrlShard, Revoked};
use taskpass_lease::Lease;
use taskpass_types::{CredentialKind, DenyRecord, EndReason, KeyGeneration, LeaseId, Timestamp};

/// All certificates of one lease: the serial number of each says which renewal it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    renewal: u32,
    /// Of the newest; those before may have been signed by older ones.
    generation: KeyGeneration,
    at: Timestamp,
    reason: EndReason,
    /// When the last of them has expired.
    expiry: Timestamp,
}

impl Cut {
    /// `None` for what has no certificate that could be accepted.
    pub(super) fn of(lease: &Lease, record: &DenyRecord, look: &Look<'_>) -> Option<Self> {
        let cut = Self {
            renewal: lease.renewal,
            generation: lease.key_generation,
            at: record.at,
            reason: record.reason,
            expiry: lease.last_expiry,
        };
        (lease.kind == CredentialKind::X509 && !cut.is_over(look)).then_some(cut)
    }

    /// How many certificates that are.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.renewal).unwrap_or(usize::MAX).saturating_add(1)
    }

    fn is_over(&self, look: &Look<'_>) -> bool {
        self.expiry.plus(look.keep) <= look.now
    }
}

/// Those of one part.
pub(super) type Part = BTreeMap<LeaseId, Cut>;

/// All parts, by number.
#[derive(Clone)]
pub(super) struct Cuts(Vec<Arc<Part>>);

impl Cuts {
    pub(super) fn new() -> Self {
        Self(CrlShard::all().map(|_| Arc::default()).collect())
    }

    /// What was cut off once stays so since then, for the first reason.
    pub(super) fn take_up(&mut self, lease: LeaseId, cut: Cut) {
        let Some(part) = self.0.get_mut(usize::from(CrlShard::of(lease).number())) else { return };
        let known = part.get(&lease);
        let next = known.map_or(cut, |known| Cut { at: known.at, reason: known.reason, ..cut });
        if known != Some(&next) {
            Arc::make_mut(part).insert(lease, next);
        }
    }

    /// Drops what nobody has to be told any more.
    pub(super) fn forget(&mut self, look: &Look<'_>) {
        for part in &mut self.0 {
            if part.values().any(|cut| cut.is_over(look)) {
                Arc::make_mut(part).retain(|_, cut| !cut.is_over(look));
            }
        }
    }

    pub(super) fn certificates(&self) -> usize {
        self.parts().flat_map(|(_, part)| part.values()).map(Cut::count).fold(0, usize::saturating_add)
    }

    pub(super) fn leases(&self) -> usize {
        self.parts().map(|(_, part)| part.len()).fold(0, usize::saturating_add)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (CrlShard, &Arc<Part>)> {
        CrlShard::all().zip(&self.0)
    }
}

/// The certificates among `part` that the authority of `generation` may have signed. One that was renewed may have some
/// of each generation up to its newest, and a serial number that an authority never gave is no harm on its list.
pub(super) fn revoked(
    part: &Part,
    generation: KeyGeneration,
    not_after: Timestamp,
) -> impl Iterator<Item = Revoked> {
    let of =
        move |cut: &Cut| cut.generation == generation || (cut.renewal > 0 && generation < cut.generation);
    part.iter().filter(move |(_, cut)| of(cut)).flat_map(move |(id, cut)| {
        let (id, at, reason) = (*id, cut.at.floor_to_secs().min(not_after), cut.reason.into());
        (0..=cut.renewal).map(move |renewal| Revoked { serial: id.serial(renewal), at, reason })
    })
}
