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
    scripts::Script,
    texts::Texts,
    writer::Shared,
};
use redis::Value;
use std::collections::HashMap;
use taskpass_store::{Job, Work};
use taskpass_types::{HistoryId, LeaseId};

/// How many ends are written again in one commit.
const SLICE: usize = 256;

/// The ledger as it is found.
#[derive(Debug)]
struct Found {
    /// Empty: there is no ledger.
    generation: String,
    home: String,
    history: Option<HistoryId>,
    sequence: u64,
    /// The sequence that the generation began after.
    base: u64,
    mending: bool,
    /// The newest generation that began because something was lost.
    mended: String,
    /// This broker's newest operation.
    newest: Vec<u8>,
    news: News,
}

impl Ledger {
    /// Makes the ledger behind `link` one that may be served; says in which history its epochs count, and which was this
    /// broker's newest operation.
    pub(crate) async fn take_up(
        &mut self,
        shared: &Shared,
        link: &mut Link,
    ) -> Result<(HistoryId, Vec<u8>), Trouble> {
        let mut found = look(shared, link, self.broker()).await?;
        let newest = std::mem::take(&mut found.newest);
        let history = self.take_up_found(shared, link, found).await?;
        Ok((history, newest))
    }

    async fn take_up_found(
        &mut self,
        shared: &Shared,
        link: &mut Link,
        found: Found,
    ) -> Result<HistoryId, Trouble> {
        let lost = self.has_lost(&found);
        let kept = self.journal.as_ref().and_then(|journal| journal.past());
        let generations = self.known.iter().chain(kept).map(|known| count(&known.generation));
        self.newest = generations.fold(self.newest, u64::max);
        shared.news.begin(found.news, &shared.signals);
        shared.signals.set_mending(found.mending || lost);
        let before = self.known.as_ref().filter(|before| before.generation == found.generation);
        let (another, sequence) = (before.is_none(), before.map_or(0, |before| before.sequence));
        // The sequence that was found may be of a write that no replica has: a confirmed one raises it.
        self.known = Some(Known { generation: found.generation.clone(), home: link.home.clone(), sequence });
        self.take_up_as(shared, link, &found, another, lost).await
    }

    /// After a ledger was found and not taken up: the next try compares with what was confirmed, not with what was seen of
    /// a primary that was perhaps being replaced.
    pub(crate) fn back_to(&mut self, before: Option<Known>) {
        let same = |known: &Known| before.as_ref().filter(|before| before.generation == known.generation);
        let confirmed = |known: &Known| known.sequence > same(known).map_or(0, |before| before.sequence);
        if !self.known.as_ref().is_some_and(confirmed) {
            self.known = before;
        }
    }

    /// `another`: we knew another generation; `lost`: and it had more.
    async fn take_up_as(
        &mut self,
        shared: &Shared,
        link: &mut Link,
        found: &Found,
        another: bool,
        lost: bool,
    ) -> Result<HistoryId, Trouble> {
        match found.history {
            Some(history) if found.home == link.home && !lost => {
                if another {
                    self.write_again(shared, link).await?;
                }
                Ok(history)
            }
            _ => {
                if !found.generation.is_empty() {
                    self.write_again(shared, link).await?;
                }
                self.begin_generation(shared, link, &found.generation, lost).await
            }
        }
    }

    /// Whether this ledger does not have what we know that it had: it is gone, an older one, or one in which another
    /// generation began before what we wrote. Not when somebody has seen to it since: all that we know is from before
    /// the generation that made it whole.
    fn has_lost(&self, found: &Found) -> bool {
        let kept = self.journal.as_ref().and_then(|journal| journal.past());
        let lost = |known: &Known| {
            if count(&found.mended) > count(&known.generation) {
                return false;
            }
            count(&found.generation) < count(&known.generation)
                || match found.generation == known.generation {
                    true => found.sequence < known.sequence,
                    false => found.base < known.sequence,
                }
        };
        self.known.as_ref().is_some_and(lost) || kept.is_some_and(lost)
    }

