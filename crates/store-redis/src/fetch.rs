//! Fetches what is missing: rows and short ranges as of one moment, and what spans pages page by page.

use crate::{
    draft::{Fetched, Key, Missing, Row, Stamp, Sweep},
    error::Trouble,
    layout::{Layout, Range, has_directory, is_index, key, only_page, place},
    scripts::Caller,
    texts::Texts,
};
use redis::Value;
use taskpass_store::tables::{Entry, Table};

/// How many pages a sweep fetches at once.
const PAGES: usize = 32;
/// How many keys one call names.
const KEYS: usize = 2048;

/// What one key of a read is asked for.
enum Ask {
    Row(Vec<u8>),
    Entry(Vec<u8>),
    Rows,
    Range { range: Range, backwards: bool, limit: usize },
}

/// A read under construction.
#[derive(Default)]
struct Questions {
    keys: Texts,
    arguments: Texts,
}

impl Questions {
    fn ask(&mut self, key: Vec<u8>, ask: Ask) {
        self.keys.push(&key);
        match ask {
            Ask::Row(field) => self.add(&[b"row", &field]),
            Ask::Entry(member) => self.add(&[b"entry", &member]),
            Ask::Rows => self.add(&[b"rows"]),
            Ask::Range { range, backwards, limit } => {
                let kind: &[u8] = if backwards { b"down" } else { b"up" };
                let limit = if limit == usize::MAX { -1 } else { i64::try_from(limit).unwrap_or(-1) };
                self.add(&[kind, &range.low, &range.high, limit.to_string().as_bytes()]);
            }
        }
    }

    fn add(&mut self, arguments: &[&[u8]]) {
        arguments.iter().for_each(|argument| self.arguments.push(argument));
    }

    async fn answered(self, caller: &mut Caller) -> Result<Vec<Value>, Trouble> {
        caller.read(&self.keys, &self.arguments).await
    }
}

/// Adds what is missing to what was fetched.
pub(crate) async fn fetch(
    caller: &mut Caller,
    layout: &Layout,
    missing: Missing,
    fetched: &mut Fetched,
) -> Result<(), Trouble> {
    let rows: Vec<Key> = missing.rows.into_iter().collect();
    for some in rows.chunks(KEYS) {
        let mut questions = Questions::default();
        for (table, key) in some {
            let place = place(*table, key);
            let ask = if is_index(*table) { Ask::Entry(place.field) } else { Ask::Row(place.field) };
            questions.ask(layout.page(*table, &place.page), ask);
        }
        let answers = questions.answered(caller).await?;
        if answers.len() != some.len() {
            return Err(Trouble::unexpected("a read answered for another number of rows"));
        }
        for (row, answer) in some.iter().zip(answers) {
            fetched.rows.insert(row.clone(), stored(row, answer)?);
        }
    }
    for sweep in missing.sweeps {
        let entries = run(caller, layout, &sweep).await?;
        fetched.sweeps.insert(sweep, entries);
    }
    Ok(())
}

fn stored(key: &Key, answer: Value) -> Result<Option<Row>, Trouble> {
    match answer {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) if is_index(key.0) => {
            Ok(Some(Row { stamp: Stamp::default(), value: bytes }))
        }
        Value::BulkString(bytes) => Ok(Some(row(bytes))),
        _ => Err(Trouble::unexpected("a row is no text")),
    }
}

/// What is too short for a stamp was not written by us: as a value it cannot be read either, and is set aside.
fn row(bytes: Vec<u8>) -> Row {
    match bytes.split_first_chunk::<8>() {
        Some((stamp, value)) => Row { stamp: *stamp, value: value.to_vec() },
        None => {
            let mut stamp = Stamp::default();
            for (to, from) in stamp.iter_mut().zip(&bytes) {
                *to = *from;
            }
            Row { stamp, value: Vec::new() }
        }
    }
}

async fn run(caller: &mut Caller, layout: &Layout, sweep: &Sweep) -> Result<Vec<Entry>, Trouble> {
    if let Some(page) = only_page(sweep.table, &sweep.prefix) {
        let mut entries = pages_with(caller, layout, sweep, vec![page], unreadable).await?;
        entries.truncate(sweep.limit);
        return Ok(entries);
    }
    if !has_directory(sweep.table) {
        return Err(Trouble::unexpected("this table is not read in order"));
    }
    let mut found = Vec::new();
    let mut names = Range::of(&sweep.prefix);
    if let Some(from) = &sweep.from {
        let page = place(sweep.table, from).page;
        names = if sweep.backwards { names.up_to(&page) } else { names.from(&page) };
    }
    loop {
        let mut questions = Questions::default();
        let range = Ask::Range { range: names.clone(), backwards: sweep.backwards, limit: PAGES };
        questions.ask(layout.directory(sweep.table), range);
        let answer = questions.answered(caller).await?.into_iter().next().unwrap_or_default();
        let next = texts(answer).map_err(|_| foreign("the directory of a table"))?;
        let Some(last) = next.last().cloned() else { return Ok(found) };
        let full = next.len() == PAGES;
        found.extend(pages_with(caller, layout, sweep, next, unreadable).await?);
        if found.len() >= sweep.limit || !full {
            found.truncate(sweep.limit);
            return Ok(found);
        }
        names = if sweep.backwards { names.before(&last) } else { names.after(&last) };
    }
}

