//! `taskpass store backup | restore | migrate`: the same copy of all rows, from one place to another.

use super::{Whose, load};
use crate::{
    compose,
    config::{Config, RedisConfig},
    error::{Exit, Failure},
    output::{Record, Style},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf};
use taskpass_store::{
    dump::{Backup, BackupWriter, Counts, DumpError, Head, Sink, Source, copy},
    journal::has_records,
};
use taskpass_store_redb as redb;
use taskpass_store_redis as redis;
use taskpass_types::LeaseId;

/// Write all that is in the store into one file
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass store backup taskpass.backup
  taskpass store backup taskpass.backup --config taskpass.toml

The file is made new, for your eyes only (mode 0600), and closed with a SHA-256 of all of it. There is no credential in it;
signing keys that a fleet shares are in it as they are in the store, sealed. The audit log is not in it.

A broker has its embedded store to itself: stop it first. A ledger in Redis is read while brokers serve, page by page, so
the backup is not of one moment; it says how many commits happened meanwhile. For one moment, stop the brokers.")]
pub(crate) struct BackUp {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    whose: Whose,
}

/// Make a store of a backup, where there is none
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass store restore taskpass.backup --config taskpass.toml
  taskpass store restore taskpass.backup --config taskpass.toml --yes

A restored store has forgotten every end since the backup. So keep it for when nothing better is left: an empty store is
safer, and agents start their tasks again. It begins a new history, so that verifiers take a snapshot. A fleet gets new
keys by itself, so that nothing signed before counts; with the embedded store move `keys` in the data directory away.

A file that was cut or changed is refused before anything is written (exit code 10), and so is a place where there is a
store already (exit code 6).")]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    whose: Whose,
    /// Yes, ends may be forgotten
    #[arg(short, long)]
    yes: bool,
}

/// Move all that is in one broker's store to where another configuration has it
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass store migrate --from taskpass.toml --to fleet.toml
  taskpass store migrate --from fleet.toml --to taskpass.toml --yes

Stop every broker of the old store first: what they end while it is copied would be forgotten. The old store stays as it
is; do not serve it again. The new one begins a new history, so that verifiers take a snapshot. Move the data directory's
audit log and keys along by yourself if the machine changes.")]
pub(crate) struct Migrate {
    /// The configuration that has the store now
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The configuration that is to have it
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Yes, all brokers are stopped
    #[arg(short, long)]
    yes: bool,
}

/// What was copied.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CopyView {
    from: String,
    to: String,
    /// As of when.
    time: String,
    /// Commits that happened while it was read.
    meanwhile: u64,
    total: u64,
    rows: BTreeMap<&'static str, u64>,
}

impl BackUp {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let config = self.whose.load()?;
        let (from, to) = (place(&config), self.file.display().to_string());
        let head = Head { at: session.now(), of: from.clone() };
        let time = head.at.to_string();
        let mut source = source(&config).await?;
        let mut sink = BackupWriter::create(&self.file, &head).map_err(|error| failure(&error))?;
        let counts = copy(&mut *source, &mut sink).await.map_err(|error| failure(&error))?;
        let meanwhile = source.meanwhile();
        session.out.one(&CopyView::new(from, to, time, meanwhile, &counts))?;
        if meanwhile > 0 {
            session.out.warn(&format!(
                "{meanwhile} commits happened while it was read, so this is not one moment; stop the brokers for one that is"
            ));
        }
        Ok(Exit::Done)
    }
}

impl Restore {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let config = self.whose.load()?;
        let mut backup = Backup::open(&self.file)
            .map_err(|error| failure(&error).id("file", &self.file.display().to_string()))?;
        let (head, id) = (backup.head().clone(), backup.id());
        let to = place(&config);
        let total: u64 = backup.counts().values().sum();
        session.out.warn(&format!(
            "this is {} as of {}, {total} rows; every end since then is forgotten, and what was killed could be issued again",
            head.of, head.at
        ));
        confirmed(session, self.yes, &format!("make a store of it in {to}?"))?;
        let mut sink = sink(&config, &id, true).await?;
        let counts = copy(&mut backup, &mut *sink).await.map_err(|error| failure(&error))?;
        session.out.one(&CopyView::new(head.of, to, head.at.to_string(), 0, &counts))?;
        match config.store.redis {
            None => session.out.hint(&format!(
                "move {} away, so that nothing signed before counts; then taskpass serve",
                config.data.keys().display()
            )),
            Some(_) => session
                .out
                .hint("taskpass serve; the first broker makes new keys, nothing signed before counts"),
        }
        Ok(Exit::Done)
    }
}

