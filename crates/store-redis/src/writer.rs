//! The one task that writes: finds the ledger, makes sure that its past is the one we know, then commits batches.

use crate::{
    batch::Commit,
    error::{Trouble, outcome_unknown, unavailable},
    layout::Layout,
    ledger::{Failed, Known, Ledger, Results, Said},
    link::Link,
    news::Heard,
    scripts::{Caller, Confirmation},
    settings::Settings,
};
use parking_lot::RwLock;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use taskpass_lease::Limits;
use taskpass_store::{Job, Signals};
use taskpass_types::{HistoryId, Refusal};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How many transitions may wait in one lane.
pub(crate) const LANE: usize = 4096;
/// How many transitions share one commit.
const BATCH: usize = 256;
/// How often a link that has nothing to write proves that it still could.
const BEAT: Duration = Duration::from_millis(500);
/// How old the last proof may be for what is read to count.
const PROOF: Duration = Duration::from_secs(2);
/// How long an unknown outcome is looked after before it is reported.
const DOUBT: Duration = Duration::from_secs(2);
/// How long to wait before the ledger is looked for again.
const AGAIN: Duration = Duration::from_millis(100);
/// How often a broker that starts looks again because others were faster.
const OVERTAKEN: usize = 30;
/// How long an end waits for a ledger to come back before its caller is told that there is none.
const ENDS_WAIT: Duration = Duration::from_secs(2);

/// What the writer and those who look share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    pub(crate) signals: Signals,
    /// `None` while there is no ledger that we may speak for.
    pub(crate) serving: RwLock<Option<Serving>>,
    pub(crate) history: RwLock<HistoryId>,
    /// How many looks wait to be proved, so far.
    pub(crate) looks: AtomicU64,
    pub(crate) proofs: watch::Sender<Proofs>,
    /// Somebody waits for a proof.
    pub(crate) asked: Notify,
    pub(crate) news: Heard,
    /// Somebody found the link broken.
    pub(crate) broken: Notify,
    pub(crate) closing: CancellationToken,
}

/// Which looks are proved: those up to `looked` on this link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Proofs {
    pub(crate) link: u64,
    pub(crate) looked: u64,
}

/// A link that looks may use.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) reader: Caller,
    pub(crate) client: redis::Client,
    proved: Instant,
}

impl Shared {
    /// The connection for reads, while what it says is known to be recent.
    pub(crate) fn reader(&self) -> Result<Caller, Refusal> {
        let serving = self.serving.read();
        let serving = serving.as_ref().ok_or_else(|| unavailable(&"it is not reached, or is recovering"))?;
        if serving.proved.elapsed() > PROOF {
            return Err(unavailable(&"its primary did not confirm a write for too long"));
        }
        Ok(serving.reader.clone())
    }

    pub(crate) fn confirmation(&self, takes_away: bool) -> Confirmation {
        Confirmation::of(&self.settings, takes_away)
    }

    /// A write that was begun when `looked` looks were made is confirmed: none of them saw a primary that was replaced.
    fn prove(&self, looked: u64) {
        if let Some(serving) = self.serving.write().as_mut() {
            serving.proved = now();
        }
        self.proofs.send_modify(|proofs| proofs.looked = looked);
    }

    /// Waits until a write that begins after this is confirmed on the link that is served now.
    pub(crate) async fn proved(&self) -> Result<(), Refusal> {
        let mut proofs = self.proofs.subscribe();
        let link = proofs.borrow_and_update().link;
        let look = self.looks.fetch_add(1, Ordering::AcqRel) + 1;
        self.asked.notify_one();
        let proved = proofs.wait_for(|proofs| proofs.link != link || proofs.looked >= look);
        let in_time = tokio::time::timeout(self.settings.patience.saturating_mul(2), proved).await;
        match in_time {
            Ok(Ok(proofs)) if proofs.link == link => Ok(()),
            _ => Err(unavailable(&"its primary did not confirm in time that it still is the primary")),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "bounds how old a proof is; no lease rests on it")]
fn now() -> Instant {
    Instant::now()
}

/// A commit whose outcome is unknown, and whoever waits for it.
struct Doubt {
    commit: Commit,
    jobs: Vec<Job>,
    results: Results,
    since: Instant,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    urgent: mpsc::Receiver<Job>,
    ordinary: mpsc::Receiver<Job>,
    ledger: Ledger,
    doubt: Option<Doubt>,
    /// Since when there is no ledger.
    down: Option<Instant>,
    /// Ends of a batch of which nothing was written, to be tried again.
    late: Vec<Job>,
    /// Since when there have been any.
    late_since: Option<Instant>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        urgent: mpsc::Receiver<Job>,
        ordinary: mpsc::Receiver<Job>,
        ledger: Ledger,
    ) -> Self {
        Self { shared, urgent, ordinary, ledger, doubt: None, down: None, late: Vec::new(), late_since: None }
    }

