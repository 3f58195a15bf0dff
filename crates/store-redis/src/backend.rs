//! The backend: hands transitions to the writer, and fetches what is looked at.

use crate::{
    check::{self, Report},
    draft::{Fetched, Looking, Missing},
    error::{Trouble, outcome_unknown, unavailable},
    fetch::fetch,
    layout::{Layout, is_name},
    ledger::Ledger,
    looks::{self, Look},
    news::{self, Heard},
    scripts::Caller,
    settings::Settings,
    texts::Texts,
    writer::{LANE, Proofs, Shared, Writer},
};
use parking_lot::RwLock;
use std::{
    fmt, io,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};
use taskpass_lease::{Event, Limits};
use taskpass_store::{Backend, Committed, Due, Job, Signals, Work, tables::Read};
use taskpass_types::{HistoryId, Reason, Refusal, Timestamp};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// After so many rounds of fetching, a look is given up.
const ROUNDS: usize = 4096;

/// A ledger in Redis. Dropping it stops its tasks; what was acknowledged is in the ledger.
pub struct RedisBackend {
    shared: Arc<Shared>,
    urgent: mpsc::Sender<Job>,
    ordinary: mpsc::Sender<Job>,
    looks: mpsc::Sender<Look>,
    tasks: TaskTracker,
}

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal of ends.
    #[error("the journal of ends in `{path}` cannot be opened: {error}")]
    Journal {
        /// Where it is.
        path: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The ledger's name.
    #[error("`{0}` is no name of a ledger")]
    Name(String),
    /// It does not keep what `durable` promises.
    #[error("the ledger is not `durable`, as it is configured to be: {}", lines(.0))]
    NotDurable(Report),
    /// The server.
    #[error("the ledger cannot be reached: {0}")]
    Unreachable(String),
}

fn lines(report: &Report) -> String {
    let lines = report.lines.iter().map(|line| format!("{}: {} (fix: {})", line.what, line.seen, line.fix));
    lines.collect::<Vec<_>>().join("; ")
}

impl OpenError {
    /// What the operator can do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Journal { .. } => "check who else has it open, and that the broker may write there",
            Self::Name(_) => "use 1 to 64 letters, digits, `-` and `_`",
            Self::NotDurable(_) => {
                "repair it, or promise less with durability = \"standard\"; taskpass store check"
            }
            Self::Unreachable(_) => "see what is wrong with it: taskpass store check",
        }
    }
}

impl RedisBackend {
    /// Opens the ledger that `settings` name; a new one when there is none. `journal` is the directory in which this
    /// broker keeps the ends that it wrote.
    ///
    /// # Errors
    /// [`OpenError`] when it is not reached, or not ours to serve.
    pub async fn open(settings: Settings, limits: Limits, journal: Option<&Path>) -> Result<Self, OpenError> {
        if !is_name(&settings.ledger) {
            return Err(OpenError::Name(settings.ledger));
        }
        check::durable(&settings).await?;
        // Ends of one ledger say nothing about another.
        let journal = journal.map(|dir| dir.join(&settings.ledger));
        let journal = journal.as_deref();
        let ledger = Ledger::open(journal).map_err(|error| OpenError::Journal {
            path: journal.unwrap_or(Path::new("")).display().to_string(),
            error,
        })?;
        let shared = Arc::new(Shared {
            layout: Layout::new(&settings.ledger),
            settings,
            limits,
            signals: Signals::default(),
            serving: RwLock::new(None),
            history: RwLock::new(HistoryId([0; 16])),
            news: Heard::default(),
            looks: AtomicU64::new(0),
            proofs: watch::Sender::new(Proofs::default()),
            asked: Notify::new(),
            broken: Notify::new(),
            closing: CancellationToken::new(),
        });
        let ((urgent, urgent_jobs), (ordinary, jobs)) = (mpsc::channel(LANE), mpsc::channel(LANE));
        let mut writer = Writer::new(shared.clone(), urgent_jobs, jobs, ledger);
        let link =
            writer.begin_first().await.map_err(|trouble| OpenError::Unreachable(trouble.to_string()))?;
        let tasks = TaskTracker::new();
        tasks.spawn(writer.run(link));
        tasks.spawn(shared.closing.clone().run_until_cancelled_owned(news::run(shared.clone())));
        let (looks, looking) = mpsc::channel(LANE);
        tasks.spawn(shared.closing.clone().run_until_cancelled_owned(looks::run(shared.clone(), looking)));
        tasks.close();
        Ok(Self { shared, urgent, ordinary, looks, tasks })
    }

