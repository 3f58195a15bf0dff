//! Suites: tests of policies, in files next to them. A case puts one request and says what has to come of it; a suite also
//! tells which policies no case ever reached.
//!
//! Invariants: what a file says is read whole or not at all, with every mistake at its place; a name that the facts do
//! not list is a mistake, because a misspelt agent is denied and a test of a denial would pass; nothing depends on the
//! machine's clock.

mod case;
mod form;
mod junit;
mod load;
mod report;

pub use report::{CaseReport, SuiteReport};

use crate::{policies::Policies, problem::PolicyError, source::Sources};
use case::Case;
use std::{collections::BTreeSet, path::Path};

/// How many cases a suite may have, all files together.
pub const MAX_CASES: usize = 10_000;

/// Cases that a set of policies has to pass.
#[derive(Debug)]
pub struct Suite {
    cases: Vec<Case>,
}

impl Suite {
    /// Reads every `*.yaml` file directly in `dir`, in the order of their names, as [`Policies::load_dir`] reads policies.
    /// For policies in `policies/` that is `policies/tests/`.
    ///
    /// # Errors
    /// Everything that is wrong with the directory or with a file, with its line.
    pub fn load_dir(dir: &Path) -> Result<Self, PolicyError> {
        Self::load(&Sources::read_dir(dir, "yaml")?)
    }

    /// The same from pairs of file name and text. Their order does not matter; a name may come only once.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_sources<N: Into<String>, T: Into<String>>(
        sources: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, PolicyError> {
        Self::load(&Sources::collect(sources)?)
    }

    fn load(sources: &Sources) -> Result<Self, PolicyError> {
        Ok(Self { cases: load::load(sources)? })
    }

    /// How many cases there are.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there are none, so that nothing is tested.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Puts every case to `policies`.
    pub fn run(&self, policies: &Policies) -> SuiteReport {
        let mut reached = BTreeSet::new();
        let mut cases = Vec::with_capacity(self.cases.len());
        for case in &self.cases {
            let decision = case.put(policies);
            cases.push(case.judge(policies, &decision));
            reached.extend(decision.determining);
        }
        let uncovered = policies.iter().map(|policy| policy.name).filter(|name| !reached.contains(name));
        SuiteReport {
            revision: policies.revision().clone(),
            policies: policies.len(),
            uncovered: uncovered.cloned().collect(),
            cases,
        }
    }
}

#[cfg(test)]
mod tests;
