//! Rows that were fetched, and what a batch of transitions makes of them.
//!
//! The state machine reads and writes as if the ledger were here. What it reads and is not here yet is noted as missing,
//! read as nothing, and fetched before it runs again; so its result counts only when nothing was missing. What it read from
//! the ledger is a check of the commit: when one of these rows changed meanwhile, nothing is written.

use crate::layout::is_index;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};
use taskpass_store::tables::{Entry, Read, Scan, Table, Write};
use taskpass_types::Refusal;

/// Tells one write of a row from every other one, without comparing values.
pub(crate) type Stamp = [u8; 8];

/// A row as it is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) stamp: Stamp,
    pub(crate) value: Vec<u8>,
}

pub(crate) type Key = (Table, Vec<u8>);

/// A scan that can be remembered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sweep {
    pub(crate) table: Table,
    pub(crate) prefix: Vec<u8>,
    pub(crate) from: Option<Vec<u8>>,
    pub(crate) backwards: bool,
    pub(crate) limit: usize,
}

/// What is not here yet.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) rows: BTreeSet<Key>,
    pub(crate) sweeps: BTreeSet<Sweep>,
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sweeps.is_empty()
    }
}

/// What was fetched.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) rows: HashMap<Key, Option<Row>>,
    pub(crate) sweeps: HashMap<Sweep, Vec<Entry>>,
}

impl Fetched {
    /// A part of it.
    pub(crate) fn only(&self, rows: &BTreeSet<Key>) -> Self {
        let row = |key: &Key| Some((key.clone(), self.rows.get(key)?.clone()));
        Self { rows: rows.iter().filter_map(row).collect(), sweeps: HashMap::new() }
    }

    /// With what another part has.
    pub(crate) fn extend(&mut self, more: Self) {
        self.rows.extend(more.rows);
        self.sweeps.extend(more.sweeps);
    }
}

/// Looks at what was fetched and notes what is missing.
#[derive(Debug)]
pub(crate) struct Looking<'a> {
    fetched: &'a Fetched,
    missing: RefCell<Missing>,
}

impl<'a> Looking<'a> {
    pub(crate) fn at(fetched: &'a Fetched) -> Self {
        Self { fetched, missing: RefCell::default() }
    }

    pub(crate) fn into_missing(self) -> Missing {
        self.missing.into_inner()
    }

    fn row(&self, table: Table, key: &[u8]) -> Option<&'a Row> {
        let key = (table, key.to_vec());
        match self.fetched.rows.get(&key) {
            Some(row) => row.as_ref(),
            None => {
                self.missing.borrow_mut().rows.insert(key);
                None
            }
        }
    }
}

impl Read for Looking<'_> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.row(table, key).map(|row| row.value.clone()))
    }

    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Entry>, Refusal> {
        let sweep = Sweep {
            table,
            prefix: scan.prefix.to_vec(),
            from: scan.from.map(<[u8]>::to_vec),
            backwards: scan.backwards,
            limit: scan.limit,
        };
        match self.fetched.sweeps.get(&sweep) {
            Some(entries) => Ok(entries.clone()),
            None => {
                self.missing.borrow_mut().sweeps.insert(sweep);
                Ok(Vec::new())
            }
        }
    }
}

/// What a batch changes, over what was fetched.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    looking: Looking<'a>,
    changes: BTreeMap<Key, Option<Vec<u8>>>,
    checks: RefCell<BTreeSet<Key>>,
    /// What the transition that runs now replaced, newest last.
    undo: Vec<(Key, Option<Option<Vec<u8>>>)>,
}

/// What a commit checks and writes.
#[derive(Debug)]
pub(crate) struct Drafted {
    pub(crate) changes: BTreeMap<Key, Option<Vec<u8>>>,
    pub(crate) checks: BTreeSet<Key>,
}

impl<'a> Draft<'a> {
    pub(crate) fn over(fetched: &'a Fetched) -> Self {
        Self {
            looking: Looking::at(fetched),
            changes: BTreeMap::new(),
            checks: RefCell::default(),
            undo: Vec::new(),
        }
    }

