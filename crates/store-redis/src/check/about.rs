//! What the ledger is: its generation, its history, how much is in it.

use super::{Mark, Report, section, server};
use crate::{
    error::Trouble,
    fetch::texts,
    layout::{Layout, has_directory},
    link::Link,
    scripts::{Confirmation, Script},
    settings::Settings,
    texts::Texts,
};
use redis::Value;
use std::collections::HashMap;
use taskpass_store::tables::Table;
use taskpass_types::HistoryId;

/// A ledger, as it is now.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The server: what, which version.
    pub server: String,
    /// Where it is.
    pub address: String,
    /// Which run of it this is.
    pub run: String,
    /// How many replicas follow it.
    pub replicas: u32,
    /// Bytes that the server uses, for all that is on it.
    pub memory: u64,
    /// The ledger's generation; `None`: no broker has begun one.
    pub generation: Option<String>,
    /// In which its epochs count.
    pub history: Option<HistoryId>,
    /// Whether its generation was begun for the server that was found.
    pub at_home: bool,
    /// How many commits there were.
    pub sequence: u64,
    /// How many of them had a deny record.
    pub denied: u64,
    /// How many pages tables have that are read in order.
    pub pages: Vec<(&'static str, u64)>,
}

impl About {
    pub(super) async fn read(settings: &Settings, link: &mut Link) -> Result<Self, Trouble> {
        let layout = Layout::new(&settings.ledger);
        let server = section(link, "server").await?;
        let fields = control(link, &layout).await?;
        let text = |name: &[u8]| {
            fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let number = |name: &[u8]| text(name).parse().unwrap_or_default();
        let memory = section(link, "memory").await?;
        Ok(Self {
            server: server::version(&server),
            address: link.client.get_connection_info().addr().to_string(),
            run: server.get("run_id").cloned().unwrap_or_default(),
            replicas: server::online(&section(link, "replication").await?),
            memory: memory.get("used_memory").and_then(|bytes| bytes.parse().ok()).unwrap_or_default(),
            generation: fields.contains_key(&b"generation"[..]).then(|| text(b"generation")),
            history: fields
                .get(&b"history"[..])
                .and_then(|bytes| bytes.first_chunk())
                .copied()
                .map(HistoryId),
            at_home: text(b"home") == link.home,
            sequence: number(b"sequence"),
            denied: number(b"denied"),
            pages: pages(link, &layout).await?,
        })
    }

    /// What a check says of it.
    pub(super) fn say(&self, report: &mut Report) {
        let Some(generation) = &self.generation else {
            report.ok("ledger", "empty; the first broker begins it");
            return;
        };
        let history = self.history.map(|history| history.to_string()).unwrap_or_default();
        let home = if self.at_home { "begun for this server" } else { "begun for another server" };
        let seen = format!(
            "generation {generation}, {home}, history {history}, {} commits, {} with ends",
            self.sequence, self.denied
        );
        if self.at_home {
            report.ok("ledger", seen);
        } else {
            let fix = "let a broker run: it writes its ends again, and begins a generation for this server";
            report.say(Mark::Warn, "ledger", seen, fix);
        }
        let pages = self.pages.iter().map(|(table, count)| format!("{table} {count}"));
        report.ok("pages", pages.collect::<Vec<_>>().join(", "));
    }
}

/// The control hash, as it is.
pub(crate) async fn control(link: &mut Link, layout: &Layout) -> Result<HashMap<Vec<u8>, Vec<u8>>, Trouble> {
    let answers =
        link.writer.read(&Texts::from(vec![layout.control()]), &Texts::from(vec![b"rows".to_vec()])).await?;
    let mut texts = texts(answers.into_iter().next().unwrap_or(Value::Nil))?.into_iter();
    let mut fields = HashMap::new();
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        fields.insert(field, value);
    }
    Ok(fields)
}

async fn pages(link: &mut Link, layout: &Layout) -> Result<Vec<(&'static str, u64)>, Trouble> {
    let tables: Vec<Table> = Table::ALL.into_iter().filter(|table| has_directory(*table)).collect();
    let mut keys = vec![layout.probe()];
    keys.extend(tables.iter().map(|table| layout.directory(*table)));
    let alone = Confirmation { replicas: 0, patience_millis: 0 };
    let written =
        link.writer.write(Script::Probe, &keys, &[&Texts::from(vec![b"about".to_vec()])], alone).await?;
    let counts = written.answer.iter().skip(1).map(|count| {
        std::str::from_utf8(count).ok().and_then(|count| count.parse().ok()).unwrap_or_default()
    });
    Ok(tables.iter().map(|table| table.name()).zip(counts).collect())
}
