//! The reference backend: ordered maps in memory. It forgets all when dropped; that is its only shortcut.

use crate::{
    Backend, Committed, Due, Ledger, Pending, Signals, apply, apply_due, open,
    tables::{Entry, Read, Scan, Table, Write, after_prefix},
};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};
use taskpass_lease::{Event, Limits};
use taskpass_types::{HistoryId, Refusal, Timestamp};
use tokio::sync::watch;

/// The in-memory store.
pub type MemoryStore = Ledger<MemoryBackend>;

/// The in-memory backend.
#[derive(Debug)]
pub struct MemoryBackend {
    tables: RwLock<Tables>,
    limits: Limits,
    history: HistoryId,
    signals: Signals,
}

impl MemoryBackend {
    /// An empty one.
    ///
    /// # Errors
    /// Only when the history id cannot be encoded, which does not happen.
    pub fn new(limits: Limits) -> Result<Self, Refusal> {
        let mut tables = Tables::default();
        let history = open(&mut tables)?;
        Ok(Self { tables: RwLock::new(tables), limits, history, signals: Signals::default() })
    }

    /// A refusal writes nothing, since steps decide before they write; so there is nothing to roll back.
    fn transact(
        &self,
        change: impl FnOnce(&mut Tables, &Limits) -> Result<Pending, Refusal>,
    ) -> Result<Committed, Refusal> {
        let mut tables = self.tables.write();
        let pending = change(&mut tables, &self.limits)?;
        self.signals.tell([&pending]);
        Ok(pending.committed())
    }
}

impl Backend for MemoryBackend {
    async fn look<T: Send>(
        &self,
        at: impl Fn(&dyn Read) -> Result<T, Refusal> + Send + Sync,
    ) -> Result<T, Refusal> {
        at(&*self.tables.read())
    }

    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        self.transact(|tables, limits| apply(tables, &event, limits, now))
    }

    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal> {
        self.transact(|tables, limits| apply_due(tables, &due, limits, now))
    }

    fn history(&self) -> HistoryId {
        self.history
    }

    fn mending(&self) -> watch::Receiver<bool> {
        self.signals.mending()
    }

    fn denied(&self) -> watch::Receiver<u64> {
        self.signals.denied()
    }

    fn approval_changed(&self) -> watch::Receiver<u64> {
        self.signals.approval_changed()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tables(HashMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>);

impl Read for Tables {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.0.get(&table).and_then(|table| table.get(key)).cloned())
    }

    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Entry>, Refusal> {
        let Some(map) = self.0.get(&table) else { return Ok(Vec::new()) };
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        let inside = |(key, _): &(&Vec<u8>, &Vec<u8>)| key.starts_with(scan.prefix);
        if scan.backwards {
            let end = match scan.from {
                Some(from) => Bound::Excluded(from.to_vec()),
                None => after_prefix(scan.prefix).map_or(Bound::Unbounded, Bound::Excluded),
            };
            let range = map.range((Bound::Unbounded, end)).rev();
            Ok(range.take_while(inside).take(scan.limit).map(owned).collect())
        } else {
            let start = match scan.from {
                Some(from) => Bound::Excluded(from.to_vec()),
                None => Bound::Included(scan.prefix.to_vec()),
            };
            Ok(map.range((start, Bound::Unbounded)).take_while(inside).take(scan.limit).map(owned).collect())
        }
    }
}

impl Write for Tables {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.0.entry(table).or_default().insert(key.to_vec(), value.to_vec()))
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.0.entry(table).or_default().remove(key))
    }
}
