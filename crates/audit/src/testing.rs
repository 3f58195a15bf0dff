//! Faults for tests: a recorder that refuses, and a disk that fails. Both wrap the real thing, so they cannot drift.

use crate::{Event, Health, LogFile, Receipt, Recorder, file::Head, writer::unavailable};
use parking_lot::{Condvar, Mutex};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use taskpass_types::Refusal;
use tokio::sync::watch;

/// A recorder whose next records can be told to fail. Notes always go through, as they do on the real one.
pub struct FaultyRecorder {
    inner: Arc<dyn Recorder>,
    failures: AtomicU64,
    held: watch::Sender<bool>,
    waiting: AtomicU64,
}

impl FaultyRecorder {
    /// Wraps a recorder; nothing fails yet.
    pub fn new(inner: Arc<dyn Recorder>) -> Self {
        let (failures, waiting) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { inner, failures, held: watch::Sender::new(false), waiting }
    }

    /// The next `n` records fail.
    pub fn fail_next(&self, n: u64) {
        self.failures.store(n, Ordering::SeqCst);
    }

    /// Every record fails until [`Self::heal`].
    pub fn fail_always(&self) {
        self.fail_next(u64::MAX);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.fail_next(0);
    }

    /// Records wait until they are released.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// How many records wait now.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }

    async fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(self.held.subscribe().wait_for(|held| !*held).await);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn fails(&self) -> bool {
        let less = |n| match n {
            0 => None,
            u64::MAX => Some(n),
            n => Some(n - 1),
        };
        self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

#[async_trait::async_trait]
impl Recorder for FaultyRecorder {
    async fn record(&self, event: Event) -> Result<Receipt, Refusal> {
        self.pass().await;
        if self.fails() {
            return Err(unavailable("an injected fault"));
        }
        self.inner.record(event).await
    }

    fn note(&self, event: Event) {
        self.inner.note(event);
    }

    fn health(&self) -> Health {
        let mut health = self.inner.health();
        if self.failures.load(Ordering::SeqCst) > 0 {
            health.failing = Some("an injected fault".to_owned());
        }
        health
    }
}

/// What a [`FaultyFile`] does; shared with the test.
#[derive(Default)]
pub struct Faults {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    room: Option<u64>,
    failing_syncs: u64,
    chunk: Option<usize>,
    held: bool,
    syncs: u64,
    refusals: u64,
}

impl Faults {
    /// The disk takes this many more bytes, then it is full; `None`: it is large.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state.lock().room = bytes;
    }

    /// The next `n` syncs fail, after the system may have written some of the bytes.
    pub fn fail_syncs(&self, n: u64) {
        self.state.lock().failing_syncs = n;
    }

    /// Each write takes at most this many bytes.
    pub fn set_chunk(&self, bytes: Option<usize>) {
        self.state.lock().chunk = bytes;
    }

    /// Syncs wait until they are released.
    pub fn hold_syncs(&self, held: bool) {
        self.state.lock().held = held;
        self.changed.notify_all();
    }

    /// How many syncs have begun.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Returns when `n` syncs have begun.
    pub fn wait_for_syncs(&self, n: u64) {
        self.changed.wait_while(&mut self.state.lock(), |state| state.syncs < n);
    }

    /// Returns when `n` writes or syncs have been refused.
    pub fn wait_for_refusals(&self, n: u64) {
        self.changed.wait_while(&mut self.state.lock(), |state| state.refusals < n);
    }

    fn refuse<T>(&self, state: &mut State, kind: io::ErrorKind) -> io::Result<T> {
        state.refusals += 1;
        self.changed.notify_all();
        Err(kind.into())
    }
}

/// A log file on the real disk that fails as [`Faults`] say.
pub struct FaultyFile {
    inner: Box<dyn LogFile>,
    faults: Arc<Faults>,
}

impl FaultyFile {
    /// For [`crate::AuditLog::open_with`].
    pub fn wrap(faults: &Arc<Faults>) -> impl FnOnce(Box<dyn LogFile>) -> Box<dyn LogFile> {
        let faults = Arc::clone(faults);
        move |inner| Box::new(Self { inner, faults })
    }
}

impl LogFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.faults.state.lock();
        let room = state.room.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX));
        let length = bytes.len().min(room).min(state.chunk.unwrap_or(usize::MAX));
        if length == 0 {
            return self.faults.refuse(&mut state, io::ErrorKind::StorageFull);
        }
        let written = self.inner.write(bytes.get(..length).unwrap_or_default())?;
        state.room = state.room.map(|room| room.saturating_sub(u64::try_from(written).unwrap_or(0)));
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.faults.state.lock();
        state.syncs += 1;
        self.faults.changed.notify_all();
        self.faults.changed.wait_while(&mut state, |state| state.held);
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return self.faults.refuse(&mut state, io::ErrorKind::Other);
        }
        drop(state);
        self.inner.sync()
    }

    fn save_head(&mut self, head: Head) -> io::Result<()> {
        self.inner.save_head(head)
    }

    fn restore(&mut self, head: Head) -> io::Result<()> {
        self.inner.restore(head)
    }
}
