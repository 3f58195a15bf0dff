//! Parts of a revocation list (RFC 5280 sections 4.2.1.13 and 5.2.5): a certificate says from its issue on which part would
//! name it, so that whoever fetches lists by themselves fetches a small one, and an end makes one small one anew.
//!
//! Invariant: which part a certificate belongs to follows from its lease alone, for all its renewals.

use taskpass_types::{KeyGeneration, LeaseId};

/// One of the [`CrlShard::COUNT`] parts of an authority's revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrlShard(u8);

impl CrlShard {
    /// How many there are. It cannot change while certificates live that say where theirs is.
    pub const COUNT: u8 = 32;

    /// The part that names the certificates of a lease. The last byte of its id is random.
    pub fn of(lease: LeaseId) -> Self {
        let [.., last] = *lease.as_bytes();
        Self(last % Self::COUNT)
    }

    /// All of them, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// The part of this number; `None` when there is none.
    pub fn from_number(number: u8) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Its number, from 0.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Where the list of the authority of `generation` is, for a broker whose lists are below `base`: a URL without a slash
    /// at its end.
    pub fn url(self, base: &str, generation: KeyGeneration) -> String {
        format!("{base}{}", self.path(generation))
    }

    /// The same, relative to the base.
    pub(super) fn path(self, generation: KeyGeneration) -> String {
        format!("/crl/{}/{}", generation.0, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_spread_over_all_parts_and_stay_in_theirs() {
        let mut seen = [0; CrlShard::COUNT as usize];
        for _ in 0..10_000 {
            let lease = LeaseId::new();
            let shard = CrlShard::of(lease);
            assert_eq!(CrlShard::from_number(shard.number()), Some(shard));
            assert_eq!(CrlShard::of(LeaseId::from_bytes(*lease.as_bytes())), shard);
            *seen.get_mut(usize::from(shard.number())).unwrap() += 1;
        }
        assert!(seen.iter().all(|count| (100..800).contains(count)), "{seen:?}");
        assert_eq!(CrlShard::all().count(), usize::from(CrlShard::COUNT));
        assert_eq!(CrlShard::from_number(CrlShard::COUNT), None);
    }
}
