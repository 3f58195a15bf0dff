//! All rows of a ledger, page by page while brokers run; and a ledger made of rows where there is none.
//!
//! Tables without a directory are found through others: what is below a task and its holds by the tasks, texts by the sets
//! of policies; requests are looked for on each of their pages. While rows go in, no broker takes the ledger up, and what
//! broke off goes on with the same rows. The first broker then begins its generation and its history, and when ends are
//! missing, makes everything that was signed before invalid.

use crate::{
    check,
    draft::Sweep,
    error::Trouble,
    fetch::{pages, texts},
    layout::{Layout, Range, has_directory, is_index, place, request_pages},
    link::Link,
    scripts::{Confirmation, Script},
    settings::Settings,
    texts::Texts,
};
use async_trait::async_trait;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
};
use taskpass_store::{
    dump::{DumpError, Row, Sink, Source, holds_of},
    tables::{Entry, Table},
};
use taskpass_types::LeaseId;

/// How many pages are read at once.
const PAGES: usize = 32;
/// How many pages of requests, which are many and small.
const REQUEST_PAGES: usize = 256;
/// How many rows are written at once.
const ROWS: usize = 256;

/// What is still to be read.
enum Step {
    /// The pages whose names come after this one.
    Directory(Table, Option<Vec<u8>>),
    Pages(Table, Vec<Vec<u8>>),
}

/// The rows of a ledger.
pub struct Export {
    link: Link,
    layout: Layout,
    steps: VecDeque<Step>,
    began: u64,
    ended: u64,
}

impl Export {
    /// Connects to the ledger.
    ///
    /// # Errors
    /// [`DumpError`] when it cannot be reached, or there is none.
    pub async fn open(settings: &Settings) -> Result<Self, DumpError> {
        let layout = Layout::new(&settings.ledger);
        let failed = |trouble| failed(settings, &trouble);
        let mut link = Link::open(settings, &layout.control()).await.map_err(failed)?;
        let control = check::control(&mut link, &layout).await.map_err(failed)?;
        if !control.contains_key(&b"generation"[..]) {
            return Err(DumpError::Store {
                what: format!("there is no ledger `{}`", settings.ledger),
                fix: "name one that brokers serve: [store.redis] ledger".to_owned(),
            });
        }
        let began = sequence(&control);
        Ok(Self { link, layout, steps: steps(), began, ended: began })
    }

    async fn step(&mut self, step: Step) -> Result<Vec<Row>, Trouble> {
        let (table, names) = match step {
            Step::Pages(table, names) => (table, names),
            Step::Directory(table, after) => {
                let names = self.names(table, after).await?;
                if names.len() == PAGES {
                    self.steps.push_front(Step::Directory(table, names.last().cloned()));
                }
                (table, names)
            }
        };
        let all = Sweep { table, prefix: Vec::new(), from: None, backwards: false, limit: usize::MAX };
        let entries = pages(&mut self.link.reader, &self.layout, &all, names).await?;
        self.follow(table, &entries);
        Ok(entries.into_iter().map(|(key, value)| Row { table, key, value }).collect())
    }

    async fn names(&mut self, table: Table, after: Option<Vec<u8>>) -> Result<Vec<Vec<u8>>, Trouble> {
        let range = Range::of(&[]);
        let range = match after {
            Some(last) => range.after(&last),
            None => range,
        };
        let arguments = vec![b"up".to_vec(), range.low, range.high, PAGES.to_string().into_bytes()];
        let answers = self
            .link
            .reader
            .read(&Texts::from(vec![self.layout.directory(table)]), &Texts::from(arguments))
            .await?;
        texts(answers.into_iter().next().unwrap_or_default())
    }

    /// Pages that are found by these rows are read next.
    fn follow(&mut self, table: Table, entries: &[Entry]) {
        let found: Vec<(Table, Vec<u8>)> = match table {
            Table::Tasks => {
                let below = entries.iter().map(|(key, _)| (Table::Below, key.clone()));
                let holds = entries.iter().filter_map(|(_, task)| Some((Table::Holds, holds_of(task)?)));
                below.chain(holds).collect()
            }
            Table::Policies => {
                let texts = entries.iter().filter_map(|(key, _)| match key.as_slice() {
                    [0, number @ ..] => Some([&[1], number].concat()),
                    _ => None,
                });
                texts.map(|key| (table, place(table, &key).page)).collect()
            }
            _ => return,
        };
        for of in [Table::Below, Table::Holds, Table::Policies] {
            let names: Vec<_> =
                found.iter().filter(|(table, _)| *table == of).map(|(_, page)| page.clone()).collect();
            for some in names.chunks(PAGES) {
                self.steps.push_front(Step::Pages(of, some.to_vec()));
            }
        }
    }
}

/// Everything that is not found through something else.
fn steps() -> VecDeque<Step> {
    let mut steps: VecDeque<Step> = Table::ALL
        .into_iter()
        .filter(|table| has_directory(*table))
        .map(|table| Step::Directory(table, None))
        .collect();
    steps.extend([Table::Meta, Table::Quarantine].map(|table| Step::Pages(table, vec![Vec::new()])));
    steps.push_back(Step::Pages(Table::Policies, vec![vec![0]]));
    let requests: Vec<_> = request_pages().collect();
    steps.extend(requests.chunks(REQUEST_PAGES).map(|some| Step::Pages(Table::Requests, some.to_vec())));
    steps
}

