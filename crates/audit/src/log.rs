//! The log itself: what the broker holds.

use crate::{
    Action, Actor, Anchor, AuditError, EntryLine, Event, Health, LOG_FILE, LogFile, Receipt, Recorder,
    file::Head,
    open::{self, Opened, Torn},
    queue::{Item, Queue},
    read,
    writer::{Writer, unavailable},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};
use taskpass_types::{Clock, Refusal, TenantId};
use tokio::sync::{oneshot, watch};

/// The audit log of one broker, in a directory of its own.
///
/// One thread writes; callers share its syncs. Dropping the log writes what waits, unless the disk refuses, and then
/// lets the next process open it.
pub struct AuditLog {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    queue: Arc<Queue>,
    durable: watch::Receiver<Head>,
    writer: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Opens the log in `dir`, or begins one. Reads only what was written since the last known durable entry; use
    /// [`crate::verify_dir`] to check all of it. What a crash left half-written is cut off and noted.
    ///
    /// # Errors
    /// When the log was cut, rolled back or changed, when another process writes it, when others may write into the
    /// directory, or when the disk refuses.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        Self::open_with(dir, clock, |file| file)
    }

    /// As [`Self::open`], with a disk that tests can let fail.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        dir: &Path,
        clock: Arc<dyn Clock>,
        wrap: impl FnOnce(Box<dyn LogFile>) -> Box<dyn LogFile>,
    ) -> Result<Self, AuditError> {
        let Opened { file, chain, torn } = open::open(dir)?;
        let head = Head { seq: chain.seq, length: file.length(), hash: chain.hash };
        let (sender, durable) = watch::channel(head);
        let queue = Arc::new(Queue::default());
        let writer = Writer {
            length: head.length,
            file: wrap(Box::new(file)),
            chain,
            queue: Arc::clone(&queue),
            durable: sender,
            clock: Arc::clone(&clock),
        };
        let writer = thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(AuditError::io("start a thread for", dir))?;
        let log = Self { path: dir.join(LOG_FILE), clock, queue, durable, writer: Some(writer) };
        if let Some(torn) = torn {
            log.note(recovered(&torn));
        }
        Ok(log)
    }

    /// The newest durable entry; keep it elsewhere to find out about a log that was rewritten as a whole.
    pub fn head(&self) -> Anchor {
        let head = *self.durable.borrow();
        Anchor { seq: head.seq, hash: head.hash }
    }

    /// Returns when an entry behind number `seq` is durable; for readers that follow the log.
    ///
    /// # Errors
    /// `AUDIT_UNAVAILABLE` when the log has been closed.
    pub async fn wait_past(&self, seq: u64) -> Result<(), Refusal> {
        let mut durable = self.durable.clone();
        durable.wait_for(|head| head.seq > seq).await.map(drop).map_err(unavailable)
    }

    /// Durable entries from number `seq` on, at most `limit` and a few megabytes. Reads files: call it where blocking
    /// is allowed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_from(&self, seq: u64, limit: usize) -> Result<Vec<EntryLine>, AuditError> {
        let end = self.durable.borrow().length;
        read::read(&self.path, end, seq, limit)
    }

    fn item(&self, event: &Event, waiter: Option<oneshot::Sender<Result<Receipt, Refusal>>>) -> Item {
        Item { body: event.encode(), time: self.clock.now(), waiter }
    }
}

fn recovered(torn: &Torn) -> Event {
    Event::outcome(&TenantId::default(), Action::AuditRecover, Actor::Broker("audit"))
        .count(0)
        .purpose(&format!("cut off {} bytes of an entry that a crash left unfinished", torn.bytes))
        .evidence(torn.digest)
}

#[async_trait::async_trait]
impl Recorder for AuditLog {
    async fn record(&self, event: Event) -> Result<Receipt, Refusal> {
        let (waiter, answer) = oneshot::channel();
        if self.queue.push(self.item(&event, Some(waiter))).is_err() {
            return Err(unavailable("too much waits to be written, or the log is closed"));
        }
        answer.await.unwrap_or_else(|_| Err(unavailable("the writer has ended")))
    }

    fn note(&self, event: Event) {
        if self.queue.push(self.item(&event, None)).is_err() {
            tracing::error!(code = event.code(), "an audit note is lost: too much waits to be written");
        }
    }

    fn health(&self) -> Health {
        let (waiting, lost, failing) = self.queue.status();
        Health { durable: self.durable.borrow().seq, failing, lost, waiting }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.queue.close();
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the audit writer panicked");
        }
    }
}