    async fn submit(&self, work: Work, now: Timestamp) -> Result<Committed, Refusal> {
        let (job, answered) = Job::new(work, now);
        let lane = if job.urgent() { &self.urgent } else { &self.ordinary };
        lane.try_send(job).map_err(|_| {
            Refusal::new(Reason::StoreUnavailable, "too many operations wait for the ledger")
                .fix("ask again in a moment")
        })?;
        answered.await.unwrap_or_else(|_| Err(outcome_unknown()))
    }

    /// Rows are fetched together with those of others; what is read in order is fetched alone.
    async fn fetch(
        &self,
        reader: &mut Caller,
        missing: Missing,
        fetched: &mut Fetched,
    ) -> Result<(), Trouble> {
        if missing.sweeps.is_empty() {
            let (look, answered) = Look::new(missing);
            let gone = |_| Trouble::Refused("the store is closed".to_owned());
            self.looks.send(look).await.map_err(|_| Trouble::Refused("the store is closed".to_owned()))?;
            fetched.extend(answered.await.map_err(gone)??);
            return Ok(());
        }
        let read = fetch(reader, &self.shared.layout, missing, fetched).await;
        if read.as_ref().is_err_and(Trouble::breaks_link) {
            self.shared.broken.notify_one();
        }
        read
    }

    /// Lets what waits be written, and stops.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.tasks.wait().await;
    }
}

impl Backend for RedisBackend {
    async fn look<T: Send>(
        &self,
        at: impl Fn(&dyn Read) -> Result<T, Refusal> + Send + Sync,
    ) -> Result<T, Refusal> {
        let mut reader = self.shared.reader()?;
        let mut fetched = Fetched::default();
        for _ in 0..ROUNDS {
            let (result, missing) = {
                let looking = Looking::at(&fetched);
                let result = at(&looking);
                (result, looking.into_missing())
            };
            if missing.is_empty() {
                return result;
            }
            self.fetch(&mut reader, missing, &mut fetched).await.map_err(|trouble| unavailable(&trouble))?;
        }
        Err(unavailable(&"a look did not come to an end"))
    }

    async fn look_now<T: Send>(
        &self,
        at: impl Fn(&dyn Read) -> Result<T, Refusal> + Send + Sync,
    ) -> Result<T, Refusal> {
        let found = self.look(at).await?;
        if self.shared.settings.durability.proves_looks() {
            self.shared.proved().await?;
        }
        Ok(found)
    }

    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        self.submit(Work::Apply(event), now).await
    }

    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal> {
        self.submit(Work::Due(due), now).await
    }

    fn history(&self) -> HistoryId {
        *self.shared.history.read()
    }

    async fn still_mending(&self) -> Result<bool, Refusal> {
        let mut reader = self.shared.reader()?;
        let control = Texts::from(vec![self.shared.layout.control()]);
        let field = Texts::from(vec![b"row".to_vec(), b"mending".to_vec()]);
        let answers = reader.read(&control, &field).await.map_err(|trouble| unavailable(&trouble))?;
        let mending = answers.first().is_some_and(|answer| *answer != redis::Value::Nil);
        self.shared.signals.set_mending(mending);
        Ok(mending)
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

impl Drop for RedisBackend {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
