//! What is wrong with a configuration file: where, what, and what to do.

use super::place::{KeyPath, Position};
use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file; `None` when it is about the whole file.
    pub position: Option<Position>,
    /// The key, for example `agents[1].id`; empty when it is about the form.
    pub key: String,
    /// What is wrong: lower case, no full stop.
    pub what: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// Why a file is no configuration. Never empty.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    path: PathBuf,
    problems: Vec<Problem>,
}

impl Problem {
    pub(super) fn of_file(what: impl Into<String>) -> Self {
        Self { position: None, key: String::new(), what: what.into(), fix: None }
    }

    /// The text is no TOML.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let position = error.span().map(|span| Position::at(text, span.start));
        Self { position, ..Self::of_file(error.message().trim().replace('\n', ", ")) }
    }

    /// It is TOML, but not ours.
    pub(super) fn meaning(text: &str, error: &serde_path_to_error::Error<toml::de::Error>) -> Self {
        let path = KeyPath::from(error.path());
        // An error in an element of a list comes with the place of the whole list; the path knows better.
        let outer = error.inner().span();
        let inner =
            path.span_in(text).filter(|inner| outer.as_ref().is_none_or(|outer| encloses(outer, inner)));
        let span = inner.or(outer);
        let (what, fix) = split(error.inner().message().trim());
        Self { position: span.map(|span| Position::at(text, span.start)), key: path.to_string(), what, fix }
    }

    /// It is ours, but contradicts itself.
    pub(super) fn at(text: &str, path: &KeyPath, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            position: path.span_in(text).map(|span| Position::at(text, span.start)),
            key: path.to_string(),
            what: what.into(),
            fix: Some(fix.into()),
        }
    }
}

fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Messages of parsers say what they found, then what they want.
fn split(message: &str) -> (String, Option<String>) {
    let message = message.replace('\n', ", ").replace("unknown field", "unknown key");
    if let Some(field) = message.strip_prefix("missing field ") {
        let fix = format!("add {field}; `taskpass help config` shows every key");
        return (format!("there is no {field}"), Some(fix));
    }
    [(", expected ", "use "), (": use ", "use "), (": begin ", "begin ")]
        .into_iter()
        .find_map(|(separator, verb)| {
            let (what, wanted) = message.split_once(separator)?;
            Some((what.to_owned(), Some(format!("{verb}{wanted}"))))
        })
        .unwrap_or((message, None))
}

impl ConfigError {
    pub(super) fn new(path: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.position);
        Self { path: path.to_owned(), problems }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything that is wrong with it, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.what),
            key => write!(f, "`{key}`: {}", self.what),
        }
    }
}

impl fmt::Display for ConfigError {
    /// `file:line:column: what (fix: …)`, one a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", self.path.display())?;
            if let Some(position) = problem.position {
                write!(f, ":{position}")?;
            }
            write!(f, ": {problem}")?;
            if let Some(fix) = &problem.fix {
                write!(f, " (fix: {fix})")?;
            }
        }
        Ok(())
    }
}
