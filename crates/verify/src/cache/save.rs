//! Keeps the cache up to date while the feed is followed, and lets what it holds be acknowledged only then.
//!
//! Enforcing never waits for the disk: what is enforced is handed over here, written in batches, each as large as the disk
//! was slow, and acknowledged when it is durable. A cache that cannot be written is removed, and tried anew later; one
//! that cannot even be removed lets nothing be acknowledged, for a restart might bring it back.

use super::{CacheFile, Everything, Heard, frame};
use crate::{
    feed::Position,
    follow::{Enforced, tell},
    shared::Shared,
};
use parking_lot::Mutex;
use std::{convert::Infallible, io, mem, sync::Arc, time::Duration};
use taskpass_proto::v1::{VerificationKeys, WatchDeniesResponse};
use taskpass_types::Timestamp;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::sleep,
};

/// When nothing happens, what is noted is only that the broker was heard, this often.
const QUIET: Duration = Duration::from_secs(1);
/// After so much was added, everything is written anew.
const ADDED: usize = 1024 * 1024;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The follower's side.
pub(crate) struct Saver {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    keys: Option<VerificationKeys>,
    /// A snapshot is on its way: all is written once it is complete.
    replacing: bool,
    noted: Timestamp,
    /// Bytes since everything was written.
    added: usize,
}

/// What waits to be written.
#[derive(Default)]
struct Queue {
    batch: Mutex<Batch>,
    news: Notify,
}

#[derive(Default)]
struct Batch {
    everything: Option<Everything>,
    /// After that.
    frames: Vec<Vec<u8>>,
    /// There is something besides that the broker was heard.
    news: bool,
    /// Whom to tell what, afterwards.
    told: Option<(watch::Sender<Option<Enforced>>, Enforced)>,
    /// The file cannot be added to.
    broken: bool,
}

impl Batch {
    /// What is to be written now; that the file is broken remains to be said.
    fn take(&mut self) -> Self {
        let broken = self.broken;
        mem::replace(self, Self { broken, ..Self::default() })
    }

    /// What was to be added has nothing to be added to.
    fn begin_anew(&mut self) {
        self.broken = self.everything.is_none();
        if self.broken {
            self.frames.clear();
        }
    }
}

impl Saver {
    /// And what writes, to be run. `keys` are those of the cache that was loaded.
    pub(crate) fn new(
        file: CacheFile,
        shared: Arc<Shared>,
        keys: Option<VerificationKeys>,
    ) -> (Self, impl Future<Output = Infallible> + Send) {
        let queue = Arc::new(Queue::default());
        queue.batch.lock().broken = true;
        let writing = write(Arc::clone(&queue), file, Arc::clone(&shared));
        (Self { queue, shared, keys, replacing: false, noted: Timestamp::default(), added: 0 }, writing)
    }

    /// A new session: what was begun in the last one does not go on.
    pub(crate) fn begin(&mut self) {
        self.replacing = false;
    }

    /// A message was applied, and this is held by now; nothing of it is held yet while a snapshot is incomplete.
    pub(crate) fn applied(
        &mut self,
        message: &WatchDeniesResponse,
        heard: Heard,
        held: Option<Position>,
        whole: bool,
    ) {
        if let Some(keys) = &message.keys {
            self.keys = Some(keys.clone());
        }
        self.replacing |= message.snapshot;
        let Some(position) = held.filter(|_| whole || !self.replacing) else { return };
        let replaced = mem::take(&mut self.replacing);
        let news = replaced || message.keys.is_some() || !message.records.is_empty();
        let mut batch = self.queue.batch.lock();
        if !news && !batch.broken && heard.stopwatch.since(self.noted) < QUIET {
            return;
        }
        self.noted = heard.stopwatch;
        let frame = frame(heard, message);
        self.added += frame.len();
        if mem::take(&mut batch.broken) || replaced || self.added > ADDED {
            let (records, keys) = (self.shared.denies.read().records(), self.keys.clone());
            batch.everything = Some(Everything { position, records, keys, heard });
            batch.frames.clear();
            self.added = 0;
        } else {
            batch.frames.push(frame);
        }
        batch.news |= news;
        drop(batch);
        self.queue.news.notify_one();
    }

    /// Lets `enforced` say so, as soon as it is written.
    pub(crate) fn then(&self, enforced: &watch::Sender<Option<Enforced>>, held: Enforced) {
        let mut batch = self.queue.batch.lock();
        batch.told = Some((enforced.clone(), held));
        drop(batch);
        self.queue.news.notify_one();
    }
}

async fn write(queue: Arc<Queue>, mut file: CacheFile, shared: Arc<Shared>) -> Infallible {
    loop {
        queue.news.notified().await;
        let mut batch = queue.batch.lock().take();
        let told = batch.told.take();
        let written = spawn_blocking(move || {
            let done = save(&mut file, &batch);
            let failed = done.as_ref().err().map(io::Error::to_string);
            let honest = done.or_else(|_| file.discard());
            (file, failed, honest)
        });
        // It fails only when writing panicked: then there is no file to go on with, and nothing is acknowledged.
        let Ok((back, failed, honest)) = written.await else { return std::future::pending().await };
        file = back;
        match honest {
            Ok(()) => told.into_iter().for_each(|(enforced, held)| tell(&enforced, Some(held))),
            Err(error) => tracing::error!(reason = %error, "cannot remove the cache of denies"),
        }
        shared.meter.cache(if failed.is_none() { "written" } else { "failed" });
        if let Some(reason) = failed {
            tracing::warn!(reason, "cannot write the cache of denies; there is none for now");
            queue.batch.lock().begin_anew();
            sleep(RETRY).await;
        }
    }
}

/// Writes what waits; where there is nothing to add it to, no file is left that others could take for current.
fn save(file: &mut CacheFile, batch: &Batch) -> io::Result<()> {
    match &batch.everything {
        Some(everything) => {
            let frames: Vec<_> = everything.frames().collect();
            file.replace(frames.iter().map(Vec::as_slice))?;
        }
        None if !file.is_open() => return file.discard(),
        None => {}
    }
    if batch.frames.is_empty() {
        return Ok(());
    }
    file.append(batch.frames.iter().map(Vec::as_slice), batch.news)
}
