//! The ledger as one broker knows it, and the commit of a batch into it.

use crate::{
    batch::{self, Commit},
    draft::{Fetched, Key, Stamp},
    error::Trouble,
    journal::{End, Journal},
    link::Link,
    news::News,
    scripts::Script,
    texts::Texts,
    writer::Shared,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fs, io, path::Path};
use taskpass_store::{Job, Pending};
use taskpass_types::{LeaseId, Refusal};

/// How often a batch is run again because others changed what it rests on.
const RERUNS: usize = 32;

/// What a broker knows of its ledger.
pub(crate) struct Ledger {
    broker: String,
    life: [u8; 4],
    operations: u32,
    pub(crate) journal: Option<Journal>,
    pub(crate) known: Option<Known>,
    /// The number of the newest generation that was ever known here.
    pub(crate) newest: u64,
}

/// The ledger as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) generation: String,
    pub(crate) home: String,
    pub(crate) sequence: u64,
}

/// What became of each transition of a batch.
pub(crate) type Results = Vec<Result<Pending, Refusal>>;

/// Why a batch was not committed.
pub(crate) enum Failed {
    /// Others were always faster; nothing was written.
    Busy,
    /// It may have been.
    Maybe(Trouble, Box<Commit>, Results),
    /// Nothing was written, and the link is of no use any more.
    Not(Trouble),
}

/// What a commit said.
pub(crate) enum Said {
    Done,
    Fenced,
    Mending,
    Stale(Vec<usize>),
}

impl Ledger {
    /// With the journal of ends in `dir`.
    pub(crate) fn open(dir: Option<&Path>) -> io::Result<Self> {
        let id = LeaseId::new();
        let mut life = [0; 4];
        // The random end of an id.
        for (to, from) in life.iter_mut().zip(id.as_bytes().iter().rev()) {
            *to = *from;
        }
        let journal = dir.map(Journal::open).transpose()?;
        let broker = dir.map_or_else(|| Ok(id.to_string()), |dir| named(&dir.join("broker"), &id))?;
        Ok(Self { broker, life, operations: 0, journal, known: None, newest: 0 })
    }

    pub(crate) fn broker(&self) -> &str {
        &self.broker
    }

    /// Runs `jobs` and writes what follows, all of it or nothing. Without jobs it only proves that it could.
    pub(crate) async fn commit(
        &mut self,
        shared: &Shared,
        link: &mut Link,
        jobs: &[Job],
    ) -> Result<Results, Failed> {
        let mut fetched = Fetched::default();
        for _ in 0..RERUNS {
            let ran = batch::run(&mut link.writer, &shared.layout, &shared.limits, jobs, &mut fetched);
            let ran = ran.await.map_err(Failed::Not)?;
            if !jobs.is_empty() && ran.results.iter().all(Result::is_err) && ran.drafted.changes.is_empty() {
                return Ok(ran.results);
            }
            let stamp = self.next_stamp();
            let commit = Commit::of(&shared.layout, &ran.drafted, &fetched, stamp);
            let commit = commit.headed(self.head(shared, stamp, jobs, &ran.results));
            self.keep(&ran.results);
            let takes_away = jobs.is_empty() || jobs.iter().any(Job::takes_away);
            match self.send(shared, link, &commit, takes_away).await {
                Ok(Said::Done) => {
                    if jobs.iter().any(Job::mends) {
                        shared.signals.set_mending(false);
                    }
                    return Ok(ran.results);
                }
                Ok(Said::Stale(checks)) => forget(&mut fetched, &ran.drafted.checks, &checks),
                Ok(Said::Fenced) => return Err(Failed::Not(fenced())),
                Ok(Said::Mending) => {
                    shared.signals.set_mending(true);
                    return Err(Failed::Busy);
                }
                Err(trouble @ Trouble::Unknown(_)) => {
                    return Err(Failed::Maybe(trouble, Box::new(commit), ran.results));
                }
                Err(trouble) => return Err(Failed::Not(trouble)),
            }
        }
        Err(Failed::Busy)
    }