impl Migrate {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let (old, new) = (load(&self.from)?, load(&self.to)?);
        let (from, to) = (place(&old), place(&new));
        let time = session.now().to_string();
        let mut source = source(&old).await?;
        confirmed(
            session,
            self.yes,
            &format!("copy {from} to {to}? every broker of the old store has to be stopped"),
        )?;
        let mut sink = sink(&new, &LeaseId::new().to_string(), false).await?;
        let counts = copy(&mut *source, &mut *sink).await.map_err(|error| failure(&error))?;
        let meanwhile = source.meanwhile();
        session.out.one(&CopyView::new(from, to, time, meanwhile, &counts))?;
        if meanwhile > 0 {
            session.out.warn(&format!(
                "{meanwhile} commits happened while it was copied: a broker still runs on the old store, and what it ended may be missing"
            ));
            return Ok(Exit::Found);
        }
        session.out.hint(&format!("taskpass serve --config {}", self.to.display()));
        Ok(Exit::Done)
    }
}

fn place(config: &Config) -> String {
    match &config.store.redis {
        None => config.data.store().display().to_string(),
        Some(redis) => format!("ledger {}", redis.ledger),
    }
}

/// Rows without the ends that this machine keeps until the store writes again would have forgotten these.
fn no_end_waits(config: &Config) -> Result<(), Failure> {
    let path = config.data.revocations();
    if !has_records(&path)? {
        return Ok(());
    }
    let what = format!("ends wait in `{}` until the store writes again", path.display());
    Err(Failure::new(Exit::Conflict, what)
        .fix("start the broker: its first write brings them into the store"))
}

async fn source(config: &Config) -> Result<Box<dyn Source>, Failure> {
    no_end_waits(config)?;
    Ok(match &config.store.redis {
        None => Box::new(redb::Export::open(&config.data.store()).map_err(|error| failure(&error))?),
        Some(redis) => {
            let settings = settings(redis)?;
            Box::new(redis::Export::open(&settings).await.map_err(|error| failure(&error))?)
        }
    })
}

async fn sink(config: &Config, id: &str, ends_missing: bool) -> Result<Box<dyn Sink>, Failure> {
    Ok(match &config.store.redis {
        None => Box::new(redb::Import::begin(&config.data.store()).map_err(|error| failure(&error))?),
        Some(redis) => {
            let settings = settings(redis)?;
            let import = redis::Import::begin(&settings, id, ends_missing).await;
            Box::new(import.map_err(|error| failure(&error))?)
        }
    })
}

fn settings(config: &RedisConfig) -> Result<redis::Settings, Failure> {
    compose::settings(config).map_err(|error| Failure::usage(error.to_string()))
}

fn failure(error: &DumpError) -> Failure {
    let exit = match error {
        DumpError::Damaged(_) | DumpError::Foreign | DumpError::Version { .. } => Exit::Found,
        DumpError::Io(_) => Exit::Unexpected,
        DumpError::NotEmpty(_) => Exit::Conflict,
        DumpError::Store { .. } => Exit::Unavailable,
    };
    Failure::new(exit, error.to_string()).fix(error.fix())
}

/// Whoever is not asked, and did not say so beforehand, has not agreed.
fn confirmed(session: &Session, yes: bool, question: &str) -> Result<(), Failure> {
    let agreed = yes || (session.out.can_ask() && session.out.ask(question)?);
    if agreed {
        Ok(())
    } else {
        Err(Failure::usage("nobody confirmed it; nothing was written").fix("add --yes"))
    }
}

impl CopyView {
    fn new(from: String, to: String, time: String, meanwhile: u64, counts: &Counts) -> Self {
        let rows: BTreeMap<_, _> = counts.iter().map(|(table, count)| (table.name(), *count)).collect();
        Self { from, to, time, meanwhile, total: rows.values().sum(), rows }
    }
}

impl Record for CopyView {
    const KIND: &'static str = "StoreCopy";
    const COLUMNS: &'static [&'static str] = &["FROM", "TO", "TIME", "ROWS"];

    fn name(&self) -> String {
        self.to.clone()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.from.clone(), self.to.clone(), self.time.clone(), self.total.to_string()]
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        let rows = self.rows.iter().map(|(table, count)| format!("{table} {count}"));
        vec![
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("as of", self.time.clone()),
            ("rows", format!("{}: {}", self.total, rows.collect::<Vec<_>>().join(", "))),
        ]
    }
}
