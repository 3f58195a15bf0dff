//! The file itself: made once, whole and private; opened only when it is what it should be.

use crate::{
    OpenError,
    tables::{Changes, definition},
};
use redb::{Builder, Database, ReadableDatabase, TableDefinition, TableError};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};
use taskpass_store::tables::Table;
use taskpass_types::HistoryId;

/// The layout of the tables. A change that an older version would misread raises it.
const FORMAT: u32 = 1;
const ABOUT: TableDefinition<'static, &str, u32> = TableDefinition::new("taskpass");
const FORMAT_KEY: &str = "format";

/// Page cache; what is hot is small, and the operating system caches the rest.
const CACHE_BYTES: usize = 128 << 20;

/// Opens the store at `path`, which is made when there is none; and tells which life of it this is.
pub(crate) fn open_or_create(path: &Path) -> Result<(Database, HistoryId), OpenError> {
    if !path.try_exists().map_err(|error| OpenError::io(path, error))? {
        create(path)?;
    }
    let database = open(path)?;
    survive(path, move || history(path, &database).map(|history| (database, history)))?
}

/// Opens the store at `path`.
pub(crate) fn open(path: &Path) -> Result<Database, OpenError> {
    let about = fs::metadata(path).map_err(|error| OpenError::io(path, error))?;
    if about.len() == 0 {
        return Err(OpenError::Empty(path.to_owned()));
    }
    survive(path, || {
        let database = builder().open(path).map_err(|error| OpenError::database(path, error))?;
        check_format(path, &database)?;
        Ok(database)
    })?
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// redb may panic on a file that was altered behind its back; for us that is one more way to be damaged.
fn survive<T>(path: &Path, attempt: impl FnOnce() -> T) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(attempt))
        .map_err(|_| OpenError::damaged(path, "its structure contradicts itself"))
}

/// Closes a store, whatever state it is in.
pub(crate) fn close(database: Option<Database>) {
    if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
        tracing::error!("the store's file contradicts itself; the next start will check it");
    }
}

fn create(path: &Path) -> Result<(), OpenError> {
    let (draft, database) = begin(path)?;
    publish(path, &draft, database).map(drop)
}

/// Makes a store that has no name yet, and its directory.
pub(crate) fn begin(path: &Path) -> Result<(PathBuf, Database), OpenError> {
    let failed = |error| OpenError::io(path, error);
    DirBuilder::new().recursive(true).mode(0o700).create(directory(path)).map_err(failed)?;
    let draft = draft(path);
    remove_if_there(&draft).map_err(failed)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
    let database = builder().create(&draft).map_err(|error| OpenError::database(path, error))?;
    prepare(&database).map_err(|error| OpenError::damaged(path, error))?;
    Ok((draft, database))
}

/// A store gets its name only once it is whole, so that a crash here cannot leave half a store behind; and a link never
/// replaces a store that another process made meanwhile. Whether it was this one that got the name.
pub(crate) fn publish(path: &Path, draft: &Path, database: Database) -> Result<bool, OpenError> {
    let failed = |error| OpenError::io(path, error);
    database.close().map_err(|error| OpenError::database(path, error))?;
    let named = match fs::hard_link(draft, path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed(error)),
    };
    remove_if_there(draft).map_err(failed)?;
    File::open(directory(path)).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(named)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".draft-{}", std::process::id()));
    name.into()
}

pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn prepare(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for table in Table::ALL {
        transaction.open_table(definition(table))?;
    }
    transaction.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT)?;
    Ok(transaction.commit()?)
}

fn check_format(path: &Path, database: &Database) -> Result<(), OpenError> {
    let damaged = |error: redb::Error| OpenError::damaged(path, error);
    let transaction = database.begin_read().map_err(|error| damaged(error.into()))?;
    let about = match transaction.open_table(ABOUT) {
        Ok(about) => about,
        Err(TableError::Storage(error)) => return Err(damaged(error.into())),
        Err(_) => return Err(OpenError::Foreign(path.to_owned())),
    };
    let found = about.get(FORMAT_KEY).map_err(|error| damaged(error.into()))?.map(|found| found.value());
    match found {
        Some(FORMAT) => {}
        Some(found) if found > FORMAT => {
            return Err(OpenError::Newer { file: path.to_owned(), found, supported: FORMAT });
        }
        _ => return Err(OpenError::damaged(path, "it does not say which format it has")),
    }
    for table in Table::ALL {
        transaction.open_table(definition(table)).map_err(|error| damaged(error.into()))?;
    }
    Ok(())
}

pub(crate) fn history(path: &Path, database: &Database) -> Result<HistoryId, OpenError> {
    let damaged = |error: redb::Error| OpenError::damaged(path, error);
    let transaction = database.begin_write().map_err(|error| damaged(error.into()))?;
    let mut changes = Changes::new(&transaction);
    let history = taskpass_store::open(&mut changes).map_err(|refusal| OpenError::damaged(path, refusal))?;
    let wrote = changes.wrote();
    drop(changes);
    if wrote {
        transaction.commit().map_err(|error| damaged(error.into()))?;
    }
    Ok(history)
}