fn sequence(control: &HashMap<Vec<u8>, Vec<u8>>) -> u64 {
    let text = control.get(&b"sequence"[..]).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn failed(settings: &Settings, trouble: &Trouble) -> DumpError {
    DumpError::Store { what: trouble.to_string(), fix: check::fix(settings, trouble) }
}

fn broke(trouble: Trouble) -> DumpError {
    DumpError::Store { what: trouble.to_string(), fix: "taskpass store check".to_owned() }
}

#[async_trait]
impl Source for Export {
    async fn next(&mut self) -> Result<Option<Vec<Row>>, DumpError> {
        while let Some(step) = self.steps.pop_front() {
            let rows = self.step(step).await.map_err(broke)?;
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        self.ended = sequence(&check::control(&mut self.link, &self.layout).await.map_err(broke)?);
        Ok(None)
    }

    fn meanwhile(&self) -> u64 {
        self.ended.saturating_sub(self.began)
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// A ledger under construction.
pub struct Import {
    link: Link,
    layout: Layout,
    confirmation: Confirmation,
    /// Whose rows they are.
    id: String,
    ends_missing: bool,
    stamp: [u8; 8],
}

impl Import {
    /// For a ledger where there is none. `id`: what broke off goes on with rows of the same name. `ends_missing`: ends
    /// were acknowledged that are not among the rows, so nothing that was signed before may count.
    ///
    /// # Errors
    /// [`DumpError`] when there is one, or rows of one, or the server cannot be reached.
    pub async fn begin(settings: &Settings, id: &str, ends_missing: bool) -> Result<Self, DumpError> {
        let layout = Layout::new(&settings.ledger);
        let failed = |trouble| failed(settings, &trouble);
        let link = Link::open(settings, &layout.control()).await.map_err(failed)?;
        let mut stamp = [0; 8];
        // The random end of an id: no row was ever written under it.
        for (to, from) in stamp.iter_mut().zip(LeaseId::new().as_bytes().iter().rev()) {
            *to = *from;
        }
        let confirmation = Confirmation::of(settings, true);
        let mut import = Self { link, layout, confirmation, id: id.to_owned(), ends_missing, stamp };
        let control = check::control(&mut import.link, &import.layout).await.map_err(failed)?;
        let goes_on = control.get(&b"restoring"[..]).is_some_and(|before| before == id.as_bytes());
        if !goes_on && (!control.is_empty() || import.has_rows().await.map_err(failed)?) {
            return Err(taken(settings));
        }
        import.send("more", &[]).await?;
        Ok(import)
    }

    /// Rows may be there although the control hash is gone.
    async fn has_rows(&mut self) -> Result<bool, Trouble> {
        let tables = Table::ALL.into_iter().filter(|table| has_directory(*table));
        let mut keys: Vec<_> = tables.map(|table| self.layout.directory(table)).collect();
        let mut arguments = Vec::new();
        for _ in &keys {
            arguments.extend([&b"up"[..], b"-", b"+", b"1"].map(<[u8]>::to_vec));
        }
        keys.push(self.layout.page(Table::Meta, &[]));
        arguments.push(b"rows".to_vec());
        for answer in self.link.reader.read(&Texts::from(keys), &Texts::from(arguments)).await? {
            if !texts(answer)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn send(&mut self, goes_on: &str, rows: &[Row]) -> Result<(), DumpError> {
        let mut keys = Keys::default();
        keys.number(self.layout.control());
        let mut arguments = vec![
            self.id.clone().into_bytes(),
            goes_on.as_bytes().to_vec(),
            rows.len().to_string().into_bytes(),
        ];
        for Row { table, key, value } in rows {
            let place = place(*table, key);
            let page = keys.number(self.layout.page(*table, &place.page));
            let directory = match has_directory(*table) {
                true => keys.number(self.layout.directory(*table)),
                false => b"0".to_vec(),
            };
            let (kind, value) = match is_index(*table) {
                true => (&b"add"[..], Vec::new()),
                false => (&b"set"[..], [&self.stamp[..], value].concat()),
            };
            arguments.extend([kind.to_vec(), page, directory, place.page, place.field, value]);
        }
        let arguments = Texts::from(arguments);
        let arguments = [&arguments];
        let written = self.link.writer.write(Script::Restore, &keys.names, &arguments, self.confirmation);
        let written = written.await.map_err(broke)?;
        match written.answer.first().map(Vec::as_slice) {
            Some(b"done") if written.confirmed => Ok(()),
            Some(b"done") => Err(broke(Trouble::Unknown("too few replicas confirmed the rows".to_owned()))),
            _ => Err(DumpError::NotEmpty("somebody else began a ledger there meanwhile".to_owned())),
        }
    }
}

fn taken(settings: &Settings) -> DumpError {
    DumpError::NotEmpty(format!("there is a ledger `{}` already, or a part of one", settings.ledger))
}

#[async_trait]
impl Sink for Import {
    async fn put(&mut self, rows: &[Row]) -> Result<(), DumpError> {
        for some in rows.chunks(ROWS) {
            self.send("more", some).await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), DumpError> {
        let goes_on = if self.ends_missing { "lost" } else { "whole" };
        self.send(goes_on, &[]).await
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The keys of a call, each once, by their numbers.
#[derive(Default)]
struct Keys {
    names: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, usize>,
}

impl Keys {
    fn number(&mut self, key: Vec<u8>) -> Vec<u8> {
        let next = self.names.len() + 1;
        let number = *self.numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.names.push(key);
        }
        number.to_string().into_bytes()
    }
}
