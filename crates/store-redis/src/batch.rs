//! A batch of transitions: fetched for, run, and turned into one commit.

use crate::{
    draft::{Draft, Drafted, Fetched, Missing, Stamp, is_entry},
    error::Trouble,
    fetch::fetch,
    layout::{Layout, has_directory, is_index, place},
    scripts::Caller,
    texts::Texts,
};
use std::collections::HashMap;
use taskpass_lease::Limits;
use taskpass_store::{Job, Pending, spoils, tables::Table};
use taskpass_types::Refusal;

/// After so many rounds of fetching, what is missing is not going to be complete.
const ROUNDS: usize = 64;

/// What became of each job, in their order; and the commit that makes it so.
pub(crate) struct Ran {
    pub(crate) results: Vec<Result<Pending, Refusal>>,
    pub(crate) drafted: Drafted,
}

/// Runs `jobs` over what is in the ledger now, fetching what they look at. Nothing is written.
pub(crate) async fn run(
    caller: &mut Caller,
    layout: &Layout,
    limits: &Limits,
    jobs: &[Job],
    fetched: &mut Fetched,
) -> Result<Ran, Trouble> {
    let mut missing = Missing::default();
    missing.rows.extend(jobs.iter().flat_map(Job::foresee));
    for _ in 0..ROUNDS {
        fetch(caller, layout, missing, fetched).await?;
        let (ran, still_missing) = attempt(limits, jobs, fetched);
        if still_missing.is_empty() {
            return Ok(ran);
        }
        missing = still_missing;
    }
    Err(Trouble::unexpected("transitions look at more and more rows"))
}

pub(crate) fn attempt(limits: &Limits, jobs: &[Job], fetched: &Fetched) -> (Ran, Missing) {
    let mut draft = Draft::over(fetched);
    let mut results = Vec::with_capacity(jobs.len());
    for job in jobs {
        let result = job.run(&mut draft, limits);
        if result.as_ref().is_err_and(spoils) {
            draft.take_back();
        } else {
            draft.keep();
        }
        results.push(result);
    }
    let (drafted, missing) = draft.finish();
    (Ran { results, drafted }, missing)
}

/// Keys and arguments of a commit.
#[derive(Default)]
pub(crate) struct Commit {
    pub(crate) keys: Vec<Vec<u8>>,
    /// Generation, broker, operation and so on.
    pub(crate) head: Texts,
    /// Checks, then changes.
    pub(crate) body: Texts,
    checks: usize,
    changes: usize,
    numbers: HashMap<Vec<u8>, usize>,
}

impl Commit {
    /// Checks that what was fetched has not changed, then writes what was drafted under `stamp`.
    pub(crate) fn of(layout: &Layout, ran: &Drafted, fetched: &Fetched, stamp: Stamp) -> Self {
        let mut commit = Self::default();
        commit.number(layout.control());
        for key in &ran.checks {
            let place = place(key.0, &key.1);
            let found = fetched.rows.get(key).and_then(Option::as_ref);
            let (kind, stamp) = match (is_entry(key), found) {
                (true, Some(_)) => (&b"entry"[..], &b"1"[..]),
                (true, None) => (&b"entry"[..], &[][..]),
                (false, Some(row)) => (&b"row"[..], &row.stamp[..]),
                (false, None) => (&b"row"[..], &[][..]),
            };
            let page = commit.number(layout.page(key.0, &place.page));
            commit.body.push(kind);
            commit.body.push_number(page);
            commit.body.push(&place.field);
            commit.body.push(stamp);
            commit.checks += 1;
        }
        for ((table, key), change) in &ran.changes {
            commit.change(layout, *table, key, change.as_deref(), stamp);
        }
        commit
    }

    fn change(&mut self, layout: &Layout, table: Table, key: &[u8], change: Option<&[u8]>, stamp: Stamp) {
        let place = place(table, key);
        let page = self.number(layout.page(table, &place.page));
        let directory = match has_directory(table) {
            true => self.number(layout.directory(table)),
            false => 0,
        };
        self.body.push(match (change, is_index(table)) {
            (Some(_), true) => b"add",
            (Some(_), false) => b"set",
            (None, true) => b"drop",
            (None, false) => b"unset",
        });
        self.body.push_number(page);
        self.body.push_number(directory);
        self.body.push(&place.page);
        self.body.push(&place.field);
        match change {
            Some(value) if !is_index(table) => self.body.push_parts(&[&stamp, value]),
            _ => self.body.push(&[]),
        }
        self.changes += 1;
    }

    /// Its id, once it has a head.
    pub(crate) fn operation(&self) -> Option<&[u8]> {
        self.head.get(2)
    }

    /// With what it begins with.
    pub(crate) fn headed(mut self, head: Texts) -> Self {
        self.head = head;
        self.head.push_number(self.checks);
        self.head.push_number(self.changes);
        self
    }

    /// The number of a key, as the script counts.
    fn number(&mut self, key: Vec<u8>) -> usize {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        self.keys.push(key.clone());
        let number = self.keys.len();
        self.numbers.insert(key, number);
        number
    }
}