    /// Sends a commit; it may be sent again, on another link too, and happens at most once.
    pub(crate) async fn send(
        &mut self,
        shared: &Shared,
        link: &mut Link,
        commit: &Commit,
        takes_away: bool,
    ) -> Result<Said, Trouble> {
        let confirmation = shared.confirmation(takes_away);
        let written = link
            .writer
            .write(Script::Commit, &commit.keys, &[&commit.head, &commit.body], confirmation)
            .await?;
        let mut parts = written.answer.into_iter();
        match parts.next().as_deref() {
            Some(b"done") => {
                let mut number = || parts.next().and_then(|number| parse(&number)).unwrap_or_default();
                let (sequence, news) = (number(), News { denied: number(), approvals: number() });
                match written.confirmed {
                    true => {
                        if let Some(known) = &mut self.known {
                            known.sequence = known.sequence.max(sequence);
                        }
                        shared.news.hear(news, &shared.signals);
                        Ok(Said::Done)
                    }
                    false => Err(Trouble::Unknown("too few replicas confirmed the write".to_owned())),
                }
            }
            Some(b"fenced") => Ok(Said::Fenced),
            Some(b"mending") => Ok(Said::Mending),
            Some(b"stale") => {
                let numbers = parts.filter_map(|number| parse(&number));
                Ok(Said::Stale(numbers.filter_map(|number| usize::try_from(number).ok()).collect()))
            }
            _ => Err(Trouble::unexpected("a commit said neither yes nor no")),
        }
    }

    /// What a commit begins with: generation, broker, operation; whether others are told; and whether it may be made in a
    /// ledger that has lost something.
    fn head(&self, shared: &Shared, stamp: Stamp, jobs: &[Job], results: &Results) -> Texts {
        let generation = self.known.as_ref().map_or("", |known| &known.generation);
        let news = |tells: fn(&Pending) -> bool| results.iter().flatten().any(tells);
        let told = match (news(|pending| pending.deny().is_some()), news(Pending::changes_approval)) {
            (false, false) => "",
            (true, false) => "denied",
            (false, true) => "approval",
            (true, true) => "both",
        };
        let leave = match jobs {
            _ if jobs.iter().any(Job::mends) => "mends",
            [] => "ends",
            _ if jobs.iter().all(Job::may_while_mending) => "ends",
            _ => "any",
        };
        let channel = shared.layout.channel();
        let (generation, broker) = (generation.as_bytes(), self.broker.as_bytes());
        [generation, broker, &stamp, &channel, told.as_bytes(), leave.as_bytes()].into_iter().collect()
    }

    /// Ends are durable with us before they are sent. A journal that cannot take them keeps none of them back: the ledger
    /// takes them all the same.
    fn keep(&mut self, results: &Results) {
        let end =
            |pending: &Pending| Some(End::new(pending.deny()?.clone(), pending.holds(), pending.held()));
        let ends: Vec<End> = results.iter().flatten().filter_map(end).collect();
        let (Some(journal), Some(known)) = (&mut self.journal, &self.known) else { return };
        let Some(now) = ends.iter().map(|end| end.deny.at).max() else { return };
        if let Err(error) = journal.keep(known, ends, now) {
            tracing::error!(%error, "the journal of ends cannot take an end; only the ledger has it");
        }
    }

    /// Unique among all brokers and all times.
    fn next_stamp(&mut self) -> Stamp {
        self.operations = self.operations.wrapping_add(1);
        let mut stamp = Stamp::default();
        for (to, from) in stamp.iter_mut().zip(self.life.iter().chain(&self.operations.to_be_bytes())) {
            *to = *from;
        }
        stamp
    }
}

/// The name that a broker keeps for as long as its directory.
fn named(path: &Path, new: &LeaseId) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(path, new.to_string())?;
            Ok(new.to_string())
        }
        name => name,
    }
}

fn fenced() -> Trouble {
    Trouble::Overtaken("the ledger has another generation by now")
}

fn parse(number: &[u8]) -> Option<u64> {
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// What is stale is fetched anew, and so is every range.
fn forget(fetched: &mut Fetched, checks: &BTreeSet<Key>, stale: &[usize]) {
    fetched.sweeps.clear();
    for (number, key) in checks.iter().enumerate() {
        if stale.contains(&(number + 1)) {
            fetched.rows.remove(key);
        }
    }
}
