//! Whether the ledger that was found is the one that was left, and what to do when it is not.
//!
//! A ledger's control hash has a generation, the home that it is served from, the history that its epochs count in, and a
//! sequence that grows with every commit. Another home (a replica was promoted, the server was started anew) or another
//! generation is another past until shown otherwise: this broker writes its own ends into it again, and a home that no
//! generation was begun for gets one. Commits carry their generation, so that none that was under way before gets in; and a
//! new generation is a new history, so that verifiers do not trust epochs that may have been given twice.

use crate::{
    error::Trouble,
    fetch::texts,
    ledger::{Failed, Known, Ledger},
    link::Link,
    news::News,
    scripts::{Confirmation, Script},
    writer::Shared,
};
use redis::Value;
use std::collections::HashMap;
use taskpass_store::{Job, Work};
use taskpass_types::{HistoryId, LeaseId};

/// How many ends are written again in one commit.
const SLICE: usize = 256;

/// The ledger as it is found.
#[derive(Debug, Default)]
struct Found {
    generation: Option<String>,
    home: String,
    history: Option<HistoryId>,
    sequence: u64,
    news: News,
}

impl Ledger {
    /// Makes the ledger behind `link` one that may be served; says in which history its epochs count.
    pub(crate) async fn take_up(&mut self, shared: &Shared, link: &mut Link) -> Result<HistoryId, Trouble> {
        let found = look(shared, link).await?;
        let before = self.known.clone();
        let generation = found.generation.clone().unwrap_or_default();
        let (home, sequence) = (link.home.clone(), found.sequence);
        shared.news.begin(found.news, &shared.signals);
        self.known = Some(Known { generation: generation.clone(), home, sequence });
        let same_home = found.home == link.home;
        match found.history {
            Some(history) if same_home && before == self.known => return Ok(history),
            _ if found.generation.is_some() => self.write_again(shared, link).await?,
            _ => {}
        }
        match found.history {
            Some(history) if same_home => Ok(history),
            _ => self.begin_generation(shared, link, &generation).await,
        }
    }

    /// Writes the ends of this broker into a ledger that may not have them. What it has stays as it is.
    async fn write_again(&mut self, shared: &Shared, link: &mut Link) -> Result<(), Trouble> {
        let ends = match (&self.journal, &self.known) {
            (Some(journal), Some(known)) if journal.past() != Some(&known.past()) => journal.ends(),
            _ => return Ok(()),
        };
        for slice in ends.chunks(SLICE) {
            let job = |(event, at): &(taskpass_lease::Event, _)| Job::new(Work::Apply(event.clone()), *at).0;
            let jobs: Vec<Job> = slice.iter().map(job).collect();
            match self.commit(shared, link, &jobs).await {
                Ok(_) => {}
                Err(Failed::Busy) => return Err(Trouble::Refused("others are faster".to_owned())),
                Err(Failed::Maybe(trouble, ..) | Failed::Not(trouble)) => return Err(trouble),
            }
        }
        if !ends.is_empty() {
            tracing::warn!(
                ends = ends.len(),
                "the ledger has another past; our ends were written into it again"
            );
        }
        Ok(())
    }

    async fn begin_generation(
        &mut self,
        shared: &Shared,
        link: &mut Link,
        old: &str,
    ) -> Result<HistoryId, Trouble> {
        // An id's bytes serve: 74 random bits, never used twice.
        let history = HistoryId(*LeaseId::new().as_bytes());
        let new = next(old);
        let arguments = [old, new.as_str(), link.home.as_str()].map(|text| text.as_bytes().to_vec());
        let arguments = [&arguments[..], &[history.0.to_vec()]].concat();
        let confirmation: Confirmation = shared.confirmation();
        let written =
            link.writer.write(Script::Adopt, &[shared.layout.control()], &arguments, confirmation).await?;
        match written.answer.first().map(Vec::as_slice) {
            Some(b"done") if written.confirmed => {}
            Some(b"done") => {
                return Err(Trouble::Unknown("too few replicas confirmed the generation".to_owned()));
            }
            _ => return Err(Trouble::Refused("another broker begins a generation".to_owned())),
        }
        tracing::info!(generation = %new, home = %link.home, "a generation of the ledger begins");
        if let Some(known) = &mut self.known {
            known.generation = new;
        }
        Ok(history)
    }
}

async fn look(shared: &Shared, link: &mut Link) -> Result<Found, Trouble> {
    let answers = link.writer.read(vec![shared.layout.control()], vec![b"rows".to_vec()]).await?;
    let mut texts = texts(answers.into_iter().next().unwrap_or(Value::Nil))?.into_iter();
    let mut fields = HashMap::new();
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        fields.insert(field, value);
    }
    let text = |name: &[u8]| fields.get(name).and_then(|value| String::from_utf8(value.clone()).ok());
    let number = |name: &[u8]| text(name).and_then(|number| number.parse().ok()).unwrap_or_default();
    Ok(Found {
        generation: text(b"generation"),
        home: text(b"home").unwrap_or_default(),
        history: fields.get(&b"history"[..]).and_then(|bytes| bytes.first_chunk()).copied().map(HistoryId),
        sequence: number(b"sequence"),
        news: News { denied: number(b"denied"), approvals: number(b"approvals") },
    })
}

/// Generations are counted, and no two ledgers have the same.
fn next(generation: &str) -> String {
    let number = generation.split('.').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    let unique: String = LeaseId::new().to_string().chars().skip(3).take(8).collect();
    format!("{}.{unique}", number.saturating_add(1))
}
