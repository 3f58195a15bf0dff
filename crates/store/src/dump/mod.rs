//! All rows of a store: out of one, into a backup, into another one.
//!
//! A store and a backup are each a [`Source`], and an empty place for a store or a backup is a [`Sink`]; to back up, to
//! restore and to move are the same [`copy`]. Invariants:
//! - rows go as they are, those of the indexes as well; what cannot be read is carried along;
//! - a history does not go: what is restored is another life of the store, so that verifiers take a snapshot;
//! - a sink takes rows only where there is nothing, and nobody is served before it is finished;
//! - rows hold no credential; signing keys that a fleet shares are in them sealed.

mod backup;

pub use backup::{Backup, BackupWriter, Head};

use crate::{
    load,
    record::{HISTORY_KEY, decode, hold_prefix},
    tables::Table,
};
use async_trait::async_trait;
use std::{collections::BTreeMap, io};
use taskpass_lease::Task;
use taskpass_types::Refusal;

/// One row of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The table it is in.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; empty in an index.
    pub value: Vec<u8>,
}

/// How many rows of each table.
pub type Counts = BTreeMap<Table, u64>;

/// Where rows come from.
#[async_trait]
pub trait Source: Send {
    /// Some more rows; `None`: those were all.
    async fn next(&mut self) -> Result<Option<Vec<Row>>, DumpError>;

    /// How many commits happened while rows were taken out; each may be among them or not.
    fn meanwhile(&self) -> u64 {
        0
    }
}

/// Where rows go.
#[async_trait]
pub trait Sink: Send {
    /// Takes rows.
    async fn put(&mut self, rows: &[Row]) -> Result<(), DumpError>;

    /// Those were all: makes it what it is to be. Dropped without it, there is nothing that could be served.
    async fn finish(&mut self) -> Result<(), DumpError>;
}

/// Why rows do not come out, or do not go in.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A backup that is not as it was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// No backup.
    #[error("it is no backup of Taskpass")]
    Foreign,
    /// The operating system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is something already.
    #[error("{0}")]
    NotEmpty(String),
    /// A store that does not do it.
    #[error("{what}")]
    Store {
        /// What it says.
        what: String,
        /// What to do.
        fix: String,
    },
    /// A backup of another version.
    #[error("the backup has format {found}, this version reads {supported}")]
    Version {
        /// Its format.
        found: u8,
        /// What is understood.
        supported: u8,
    },
}

impl DumpError {
    /// What the operator can do about it.
    pub fn fix(&self) -> &str {
        match self {
            Self::Damaged(_) => "take another backup; nothing was written",
            Self::Foreign => "name a file that `taskpass store backup` wrote",
            Self::Io(_) => "see that the file and its directory are there, and that there is free space",
            Self::NotEmpty(_) => {
                "name a place where there is nothing yet: another data.dir, or another ledger"
            }
            Self::Store { fix, .. } => fix,
            Self::Version { .. } => "use the version of Taskpass that wrote it",
        }
    }
}

impl From<Refusal> for DumpError {
    fn from(refusal: Refusal) -> Self {
        Self::Store { what: refusal.to_string(), fix: "taskpass store check".to_owned() }
    }
}

/// Takes all rows from `source` to `sink`.
///
/// # Errors
/// [`DumpError`]; then the sink is not finished.
pub async fn copy(source: &mut dyn Source, sink: &mut dyn Sink) -> Result<Counts, DumpError> {
    let mut counts = Counts::new();
    while let Some(mut rows) = source.next().await? {
        rows.retain(|row| !(row.table == Table::Meta && row.key == HISTORY_KEY));
        for row in &rows {
            *counts.entry(row.table).or_default() += 1;
        }
        if !rows.is_empty() {
            sink.put(&rows).await?;
        }
    }
    sink.finish().await?;
    Ok(counts)
}

/// What the keys of a task's holds begin with, by the task's row.
pub fn holds_of(task: &[u8]) -> Option<Vec<u8>> {
    let task: Task = load::readable(decode("task", task).map(Some)).ok()??;
    Some(hold_prefix(&task.tenant, task.agent()?, task.id))
}
