//! The deny records about one kind of subject: what is denied, and when to forget it.
//!
//! Invariants: a row stays until its `until` has passed; forgetting costs what is forgotten, not what is held.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::Hash,
};
use taskpass_types::{EndReason, Epoch, Timestamp};

/// A moment in whole seconds, rounded up, so that nothing is forgotten too soon: half the size of a [`Timestamp`], of
/// which there are two for each record. What lies beyond the year 2106 never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Until(u32);

impl Until {
    /// Whether it has come by then.
    pub(crate) fn is_by(self, horizon: Timestamp) -> bool {
        self.0 != u32::MAX && u64::from(self.0) <= horizon.as_secs()
    }
}

impl From<Timestamp> for Until {
    fn from(at: Timestamp) -> Self {
        Self(u32::try_from(at.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }
}

impl From<Until> for Timestamp {
    fn from(until: Until) -> Self {
        Self::from_secs(until.0.into())
    }
}

/// What a subject's newest record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) epoch: Epoch,
    pub(crate) until: Until,
    pub(crate) reason: Option<EndReason>,
}

impl Ended {
    /// This record after an older one about the same subject: the newest counts, and the end that comes last.
    pub(crate) fn over(self, old: Option<Self>) -> Self {
        match old {
            Some(old) if old.epoch >= self.epoch => old,
            Some(old) => Self { until: self.until.max(old.until), ..self },
            None => self,
        }
    }
}

/// All of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Table<K> {
    rows: HashMap<K, Ended>,
    /// When to forget what; a subject whose end was put off is in it more than once.
    schedule: BinaryHeap<Reverse<(Until, K)>>,
}

impl<K: Ord> Default for Table<K> {
    fn default() -> Self {
        Self { rows: HashMap::new(), schedule: BinaryHeap::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Table<K> {
    pub(crate) fn get(&self, key: &K) -> Option<Ended> {
        self.rows.get(key).copied()
    }

    pub(crate) fn add(&mut self, key: K, new: Ended) {
        let old = self.get(&key);
        let new = new.over(old);
        if old.is_none_or(|old| old.until < new.until) {
            self.schedule.push(Reverse((new.until, key.clone())));
        }
        self.rows.insert(key, new);
    }

    pub(crate) fn forget(&mut self, horizon: Timestamp) {
        while let Some(Reverse((until, _))) = self.schedule.peek()
            && until.is_by(horizon)
        {
            let Some(Reverse((until, key))) = self.schedule.pop() else { return };
            if self.get(&key).is_some_and(|ended| ended.until <= until) {
                self.rows.remove(&key);
            }
        }
    }

    /// How many entries take up memory.
    pub(crate) fn len(&self) -> usize {
        self.schedule.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Ended)> {
        self.rows.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_forgotten_too_soon() {
        let until = Until::from(Timestamp::from_millis(1001));
        assert!(!until.is_by(Timestamp::from_millis(1001)) && !until.is_by(Timestamp::from_millis(1999)));
        assert!(until.is_by(Timestamp::from_secs(2)));
        let far = Until::from(Timestamp::from_millis(u64::MAX));
        assert!(!far.is_by(Timestamp::from_millis(u64::MAX)), "beyond what can be said: never");
    }
}
