//! redb's tables as the store's tables. Each is opened when it is first used.

use crate::error::unavailable;
use redb::{
    AccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable, StorageError, TableDefinition, TableError,
    WriteTransaction,
};
use std::{cell::OnceCell, ops::Bound};
use taskpass_store::tables::{Entry, Read, Scan, Table, Write};
use taskpass_types::{Reason, Refusal};

type Bytes = &'static [u8];

pub(crate) const fn definition(table: Table) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(table.name())
}

/// One slot per table.
struct Opened<T>([OnceCell<T>; Table::ALL.len()]);

impl<T> Opened<T> {
    fn new() -> Self {
        Self([const { OnceCell::new() }; Table::ALL.len()])
    }

    fn at(&self, table: Table, open: impl FnOnce() -> Result<T, TableError>) -> Result<&T, Refusal> {
        let slot = self.0.get(table as usize).ok_or_else(no_slot)?;
        if let Some(opened) = slot.get() {
            return Ok(opened);
        }
        let opened = open().map_err(unavailable)?;
        Ok(slot.get_or_init(|| opened))
    }

    fn at_mut(
        &mut self,
        table: Table,
        open: impl FnOnce() -> Result<T, TableError>,
    ) -> Result<&mut T, Refusal> {
        self.at(table, open)?;
        self.0.get_mut(table as usize).and_then(OnceCell::get_mut).ok_or_else(no_slot)
    }
}

fn no_slot() -> Refusal {
    Refusal::new(Reason::Internal, "a table has no slot")
}

/// The tables as one snapshot has them.
pub(crate) struct Snapshot<'a> {
    transaction: &'a ReadTransaction,
    opened: Opened<ReadOnlyTable<Bytes, Bytes>>,
}

impl<'a> Snapshot<'a> {
    pub(crate) fn new(transaction: &'a ReadTransaction) -> Self {
        Self { transaction, opened: Opened::new() }
    }

    fn table(&self, table: Table) -> Result<&ReadOnlyTable<Bytes, Bytes>, Refusal> {
        self.opened.at(table, || self.transaction.open_table(definition(table)))
    }
}

impl Read for Snapshot<'_> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.table(table)?.get(key).map_err(unavailable)?.map(owned))
    }

    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Entry>, Refusal> {
        entries(self.table(table)?, scan).map_err(unavailable)
    }
}

/// The tables as a transaction changes them.
pub(crate) struct Changes<'a> {
    transaction: &'a WriteTransaction,
    opened: Opened<redb::Table<'a, Bytes, Bytes>>,
    wrote: bool,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(transaction: &'a WriteTransaction) -> Self {
        Self { transaction, opened: Opened::new(), wrote: false }
    }

    /// Whether anything was changed.
    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    fn table(&self, table: Table) -> Result<&redb::Table<'a, Bytes, Bytes>, Refusal> {
        self.opened.at(table, || self.transaction.open_table(definition(table)))
    }

    fn table_mut(&mut self, table: Table) -> Result<&mut redb::Table<'a, Bytes, Bytes>, Refusal> {
        self.wrote = true;
        self.opened.at_mut(table, || self.transaction.open_table(definition(table)))
    }
}

impl Read for Changes<'_> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.table(table)?.get(key).map_err(unavailable)?.map(owned))
    }

    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Entry>, Refusal> {
        entries(self.table(table)?, scan).map_err(unavailable)
    }
}

impl Write for Changes<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.table_mut(table)?.insert(key, value).map_err(unavailable)?.map(owned))
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.table_mut(table)?.remove(key).map_err(unavailable)?.map(owned))
    }
}

fn owned(guard: AccessGuard<'_, Bytes>) -> Vec<u8> {
    guard.value().to_vec()
}

fn entries(table: &impl ReadableTable<Bytes, Bytes>, scan: &Scan<'_>) -> Result<Vec<Entry>, StorageError> {
    let from = scan.from.map(Bound::Excluded);
    if scan.backwards {
        let end = taskpass_store::tables::after_prefix(scan.prefix);
        let end = from.or(end.as_deref().map(Bound::Excluded)).unwrap_or(Bound::Unbounded);
        return collect(table.range::<&[u8]>((Bound::Unbounded, end))?.rev(), scan);
    }
    let start = from.unwrap_or(Bound::Included(scan.prefix));
    collect(table.range::<&[u8]>((start, Bound::Unbounded))?, scan)
}

fn collect<'a>(
    range: impl Iterator<Item = Result<(AccessGuard<'a, Bytes>, AccessGuard<'a, Bytes>), StorageError>>,
    scan: &Scan<'_>,
) -> Result<Vec<Entry>, StorageError> {
    range
        .take(scan.limit)
        .take_while(|entry| entry.as_ref().map_or(true, |(key, _)| key.value().starts_with(scan.prefix)))
        .map(|entry| entry.map(|(key, value)| (owned(key), owned(value))))
        .collect()
}
