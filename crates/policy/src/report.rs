//! What `taskpass policy check` says about a directory.

use crate::{
    policies::Policies,
    problem::{PolicyError, Problem},
};
use std::{fmt, path::Path};
use taskpass_types::PolicyRevision;

/// The state of a directory of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What would take effect; `None` when there are problems.
    pub loaded: Option<Loaded>,
    /// Why nothing takes effect; at most 50.
    pub problems: Vec<Problem>,
    /// How many more problems there are.
    pub omitted: usize,
    /// What is suspicious though valid.
    pub warnings: Vec<Problem>,
}

/// A set that would take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// How many files it has.
    pub files: usize,
    /// How many policies they hold.
    pub policies: usize,
    /// What it would be called.
    pub revision: PolicyRevision,
}

impl Report {
    /// Checks every policy file of a directory, as [`Policies::load_dir`] would.
    pub fn of_dir(dir: &Path) -> Self {
        Self::of(Policies::load_dir(dir))
    }

    /// Tells what came of loading.
    pub fn of(loaded: Result<Policies, PolicyError>) -> Self {
        match loaded {
            Ok(policies) => Self {
                loaded: Some(Loaded {
                    files: policies.files(),
                    policies: policies.len(),
                    revision: policies.revision().clone(),
                }),
                problems: Vec::new(),
                omitted: 0,
                warnings: policies.warnings().to_vec(),
            },
            Err(error) => Self {
                loaded: None,
                problems: error.problems().to_vec(),
                omitted: error.omitted(),
                warnings: Vec::new(),
            },
        }
    }

    /// Whether the set would take effect.
    pub fn is_ok(&self) -> bool {
        self.loaded.is_some()
    }
}

impl fmt::Display for Report {
    /// One line for the set, or for each problem with its help below; then the warnings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Loaded { files, policies, revision }) = &self.loaded {
            writeln!(
                f,
                "ok    {}, {}, revision {revision}",
                count(*files, "file", "files"),
                count(*policies, "policy", "policies")
            )?;
        }
        let problems = self.problems.iter().map(|problem| ("error", problem));
        let warnings = self.warnings.iter().map(|problem| ("warn", problem));
        for (word, problem) in problems.chain(warnings) {
            let Problem { file, position, what, help } = problem;
            let place = position.map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
            writeln!(f, "{word:<5} {file}{place}: {what}")?;
            if let Some(help) = help {
                writeln!(f, "      help: {help}")?;
            }
        }
        match self.omitted {
            0 => Ok(()),
            more => writeln!(f, "      and {more} more"),
        }
    }
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