/// What a sweep finds in these pages, in its order; all of it or nothing.
pub(crate) async fn pages(
    caller: &mut Caller,
    layout: &Layout,
    sweep: &Sweep,
    pages: Vec<Vec<u8>>,
) -> Result<Vec<Entry>, Trouble> {
    let whole = |_, _: &[u8]| Err(foreign("a page that has to be whole"));
    pages_with(caller, layout, sweep, pages, whole).await
}

/// The same; `instead` says what is told of a page that is something else.
async fn pages_with(
    caller: &mut Caller,
    layout: &Layout,
    sweep: &Sweep,
    pages: Vec<Vec<u8>>,
    instead: impl Fn(Table, &[u8]) -> Result<Option<Entry>, Trouble>,
) -> Result<Vec<Entry>, Trouble> {
    let mut questions = Questions::default();
    for page in &pages {
        let ask = match is_index(sweep.table) {
            true => Ask::Range { range: inside(sweep, page), backwards: sweep.backwards, limit: sweep.limit },
            false => Ask::Rows,
        };
        questions.ask(layout.page(sweep.table, page), ask);
    }
    let answers = questions.answered(caller).await?;
    let mut found = Vec::new();
    for (page, answer) in pages.iter().zip(answers) {
        match answer {
            Value::BulkString(_) => found.extend(instead(sweep.table, page)?),
            answer => found.extend(entries(sweep, page, answer)?),
        }
    }
    Ok(found)
}

/// Which members of an index page a sweep wants.
fn inside(sweep: &Sweep, page: &[u8]) -> Range {
    let whole = match only_page(sweep.table, &sweep.prefix) {
        Some(page) => Range::of(sweep.prefix.get(page.len()..).unwrap_or_default()),
        None => Range::of(&[]),
    };
    match sweep.from.as_deref().map(|from| place(sweep.table, from)) {
        Some(from) if from.page == page && sweep.backwards => whole.before(&from.field),
        Some(from) if from.page == page => whole.after(&from.field),
        _ => whole,
    }
}

/// What is told of a page that is something else. That its entries of the schedule are not done, or that a list has gaps, must
/// not keep the rest from anybody; but deny records must not be passed over.
fn unreadable(table: Table, page: &[u8]) -> Result<Option<Entry>, Trouble> {
    match table {
        Table::Below | Table::Schedule | Table::Terms => {
            tracing::error!(
                table = table.name(),
                "another application uses a key of ours; what was there is lost"
            );
            Ok(None)
        }
        // The first of the ids that could be on it: a record that cannot be read.
        Table::Approvals | Table::Leases | Table::Tasks => Ok(Some(([page, &[0; 10]].concat(), Vec::new()))),
        _ => Err(foreign("a page that has to be whole")),
    }
}

fn foreign(what: &str) -> Trouble {
    Trouble::Foreign(format!("it is where we have {what}"))
}

fn entries(sweep: &Sweep, page: &[u8], answer: Value) -> Result<Vec<Entry>, Trouble> {
    let texts = texts(answer)?;
    let mut entries: Vec<Entry> = if is_index(sweep.table) {
        texts.into_iter().map(|member| (key(sweep.table, page, &member), Vec::new())).collect()
    } else {
        let mut texts = texts.into_iter();
        let mut entries = Vec::new();
        while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
            entries.push((key(sweep.table, page, &field), row(value).value));
        }
        entries
    };
    let wanted = |key: &[u8]| {
        key.starts_with(&sweep.prefix)
            && sweep.from.as_deref().is_none_or(|from| if sweep.backwards { key < from } else { key > from })
    };
    entries.retain(|(key, _)| wanted(key));
    entries.sort_unstable();
    if sweep.backwards {
        entries.reverse();
    }
    Ok(entries)
}

/// An array of texts; a hash comes as one, or as a map.
pub(crate) fn texts(answer: Value) -> Result<Vec<Vec<u8>>, Trouble> {
    let items = match answer {
        Value::Nil => return Ok(Vec::new()),
        Value::Array(items) | Value::Set(items) => items,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(field, value)| [field, value]).collect(),
        _ => return Err(Trouble::unexpected("a page is no list")),
    };
    let text = |item| match item {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        _ => Err(Trouble::unexpected("an item of a page is no text")),
    };
    items.into_iter().map(text).collect()
}