    /// The transition that ran is kept.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// The transition that ran is taken back.
    pub(crate) fn take_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(change) => drop(self.changes.insert(key, change)),
                None => drop(self.changes.remove(&key)),
            }
        }
    }

    pub(crate) fn finish(self) -> (Drafted, Missing) {
        let checks = self.checks.into_inner();
        (Drafted { changes: self.changes, checks }, self.looking.into_missing())
    }

    fn change(&mut self, key: Key, value: Option<Vec<u8>>) {
        let before = self.changes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// What the row was. Whether entries of an index, requests, holds and counters were there does not matter to whoever
    /// writes them, so that is not asked unless somebody did.
    fn before(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let matters = matches!(table, Table::Approvals | Table::Denies | Table::Leases | Table::Tasks);
        let known = self.looking.fetched.rows.contains_key(&(table, key.to_vec()));
        if matters || known { self.read(table, key) } else { Ok(None) }
    }
}

impl Read for Draft<'_> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let wanted = (table, key.to_vec());
        if let Some(change) = self.changes.get(&wanted) {
            return Ok(change.clone());
        }
        self.checks.borrow_mut().insert(wanted);
        self.looking.read(table, key)
    }

    /// Not a check: whoever scans in a transition looks at each record that it found, or at one that changes with them.
    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Entry>, Refusal> {
        let reaches = |key: &[u8]| {
            key.starts_with(scan.prefix)
                && scan.from.is_none_or(|from| if scan.backwards { key < from } else { key > from })
        };
        let gone = |key: &[u8]| matches!(self.changes.get(&(table, key.to_vec())), Some(None));
        let mut entries = BTreeMap::new();
        let mut from = scan.from.map(<[u8]>::to_vec);
        // What this batch has taken away makes room for what is behind it.
        loop {
            let some = self.looking.scan(table, &Scan { from: from.as_deref(), ..scan.clone() })?;
            let more = scan.limit > 0 && some.len() >= scan.limit;
            from = some.last().map(|(key, _)| key.clone());
            entries.extend(some.into_iter().filter(|(key, _)| !gone(key)));
            if !more || entries.len() >= scan.limit {
                break;
            }
        }
        for ((_, key), change) in self.changes.iter().filter(|((of, key), _)| *of == table && reaches(key)) {
            if let Some(value) = change {
                entries.insert(key.clone(), value.clone());
            }
        }
        let entries = entries.into_iter();
        Ok(if scan.backwards {
            entries.rev().take(scan.limit).collect()
        } else {
            entries.take(scan.limit).collect()
        })
    }
}

impl Write for Draft<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let before = self.before(table, key)?;
        self.change((table, key.to_vec()), Some(value.to_vec()));
        Ok(before)
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let before = self.before(table, key)?;
        self.change((table, key.to_vec()), None);
        Ok(before)
    }
}

/// Whether a check is of a row or of an entry.
pub(crate) fn is_entry(key: &Key) -> bool {
    is_index(key.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_takes_away_makes_room_in_a_scan() {
        let key = |byte: u8| vec![1, byte];
        let two = |backwards, from: Option<u8>| Sweep {
            table: Table::Below,
            prefix: vec![1],
            from: from.map(key),
            backwards,
            limit: 2,
        };
        let entries = |bytes: &[u8]| bytes.iter().map(|byte| (key(*byte), Vec::new())).collect();
        for backwards in [false, true] {
            let [a, b, new, c, d, e] = if backwards { [9, 7, 6, 5, 3, 1] } else { [1, 3, 4, 5, 7, 9] };
            let mut fetched = Fetched::default();
            fetched.sweeps.insert(two(backwards, None), entries(&[a, b]));
            fetched.sweeps.insert(two(backwards, Some(b)), entries(&[c, d]));
            let scan = Scan { prefix: &[1], from: None, backwards, limit: 2 };
            let mut draft = Draft::over(&fetched);
            let found = |draft: &Draft<'_>| draft.scan(Table::Below, &scan).unwrap();
            assert_eq!(found(&draft), entries(&[a, b]) as Vec<Entry>);
            draft.remove(Table::Below, &key(a)).unwrap();
            assert_eq!(found(&draft), entries(&[b, c]) as Vec<Entry>);
            draft.put(Table::Below, &key(e), &[]).unwrap();
            assert_eq!(
                found(&draft),
                entries(&[b, c]) as Vec<Entry>,
                "what is new does not come before its turn"
            );
            draft.put(Table::Below, &key(new), &[]).unwrap();
            assert_eq!(found(&draft), entries(&[b, new]) as Vec<Entry>);
            for byte in [b, c, d, new] {
                draft.remove(Table::Below, &key(byte)).unwrap();
            }
            assert_eq!(found(&draft), entries(&[e]) as Vec<Entry>);
            let (_, missing) = draft.finish();
            assert!(missing.sweeps.contains(&two(backwards, Some(d))), "what is behind is asked for");
        }
    }
}
