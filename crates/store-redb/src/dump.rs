//! All rows of an embedded store, as of one moment; and a new store made of rows, which has its name only once it is whole.

use crate::{
    OpenError,
    error::unavailable,
    file,
    tables::{Changes, Snapshot},
};
use async_trait::async_trait;
use redb::{Database, ReadTransaction, ReadableDatabase as _};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use taskpass_store::{
    dump::{DumpError, Row, Sink, Source},
    tables::{Read as _, Scan, Table, Write as _},
};

/// How many rows are taken at once.
const SLICE: usize = 512;

/// The rows of a store that no broker has open.
pub struct Export {
    transaction: ReadTransaction,
    tables: Vec<Table>,
    last: Option<Vec<u8>>,
    /// Behind the transaction, which it has to outlive.
    _database: Database,
}

impl Export {
    /// Opens the store at `path`, which nobody else can open meanwhile.
    ///
    /// # Errors
    /// [`DumpError`] when there is none, or a broker has it open.
    pub fn open(path: &Path) -> Result<Self, DumpError> {
        let database = file::open(path).map_err(|error| match error {
            OpenError::InUse(_) => DumpError::Store {
                what: format!("the store `{}` is in use by a broker that runs", path.display()),
                fix: "stop the broker first; then there is one moment that the backup shows".to_owned(),
            },
            error => store(&error),
        })?;
        let transaction = database.begin_read().map_err(unavailable)?;
        let tables = Table::ALL.into_iter().rev().collect();
        Ok(Self { transaction, tables, last: None, _database: database })
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("tables", &self.tables).finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for Export {
    async fn next(&mut self) -> Result<Option<Vec<Row>>, DumpError> {
        while let Some(table) = self.tables.last().copied() {
            let scan = Scan { prefix: &[], from: self.last.as_deref(), backwards: false, limit: SLICE };
            let entries = Snapshot::new(&self.transaction).scan(table, &scan)?;
            if let Some((last, _)) = entries.last() {
                self.last = Some(last.clone());
                return Ok(Some(entries.into_iter().map(|(key, value)| Row { table, key, value }).collect()));
            }
            self.tables.pop();
            self.last = None;
        }
        Ok(None)
    }
}

/// A store under construction.
pub struct Import {
    path: PathBuf,
    draft: PathBuf,
    database: Option<Database>,
}

impl Import {
    /// For a store at `path`, where there is none.
    ///
    /// # Errors
    /// [`DumpError`] when there is one, or none can be made.
    pub fn begin(path: &Path) -> Result<Self, DumpError> {
        if path.try_exists()? {
            return Err(taken(path));
        }
        let (draft, database) = file::begin(path).map_err(|error| store(&error))?;
        Ok(Self { path: path.to_owned(), draft, database: Some(database) })
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Sink for Import {
    async fn put(&mut self, rows: &[Row]) -> Result<(), DumpError> {
        let Some(database) = &self.database else { return Ok(()) };
        let transaction = database.begin_write().map_err(unavailable)?;
        let mut changes = Changes::new(&transaction);
        for row in rows {
            changes.put(row.table, &row.key, &row.value)?;
        }
        drop(changes);
        transaction.commit().map_err(unavailable)?;
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), DumpError> {
        let Some(database) = self.database.take() else { return Ok(()) };
        file::history(&self.path, &database).map_err(|error| store(&error))?;
        match file::publish(&self.path, &self.draft, database).map_err(|error| store(&error))? {
            true => Ok(()),
            false => Err(taken(&self.path)),
        }
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        if let Some(database) = self.database.take() {
            file::close(Some(database));
            // A draft that stays is no harm: it has another name.
            drop(file::remove_if_there(&self.draft));
        }
    }
}

fn taken(path: &Path) -> DumpError {
    DumpError::NotEmpty(format!("there is a store `{}` already", path.display()))
}

fn store(error: &OpenError) -> DumpError {
    DumpError::Store { what: error.to_string(), fix: error.fix().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RedbBackend, RedbStore};
    use taskpass_lease::Limits;
    use taskpass_store::{Store as _, dump::copy};

    fn row(table: Table, key: u32) -> Row {
        Row { table, key: key.to_be_bytes().to_vec(), value: b"value".to_vec() }
    }

    #[tokio::test]
    async fn a_store_is_made_of_rows_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/store.redb");
        let rows: Vec<Row> =
            (0..1300).map(|key| row(Table::Leases, key)).chain([row(Table::Tasks, 1)]).collect();
        let mut import = Import::begin(&path).unwrap();
        import.put(&rows).await.unwrap();
        assert!(!path.exists(), "no store before it is whole");
        import.finish().await.unwrap();
        let history =
            |path: &Path| RedbStore::new(RedbBackend::open(path, Limits::default()).unwrap()).history();
        let first = history(&path);

        let other = dir.path().join("other/store.redb");
        let mut export = Export::open(&path).unwrap();
        let counts = copy(&mut export, &mut Import::begin(&other).unwrap()).await.unwrap();
        assert_eq!((counts[&Table::Leases], counts[&Table::Tasks]), (1300, 1));
        assert_eq!(counts.get(&Table::Meta), None, "the history does not go along");
        drop(export);
        assert_ne!(history(&other), first);
        assert_eq!(std::fs::read_dir(other.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[tokio::test]
    async fn what_is_in_use_is_not_read_and_what_is_there_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        assert!(Export::open(&path).is_err(), "there is none");
        let running = RedbBackend::open(&path, Limits::default()).unwrap();
        let error = Export::open(&path).unwrap_err();
        assert!(error.to_string().contains("a broker that runs") && error.fix().contains("stop"), "{error}");
        assert!(matches!(Import::begin(&path), Err(DumpError::NotEmpty(_))));
        drop(running);
        let unfinished = dir.path().join("unfinished.redb");
        let mut import = Import::begin(&unfinished).unwrap();
        import.put(&[row(Table::Tasks, 1)]).await.unwrap();
        // Somebody was faster.
        std::fs::copy(&path, &unfinished).unwrap();
        assert!(matches!(import.finish().await, Err(DumpError::NotEmpty(_))));
        let left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
