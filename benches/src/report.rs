//! What came out: a table for people, one JSON object a line for comparison.

use serde::Serialize;
use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

/// A figure and what it is wanted to be.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    name: String,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

impl Target {
    /// Wanted to be at least `target`.
    pub fn above(name: &str, value: f64, target: f64) -> Self {
        Self { name: name.to_owned(), value, target: Some(target), met: Some(value >= target) }
    }

    /// Wanted to be at most `target`.
    pub fn below(name: &str, value: f64, target: f64) -> Self {
        Self { name: name.to_owned(), value, target: Some(target), met: Some(value <= target) }
    }

    /// Only written down.
    pub fn noted(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, target: None, met: None }
    }
}

#[derive(Serialize)]
struct Line<'a, D> {
    what: &'a str,
    #[serde(flatten)]
    figure: &'a Target,
    details: &'a D,
}

/// Prints as it goes, and keeps the lines in a file when there is one.
pub struct Report {
    file: Option<File>,
}

impl Report {
    /// Into `file`, if any; what was in it is replaced.
    pub fn new(file: Option<&Path>) -> io::Result<Self> {
        Ok(Self { file: file.map(File::create).transpose()? })
    }

    /// A line for people.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(writeln!(io::stdout(), "{line}")?)
    }

    /// One figure and what it was made of.
    pub fn add(&mut self, what: &str, figure: Target, details: &impl Serialize) -> anyhow::Result<()> {
        let wanted = match (figure.target, figure.met) {
            (Some(target), Some(met)) => format!("{target:>9.3}  {}", if met { "met" } else { "short" }),
            _ => String::new(),
        };
        let line = serde_json::to_string(&Line { what, figure: &figure, details })?;
        writeln!(io::stdout(), "{:<36} {:>10.3} {wanted}", figure.name, figure.value)?;
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }
}