    /// Finds the ledger and makes it one that may be served.
    pub(crate) async fn begin(&mut self) -> Result<Link, Trouble> {
        let shared = self.shared.clone();
        let mut link = Link::open(&shared.settings, &shared.layout.control()).await?;
        let before = self.ledger.known.clone();
        let history = match self.take_up(&mut link, before.as_ref()).await {
            Ok(history) => history,
            Err(trouble) => {
                self.ledger.back_to(before);
                return Err(trouble);
            }
        };
        *shared.history.write() = history;
        let generation = self.ledger.known.as_ref().map_or("", |known| &known.generation);
        let reader = link.reader.clone().fenced(shared.layout.control(), generation);
        *shared.serving.write() = Some(Serving { reader, client: link.client.clone(), proved: now() });
        shared.proofs.send_modify(|proofs| proofs.link += 1);
        self.down = None;
        // Whatever happened while nobody looked.
        shared.signals.tell_all();
        Ok(link)
    }

    /// The first time: brokers of a fleet that start together overtake each other, which is no reason to give up.
    pub(crate) async fn begin_first(&mut self) -> Result<Link, Trouble> {
        for _ in 0..OVERTAKEN {
            match self.begin().await {
                Err(Trouble::Overtaken(_)) => tokio::time::sleep(AGAIN).await,
                begun => return begun,
            }
        }
        self.begin().await
    }

    async fn take_up(&mut self, link: &mut Link, before: Option<&Known>) -> Result<HistoryId, Trouble> {
        let shared = self.shared.clone();
        let (history, newest) = self.ledger.take_up(&shared, link).await?;
        self.settle_doubt(link, before, &newest).await?;
        // Who cannot write may be talking to a primary that was replaced: nothing is told before that is known.
        self.confirm(link).await?;
        Ok(history)
    }

    /// Serves until the store is closed.
    pub(crate) async fn run(mut self, first: Link) {
        let mut link = Some(first);
        let mut said = String::new();
        while !self.shared.closing.is_cancelled() {
            let result = match link.take() {
                Some(link) => self.serve(link).await,
                None => self.begin().await.map(|found| {
                    tracing::info!("the ledger is served again");
                    said.clear();
                    link = Some(found);
                }),
            };
            let Err(trouble) = result else { continue };
            *self.shared.serving.write() = None;
            self.down.get_or_insert_with(now);
            let says = trouble.to_string();
            if says != said {
                tracing::warn!(why = %says, "the ledger is not served; looking for it");
                said = says;
            }
            self.refuse_for(AGAIN).await;
        }
        *self.shared.serving.write() = None;
    }

    /// Commits batches until something goes wrong.
    async fn serve(&mut self, mut link: Link) -> Result<(), Trouble> {
        let shared = self.shared.clone();
        loop {
            let late = !self.late.is_empty();
            let first = tokio::select! {
                biased;
                () = std::future::ready(()), if late => None,
                job = self.urgent.recv() => Some(job),
                job = self.ordinary.recv() => Some(job),
                () = shared.closing.cancelled() => return Ok(()),
                () = shared.asked.notified() => None,
                () = shared.broken.notified() => return Err(Trouble::Refused("a read failed".to_owned())),
                () = tokio::time::sleep(BEAT) => None,
            };
            let mut jobs = std::mem::take(&mut self.late);
            match first {
                Some(None) => return Ok(()),
                Some(Some(job)) => jobs.push(job),
                None => {}
            }
            while jobs.len() < BATCH {
                let Ok(job) = self.urgent.try_recv().or_else(|_| self.ordinary.try_recv()) else { break };
                jobs.push(job);
            }
            if *shared.signals.mending().borrow() {
                let (may, may_not) = jobs.into_iter().partition(Job::may_while_mending);
                refuse(
                    may_not,
                    &Trouble::Refused("it has lost something and is being made whole".to_owned()),
                );
                jobs = may;
            }
            self.transact(&mut link, jobs).await?;
        }
    }

    async fn transact(&mut self, link: &mut Link, jobs: Vec<Job>) -> Result<(), Trouble> {
        let shared = self.shared.clone();
        let looked = shared.looks.load(Ordering::Acquire);
        match self.ledger.commit(&shared, link, &jobs).await {
            Ok(results) => {
                shared.prove(looked);
                self.late_since = None;
                self.done(jobs, results);
                Ok(())
            }
            Err(Failed::Busy) => {
                let why = "others changed the same records again and again";
                refuse(jobs, &Trouble::Refused(why.to_owned()));
                Ok(())
            }
            Err(Failed::Maybe(trouble, commit, results)) => {
                self.doubt = Some(Doubt { commit: *commit, jobs, results, since: now() });
                Err(trouble)
            }
            Err(Failed::Not(trouble)) if !trouble.breaks_link() && !jobs.is_empty() => {
                self.transact_apart(link, jobs, trouble).await
            }
            Err(Failed::Not(trouble)) => {
                self.put_off(jobs, &trouble);
                Err(trouble)
            }
        }
    }