    /// Writes the ends of this broker into a ledger that may not have them. What it has stays as it is.
    async fn write_again(&mut self, shared: &Shared, link: &mut Link) -> Result<(), Trouble> {
        let ends = match (&self.journal, &self.known) {
            (Some(journal), Some(known)) if !journal.past().is_some_and(|past| same(past, known)) => {
                journal.ends()
            }
            _ => return Ok(()),
        };
        // They are kept as written into this generation, which a failover must not be able to take back.
        let slices = std::iter::once(&[][..]).filter(|_| !ends.is_empty()).chain(ends.chunks(SLICE));
        for slice in slices {
            let job = |(event, at): &(taskpass_lease::Event, _)| Job::new(Work::Apply(event.clone()), *at).0;
            let jobs: Vec<Job> = slice.iter().map(job).collect();
            match self.commit(shared, link, &jobs).await {
                Ok(_) => {}
                Err(Failed::Busy) => return Err(Trouble::Overtaken("others are faster")),
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

    /// Generations are counted, also beyond a ledger that was lost, and no two have the same name.
    fn next(&self, found: &str) -> String {
        let newest = self.newest.max(count(found));
        let unique: String = LeaseId::new().to_string().chars().skip(3).take(8).collect();
        format!("{}.{unique}", newest.saturating_add(1))
    }

    async fn begin_generation(
        &mut self,
        shared: &Shared,
        link: &mut Link,
        old: &str,
        lost: bool,
    ) -> Result<HistoryId, Trouble> {
        // An id's bytes serve: 74 random bits, never used twice.
        let history = HistoryId(*LeaseId::new().as_bytes());
        let new = self.next(old);
        let lost_something: &[u8] = if lost { b"1" } else { b"0" };
        let arguments = [old.as_bytes(), new.as_bytes(), link.home.as_bytes(), &history.0, lost_something];
        let arguments: Texts = arguments.into_iter().collect();
        let control = [shared.layout.control()];
        let written =
            link.writer.write(Script::Adopt, &control, &[&arguments], shared.confirmation(true)).await?;
        match written.answer.first().map(Vec::as_slice) {
            Some(b"done") if written.confirmed => {}
            Some(b"done") => {
                return Err(Trouble::Unknown("too few replicas confirmed the generation".to_owned()));
            }
            Some(b"restoring") => {
                let why = "a backup is being restored into it; if that broke off, run `taskpass store restore` again";
                return Err(Trouble::Refused(why.to_owned()));
            }
            _ => return Err(Trouble::Overtaken("another broker begins a generation")),
        }
        if lost {
            tracing::error!(generation = %new, "the ledger has lost what it had acknowledged; nothing signed before counts");
        } else {
            tracing::info!(generation = %new, home = %link.home, "a generation of the ledger begins");
        }
        if let Some(known) = &mut self.known {
            known.generation = new;
        }
        Ok(history)
    }
}

/// Whether nothing can have been lost in between: it is the same generation on the same server.
fn same(past: &Known, known: &Known) -> bool {
    past.generation == known.generation && past.home == known.home
}

async fn look(shared: &Shared, link: &mut Link, broker: &str) -> Result<Found, Trouble> {
    let answers = link
        .writer
        .read(&Texts::from(vec![shared.layout.control()]), &Texts::from(vec![b"rows".to_vec()]))
        .await?;
    let mut texts = texts(answers.into_iter().next().unwrap_or(Value::Nil))?.into_iter();
    let mut fields = HashMap::new();
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        fields.insert(field, value);
    }
    let text = |name: &[u8]| fields.get(name).and_then(|value| String::from_utf8(value.clone()).ok());
    let number = |name: &[u8]| text(name).and_then(|number| number.parse().ok()).unwrap_or_default();
    Ok(Found {
        generation: text(b"generation").unwrap_or_default(),
        home: text(b"home").unwrap_or_default(),
        history: fields.get(&b"history"[..]).and_then(|bytes| bytes.first_chunk()).copied().map(HistoryId),
        sequence: number(b"sequence"),
        base: number(b"base"),
        mending: fields.contains_key(&b"mending"[..]),
        mended: text(b"mended").unwrap_or_default(),
        newest: fields.get(format!("operation:{broker}").as_bytes()).cloned().unwrap_or_default(),
        news: News { denied: number(b"denied"), approvals: number(b"approvals") },
    })
}

fn count(generation: &str) -> u64 {
    generation.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
