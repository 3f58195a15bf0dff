//! The backend: hands changes to the writer and looks at snapshots.

use crate::{
    OpenError,
    error::unavailable,
    file,
    queue::Queue,
    tables::Snapshot,
    writer::{Reopen, Shared, closed},
};
use parking_lot::RwLock;
use redb::{Database, ReadableDatabase};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};
use taskpass_lease::{Event, Limits};
use taskpass_store::{Backend, Committed, Due, Job, Signals, Work, spoils, tables::Read};
use taskpass_types::{HistoryId, Reason, Refusal, Timestamp};
use tokio::sync::watch;

/// A redb file and the thread that writes it. Dropping it answers what waits and closes the file.
pub struct RedbBackend {
    shared: Arc<Shared>,
    history: HistoryId,
    writer: Option<JoinHandle<()>>,
}

impl RedbBackend {
    /// Opens the store at `path`; makes it, mode 0600, and its directory, mode 0700, when there is none.
    ///
    /// # Errors
    /// [`OpenError`] when the file is not a whole Taskpass store of a known format, or somebody else has it open. The file
    /// is left as it is.
    pub fn open(path: impl AsRef<Path>, limits: Limits) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let (database, history) = file::open_or_create(path)?;
        let reopen = {
            let path = path.to_owned();
            move || file::open(&path)
        };
        Self::start(path, limits, database, history, Box::new(reopen))
    }

    /// `reopen` opens the same store after a failure.
    pub(crate) fn start(
        path: &Path,
        limits: Limits,
        database: Database,
        history: HistoryId,
        reopen: Reopen,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            reopen,
            limits,
            database: RwLock::new(Some(database)),
            queue: Queue::default(),
            signals: Signals::default(),
        });
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.write()
            })
            .map_err(|error| OpenError::io(path, error))?;
        Ok(Self { shared, history, writer: Some(writer) })
    }

    async fn submit(&self, work: Work, now: Timestamp) -> Result<Committed, Refusal> {
        let (job, answered) = Job::new(work, now);
        self.shared.queue.push(job)?;
        answered.await.unwrap_or_else(|_| Err(outcome_unknown()))
    }
}

impl Backend for RedbBackend {
    async fn look<T: Send>(
        &self,
        at: impl Fn(&dyn Read) -> Result<T, Refusal> + Send + Sync,
    ) -> Result<T, Refusal> {
        let result = {
            let database = self.shared.database.read();
            let database = database.as_ref().ok_or_else(|| closed("not reopened yet"))?;
            catch_unwind(AssertUnwindSafe(|| {
                let transaction = database.begin_read().map_err(unavailable)?;
                at(&Snapshot::new(&transaction))
            }))
            .unwrap_or_else(|_| Err(closed("the file contradicts itself")))
        };
        if result.as_ref().is_err_and(spoils) {
            self.shared.queue.nudge();
        }
        result
    }

    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        self.submit(Work::Apply(event), now).await
    }

    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal> {
        self.submit(Work::Due(due), now).await
    }

    fn history(&self) -> HistoryId {
        self.history
    }

    fn mending(&self) -> watch::Receiver<bool> {
        self.shared.signals.mending()
    }

    fn denied(&self) -> watch::Receiver<u64> {
        self.shared.signals.denied()
    }

    fn approval_changed(&self) -> watch::Receiver<u64> {
        self.shared.signals.approval_changed()
    }
}

impl Drop for RedbBackend {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take() {
            // Its panics are caught inside; there is nothing to learn from the join.
            drop(writer.join());
        }
    }
}

impl fmt::Debug for RedbBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbBackend")
            .field("path", &self.shared.path)
            .field("history", &self.history)
            .finish()
    }
}

fn outcome_unknown() -> Refusal {
    Refusal::new(
        Reason::OutcomeUnknown,
        "the store failed while it wrote this; it may or may not have happened",
    )
    .fix("ask again with the same request id")
}
