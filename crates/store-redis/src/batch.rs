//! A batch of transitions: fetched for, run, and turned into one commit.

use crate::{
    draft::{Draft, Drafted, Fetched, Missing, Stamp, is_entry},
    error::Trouble,
    fetch::fetch,
    layout::{Layout, has_directory, is_index, place},
    scripts::Caller,
};
use std::collections::HashMap;
use taskpass_lease::Limits;
use taskpass_store::{Job, Pending, spoils};
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

fn attempt(limits: &Limits, jobs: &[Job], fetched: &Fetched) -> (Ran, Missing) {
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
    pub(crate) arguments: Vec<Vec<u8>>,
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
            let (kind, stamp) = match is_entry(key) {
                true => (&b"entry"[..], found.map_or(Vec::new(), |_| b"1".to_vec())),
                false => (&b"row"[..], found.map_or(Vec::new(), |row| row.stamp.to_vec())),
            };
            let page = commit.number(layout.page(key.0, &place.page));
            commit.arguments.extend([kind.to_vec(), page, place.field, stamp]);
            commit.checks += 1;
        }
        for ((table, key), change) in &ran.changes {
            let place = place(*table, key);
            let page = commit.number(layout.page(*table, &place.page));
            let directory = match has_directory(*table) {
                true => commit.number(layout.directory(*table)),
                false => b"0".to_vec(),
            };
            let (kind, value) = match (change, is_index(*table)) {
                (Some(_), true) => (&b"add"[..], Vec::new()),
                (Some(value), false) => (&b"set"[..], [&stamp[..], value].concat()),
                (None, true) => (&b"drop"[..], Vec::new()),
                (None, false) => (&b"unset"[..], Vec::new()),
            };
            commit.arguments.extend([kind.to_vec(), page, directory, place.page, place.field, value]);
            commit.changes += 1;
        }
        commit
    }

    /// Its id, once it has a head.
    pub(crate) fn operation(&self) -> Option<&[u8]> {
        self.arguments.get(2).map(Vec::as_slice)
    }

    /// With what it begins with.
    pub(crate) fn headed(mut self, head: [Vec<u8>; 6]) -> Self {
        let counts = [self.checks, self.changes].map(|count| count.to_string().into_bytes());
        self.arguments.splice(0..0, head.into_iter().chain(counts));
        self
    }

    /// The number of a key, as the script counts.
    fn number(&mut self, key: Vec<u8>) -> Vec<u8> {
        let next = self.keys.len() + 1;
        let number = *self.numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.keys.push(key);
        }
        number.to_string().into_bytes()
    }
}
