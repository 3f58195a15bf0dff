//! The one thread that writes.

use crate::{OpenError, file, queue::Queue, tables::Changes};
use parking_lot::RwLock;
use redb::Database;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::Duration,
};
use taskpass_lease::Limits;
use taskpass_store::{Job, Pending, Signals, spoils};
use taskpass_types::{Reason, Refusal};

/// How long to wait before a file that failed is tried again although nobody asks.
const RETRY: Duration = Duration::from_secs(1);

/// Opens the store again after a failure.
pub(crate) type Reopen = Box<dyn Fn() -> Result<Database, OpenError> + Send + Sync>;

/// What the writer and the readers share.
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) reopen: Reopen,
    pub(crate) limits: Limits,
    /// `None` while the file cannot be opened. Readers hold the lock while they look, so that taking it to open anew
    /// waits until the last of them let go of the old handle.
    pub(crate) database: RwLock<Option<Database>>,
    pub(crate) queue: Queue,
    pub(crate) signals: Signals,
}

impl Shared {
    /// Serves the queue until it is closed and empty.
    pub(crate) fn write(&self) {
        let mut well = true;
        while let Some(batch) = self.queue.take((!well).then_some(RETRY)) {
            well = (well || self.reopen()) && self.serve(batch);
            // A failed write may or may not be in the file, and its handle refuses everything from now on.
            well = well || self.reopen();
        }
        file::close(self.database.write().take());
    }

    /// Whether the file is well afterwards.
    fn serve(&self, batch: Vec<Job>) -> bool {
        let database = self.database.read();
        let Some(database) = database.as_ref() else {
            refuse(batch);
            return false;
        };
        match catch_unwind(AssertUnwindSafe(|| self.transact(database, batch))) {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, store = %self.path.display(), "the store cannot write its file");
                false
            }
            Err(_) => {
                tracing::error!(store = %self.path.display(), "the store's file contradicts itself");
                false
            }
        }
    }

    /// Applies all of `batch` in one transaction. One that fails half way takes its own changes with it, not the others'.
    fn transact(&self, database: &Database, mut batch: Vec<Job>) -> Result<(), redb::Error> {
        loop {
            let transaction = match database.begin_write() {
                Ok(transaction) => transaction,
                Err(error) => {
                    refuse(batch);
                    return Err(error.into());
                }
            };
            let mut changes = Changes::new(&transaction);
            let (mut results, mut spoiled) = (Vec::with_capacity(batch.len()), None);
            for job in &batch {
                match job.run(&mut changes, &self.limits) {
                    Err(refusal) if spoils(&refusal) => {
                        spoiled = Some(refusal);
                        break;
                    }
                    result => results.push(result),
                }
            }
            let wrote = changes.wrote();
            drop(changes);
            if let Some(refusal) = spoiled {
                transaction.abort()?;
                batch.remove(results.len()).answer(Err(refusal));
                continue;
            }
            if wrote {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            self.signals.tell(results.iter().flatten());
            for (job, result) in batch.into_iter().zip(results) {
                job.answer(result.map(Pending::committed));
            }
            return Ok(());
        }
    }

    /// Opens the file anew; whether that went well.
    fn reopen(&self) -> bool {
        let mut database = self.database.write();
        // Closes the file and releases its lock, or the next line would find it in use.
        file::close(database.take());
        match (self.reopen)() {
            Ok(opened) => {
                *database = Some(opened);
                tracing::warn!(store = %self.path.display(), "the store was opened anew after a failure");
                // What has an unknown outcome may have become durable.
                self.signals.tell_all();
                true
            }
            Err(error) => {
                tracing::error!(%error, fix = error.fix(), "the store stays closed");
                false
            }
        }
    }
}

fn refuse(batch: Vec<Job>) {
    for job in batch {
        job.answer(Err(closed("its handle failed earlier")));
    }
}

/// The file is closed until the disk is well again.
pub(crate) fn closed(cause: &str) -> Refusal {
    Refusal::new(Reason::StoreUnavailable, "the store is closed after a failure of its disk")
        .fix("ask again; the operator finds the cause in the broker's log")
        .because(cause)
}
