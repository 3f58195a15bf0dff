//! `taskpass store info`: what the store is and how much is in it.

use super::Whose;
use crate::{
    compose,
    config::{Config, RedisConfig},
    error::{Exit, Failure},
    output::{Record, Style},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use taskpass_store_redb as redb;
use taskpass_store_redis as redis;

/// Show what the store is and how much is in it
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass store info
  taskpass store info --config taskpass.toml -o json

Exit code 7 when it cannot be reached; `taskpass store check` says why.")]
pub(crate) struct Info {
    #[command(flatten)]
    whose: Whose,
}

/// A store; what does not apply to its kind, or cannot be seen while a broker has it, is empty.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct InfoView {
    /// `embedded` or `redis`.
    kind: &'static str,
    place: String,
    server: String,
    run: String,
    replicas: u32,
    ledger: String,
    generation: String,
    at_home: bool,
    history: String,
    commits: u64,
    ends: u64,
    in_use: bool,
    bytes: u64,
    rows: BTreeMap<&'static str, u64>,
    pages: BTreeMap<&'static str, u64>,
}

impl Info {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let config = self.whose.load()?;
        let view = match &config.store.redis {
            Some(redis) => shared(redis).await?,
            None => embedded(&config)?,
        };
        session.out.one(&view)?;
        session.out.hint("taskpass store check");
        Ok(Exit::Done)
    }
}

fn embedded(config: &Config) -> Result<InfoView, Failure> {
    let path = config.data.store();
    let view = InfoView {
        kind: "embedded",
        place: path.display().to_string(),
        bytes: redb::check::size(&path),
        ..InfoView::default()
    };
    match redb::check::about(&path) {
        Ok(about) => Ok(InfoView {
            history: about.history.to_string(),
            rows: about.rows.into_iter().collect(),
            ..view
        }),
        Err(redb::OpenError::InUse(_)) => Ok(InfoView { in_use: true, ..view }),
        Err(error) => Err(Failure::new(Exit::Unavailable, error.to_string()).fix(error.fix())),
    }
}

async fn shared(config: &RedisConfig) -> Result<InfoView, Failure> {
    let settings = compose::settings(config).map_err(|error| Failure::usage(error.to_string()))?;
    let about = redis::check::about(&settings)
        .await
        .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()).fix(error.fix()))?;
    Ok(InfoView {
        kind: "redis",
        place: about.address,
        server: about.server,
        run: about.run,
        replicas: about.replicas,
        ledger: settings.ledger,
        generation: about.generation.unwrap_or_default(),
        at_home: about.at_home,
        history: about.history.map(|history| history.to_string()).unwrap_or_default(),
        commits: about.sequence,
        ends: about.denied,
        bytes: about.memory,
        pages: about.pages.into_iter().collect(),
        ..InfoView::default()
    })
}

impl InfoView {
    fn is_redis(&self) -> bool {
        self.kind == "redis"
    }

    fn counts(counts: &BTreeMap<&'static str, u64>) -> String {
        counts.iter().map(|(table, count)| format!("{table} {count}")).collect::<Vec<_>>().join(", ")
    }
}

impl Record for InfoView {
    const KIND: &'static str = "StoreInfo";
    const COLUMNS: &'static [&'static str] = &["KIND", "PLACE", "HISTORY"];

    fn name(&self) -> String {
        self.place.clone()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.kind.to_owned(), self.place.clone(), self.history.clone()]
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        let only = |text: String| if self.is_redis() { text } else { String::new() };
        let generation = match (self.generation.as_str(), self.at_home) {
            ("", _) => "none yet; the first broker begins it".to_owned(),
            (generation, true) => generation.to_owned(),
            (generation, false) => format!("{generation}, begun for another server"),
        };
        vec![
            ("store", format!("{}, {}", self.kind, self.place)),
            ("server", self.server.clone()),
            ("run", self.run.clone()),
            ("replicas", only(self.replicas.to_string())),
            ("ledger", self.ledger.clone()),
            ("generation", only(generation)),
            ("history", self.history.clone()),
            ("commits", only(format!("{}, {} with ends", self.commits, self.ends))),
            (
                "in use",
                if self.in_use {
                    "by a broker that runs; the rest is not visible".to_owned()
                } else {
                    String::new()
                },
            ),
            ("memory", only(format!("{} KiB, all that is on the server", self.bytes >> 10))),
            ("size", if self.is_redis() { String::new() } else { format!("{} KiB", self.bytes >> 10) }),
            ("rows", Self::counts(&self.rows)),
            ("pages", Self::counts(&self.pages)),
        ]
    }
}
