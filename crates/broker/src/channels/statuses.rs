//! Status lists (draft-ietf-oauth-status-list): every token has a place on one, and the lease remembers it.
//!
//! A list is begun by the broker that issues, and named at random; which places are set follows from the deny records and
//! the leases alone, so any broker of the fleet can say it. Nothing is stored about a list itself.

use super::Published;
use crate::Broker;
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{collections::BTreeMap, time::Duration};
use taskpass_crypto::jws::{StatusList, StatusTerms};
use taskpass_types::{KeyGeneration, Reason, Refusal, StatusIndex, StatusListId, Timestamp};

/// How old a copy of a list may become: as old as what verifiers that follow the feed accept.
const TTL: Duration = Duration::from_secs(5);

/// Gives out places: each once, also after a restart, for the list is another one then.
#[derive(Default)]
pub(crate) struct Places(Mutex<Option<StatusIndex>>);

impl Places {
    /// The next place for a lease that `generation` is about to sign.
    ///
    /// # Errors
    /// `SIGNER_UNAVAILABLE` when a new list cannot be named.
    pub(crate) fn take(&self, generation: KeyGeneration) -> Result<StatusIndex, Refusal> {
        let mut next = self.0.lock();
        let place = match *next {
            Some(place) if place.list.generation() == generation && place.index < StatusListId::SIZE => place,
            _ => StatusIndex { list: new_list(generation)?, index: 0 },
        };
        *next = Some(StatusIndex { index: place.index.saturating_add(1), ..place });
        Ok(place)
    }
}

fn new_list(generation: KeyGeneration) -> Result<StatusListId, Refusal> {
    let mut random = [0; 12];
    match SystemRandom::new().fill(&mut random) {
        Ok(()) => Ok(StatusListId::new(generation, random)),
        Err(_) => Err(Refusal::new(Reason::SignerUnavailable, "the system's random numbers failed")),
    }
}

/// Which places are set, list by list.
#[derive(Clone, Debug, Default)]
pub(super) struct Statuses {
    pub(super) set: BTreeMap<StatusListId, BTreeMap<u32, Timestamp>>,
    /// What was begun with these keys or older ones does not count any more, whatever is known of its leases.
    pub(super) cut_off: Option<KeyGeneration>,
}

impl Statuses {
    fn list(&self, id: &StatusListId) -> StatusList {
        let mut list = StatusList::new(StatusListId::SIZE);
        if self.cut_off.is_some_and(|newest| id.generation() <= newest) {
            list.set_all();
        }
        self.set.get(id).into_iter().flat_map(BTreeMap::keys).for_each(|place| list.set(*place));
        list
    }
}

impl Broker {
    /// A place for the tokens of a lease, if tokens are to have one.
    pub(crate) fn status_place(&self, generation: KeyGeneration) -> Result<Option<StatusIndex>, Refusal> {
        let wanted = self.parts().settings.channels.status_lists;
        wanted.then(|| self.0.channels.places.take(generation)).transpose()
    }

    /// A status list as a signed token, and how long a copy is good. A list that nobody began has nothing set.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` while it is not known what has ended; `SIGNER_UNAVAILABLE`.
    pub fn status_list(&self, id: &StatusListId) -> Result<(String, Duration), Refusal> {
        let published = self.published()?;
        let Published { statuses, .. } = &*published;
        let settings = &self.parts().settings;
        let validity = settings.channels.crl_validity;
        let terms = StatusTerms { now: self.now(), validity, ttl: TTL };
        let list = statuses.list(id);
        let signer = self.parts().keys.signer();
        Ok((signer.sign_status_list(&settings.issuer, id, &list, &terms)?, TTL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_place_is_given_twice_and_none_is_beyond_its_list() {
        let places = Places::default();
        let mut seen = BTreeSet::new();
        for turn in 0..(2 * StatusListId::SIZE + 10) {
            let generation = KeyGeneration(1 + turn / 1_000 % 2);
            let place = places.take(generation).unwrap();
            assert!(place.index < StatusListId::SIZE && place.list.generation() == generation);
            assert!(seen.insert((place.list, place.index)), "{place:?} was given twice");
        }
        let places = [Places::default(), Places::default()];
        let [one, other] = places.map(|places| places.take(KeyGeneration(1)).unwrap());
        assert_ne!(one.list, other.list, "two brokers share a list");
    }

    #[test]
    fn a_full_list_makes_place_for_another() {
        let places = Places::default();
        let lists: BTreeSet<_> =
            (0..=StatusListId::SIZE).map(|_| places.take(KeyGeneration(1)).unwrap().list).collect();
        assert_eq!(lists.len(), 2);
    }
}