    /// One of these needs what nobody can have; the others need not suffer for it.
    async fn transact_apart(
        &mut self,
        link: &mut Link,
        mut jobs: Vec<Job>,
        trouble: Trouble,
    ) -> Result<(), Trouble> {
        if jobs.len() == 1 {
            refuse(jobs, &trouble);
            return Ok(());
        }
        let rest = jobs.split_off(jobs.len() / 2);
        let first = Box::pin(self.transact(link, jobs)).await;
        if let Err(trouble) = first {
            self.put_off(rest, &trouble);
            return Err(trouble);
        }
        Box::pin(self.transact(link, rest)).await
    }

    /// Finds out about a commit of unknown outcome, in a ledger that was taken up. `newest` is this broker's newest
    /// operation in it. If that is the one, a write confirmed after it confirms it too; if not, it is sent again while
    /// nothing can have come between: under the same operation id it happens at most once.
    async fn settle_doubt(
        &mut self,
        link: &mut Link,
        before: Option<&Known>,
        newest: &[u8],
    ) -> Result<(), Trouble> {
        let Some(doubt) = self.doubt.take() else { return Ok(()) };
        let shared = self.shared.clone();
        let said = if doubt.commit.operation() == Some(newest) {
            self.confirm(link).await.map(|()| Said::Done)
        } else if before.map(|known| &known.generation)
            == self.ledger.known.as_ref().map(|known| &known.generation)
        {
            self.ledger.send(&shared, link, &doubt.commit, true).await
        } else {
            Ok(Said::Fenced)
        };
        match said {
            Ok(Said::Done) => self.done(doubt.jobs, doubt.results),
            Ok(Said::Fenced | Said::Mending | Said::Stale(_)) => {
                refuse(
                    doubt.jobs,
                    &Trouble::Refused("the write was lost; nothing of it happened".to_owned()),
                );
            }
            Err(trouble) => {
                self.doubt = Some(doubt);
                return Err(trouble);
            }
        }
        Ok(())
    }

    /// Makes a write that changes nothing, and waits until it is confirmed: so is all that was written before it.
    async fn confirm(&mut self, link: &mut Link) -> Result<(), Trouble> {
        let shared = self.shared.clone();
        match self.ledger.commit(&shared, link, &[]).await {
            Ok(_) => Ok(()),
            Err(Failed::Busy) => Err(Trouble::Refused("the ledger takes no writes".to_owned())),
            Err(Failed::Maybe(trouble, ..) | Failed::Not(trouble)) => Err(trouble),
        }
    }

    /// Nothing of these was written: ends are tried again for a while, the others refused.
    fn put_off(&mut self, jobs: Vec<Job>, trouble: &Trouble) {
        let (ends, others): (Vec<Job>, _) = jobs.into_iter().partition(Job::urgent);
        refuse(others, trouble);
        if self.late_since.is_some_and(|since| since.elapsed() >= ENDS_WAIT) {
            self.late_since = None;
            refuse(ends, trouble);
        } else if !ends.is_empty() {
            self.late_since.get_or_insert_with(now);
            self.late.extend(ends);
        }
    }

    fn done(&self, jobs: Vec<Job>, results: Results) {
        for (job, result) in jobs.into_iter().zip(results) {
            job.answer(result.map(taskpass_store::Pending::committed));
        }
    }

    /// While there is no ledger, whoever asks is told so. Ends wait a little, since they may still get through.
    async fn refuse_for(&mut self, time: Duration) {
        if let Some(doubt) = self.doubt.take_if(|doubt| doubt.since.elapsed() > DOUBT) {
            for job in doubt.jobs {
                job.answer(Err(outcome_unknown()));
            }
        }
        let gone = Trouble::Refused("it is not reached, or is recovering".to_owned());
        if self.late_since.is_some_and(|since| since.elapsed() >= ENDS_WAIT) {
            self.late_since = None;
            refuse(std::mem::take(&mut self.late), &gone);
        }
        let patient = self.down.is_none_or(|since| since.elapsed() < ENDS_WAIT);
        let (urgent, ordinary) = (&mut self.urgent, &mut self.ordinary);
        let refusing = async {
            loop {
                tokio::select! {
                    Some(job) = ordinary.recv() => refuse(vec![job], &gone),
                    Some(job) = urgent.recv(), if !patient => refuse(vec![job], &gone),
                    else => return,
                }
            }
        };
        tokio::select! {
            () = self.shared.closing.cancelled() => {}
            done = tokio::time::timeout(time, refusing) => drop(done),
        }
    }
}

fn refuse(jobs: Vec<Job>, trouble: &Trouble) {
    for job in jobs {
        job.answer(Err(unavailable(trouble)));
    }
}
