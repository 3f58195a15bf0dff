//! What came of a suite: all that a person, a program or a CI server asks about it.

use super::junit;
use crate::rule::PolicyName;
use taskpass_types::PolicyRevision;

/// What came of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuiteReport {
    /// The policies that were asked.
    pub revision: PolicyRevision,
    /// How many policies they are.
    pub policies: usize,
    /// What came of each case, by file and place.
    pub cases: Vec<CaseReport>,
    /// The policies that were never among those that made a decision so: nothing tests them.
    pub uncovered: Vec<PolicyName>,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseReport {
    /// The file's name without its directory.
    pub file: String,
    /// The line where the case begins, from 1.
    pub line: usize,
    /// What its author calls it.
    pub name: String,
    /// What had to come of it, on one line.
    pub expected: String,
    /// What came of it, in the same form.
    pub got: String,
    /// Why it was decided so.
    pub why: String,
    /// What is not as it had to be; empty when it passed.
    pub wrong: Vec<String>,
}

impl CaseReport {
    /// Whether all is as it had to be.
    pub fn passed(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl SuiteReport {
    /// The cases that did not pass.
    pub fn failed(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| !case.passed())
    }

    /// Whether every case passed. A policy that no case reaches is no failure.
    pub fn is_ok(&self) -> bool {
        self.failed().next().is_none()
    }

    /// How many policies some case reached.
    pub fn covered(&self) -> usize {
        self.policies.saturating_sub(self.uncovered.len())
    }

    /// The report in the form that CI servers read: JUnit's XML, one test suite a file.
    pub fn junit(&self) -> String {
        junit::write(self)
    }
}
