//! What users see. Data goes to standard output in the form they asked for, talk to standard error.
//!
//! Invariants: JSON has stable keys and is the same on a terminal and in a pipe; tables are for people and no contract;
//! no text from elsewhere reaches a terminal with a control character in it ([`text::safe`]).

mod style;
mod table;
pub(crate) mod text;
mod yaml;

pub(crate) use style::Style;
pub(crate) use table::{pairs, table};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use taskpass_types::Timestamp;

/// The `apiVersion` of every JSON body.
pub(crate) const API_VERSION: &str = "taskpass.v1";

/// No answer to a question is longer.
const MAX_ANSWER: u64 = 1024;

/// The form of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON document with stable keys.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Ids only, one a line.
    Name,
    /// For people.
    #[default]
    Table,
    /// What JSON says, as YAML.
    Yaml,
}

impl Format {
    /// Whether it is one document, which cannot be written before all of it is known.
    pub(crate) fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// Always.
    Always,
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// A thing that commands show.
pub(crate) trait Record: Serialize {
    /// The `kind` of its JSON body.
    const KIND: &'static str;
    /// The header of its table.
    const COLUMNS: &'static [&'static str];
    /// What `-o name` shows.
    fn name(&self) -> String;
    /// Its line of the table.
    fn row(&self, style: &Style) -> Vec<String>;
    /// All about it, for people.
    fn details(&self, style: &Style) -> Vec<(&'static str, String)>;
}

/// Where and how to show.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) style: Style,
    color: bool,
    quiet: bool,
}

impl Output {
    /// For this process: `color` is as asked for, and so is `quiet`, no hints.
    pub(crate) fn new(format: Format, color: Color, quiet: bool, now: Timestamp) -> Self {
        let lookup = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if lookup("NO_COLOR") => false,
            Color::Auto if lookup("CLICOLOR_FORCE") => true,
            Color::Auto => {
                io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Self { format, style: Style { now, terminal: io::stdout().is_terminal() }, color, quiet }
    }

    /// Shows one record.
    pub(crate) fn one<R: Record>(&self, record: &R) -> io::Result<()> {
        match self.format {
            Format::Json | Format::Yaml => {
                self.document(&json!({ "apiVersion": API_VERSION, "kind": R::KIND, "item": record }))
            }
            Format::Jsonl => self.jsonl(record),
            Format::Name => self.print(&format!("{}\n", text::safe(&record.name()))),
            Format::Table => self.print(&pairs(record.details(&self.style))),
        }
    }

    /// Shows a page of records; `next` is the token of the page after it, empty for the last.
    pub(crate) fn list<R: Record>(&self, records: &[R], next: &str) -> io::Result<()> {
        match self.format {
            Format::Json | Format::Yaml => self.document(&json!({
                "apiVersion": API_VERSION,
                "kind": format!("{}List", R::KIND),
                "items": records,
                "nextPageToken": next,
            })),
            Format::Jsonl => records.iter().try_for_each(|record| self.jsonl(record)),
            Format::Name => {
                records.iter().try_for_each(|record| self.print(&format!("{}\n", text::safe(&record.name()))))
            }
            Format::Table => {
                self.print(&table(R::COLUMNS, records.iter().map(|record| record.row(&self.style))))
            }
        }
    }

    /// One object on one line, at once.
    pub(crate) fn jsonl(&self, record: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(record)?;
        self.print(&format!("{}\n", text::safe_json(&line)))
    }

    fn document(&self, body: &Value) -> io::Result<()> {
        let body = match self.format {
            Format::Yaml => yaml::write(body),
            _ => format!("{}\n", serde_json::to_string_pretty(body)?),
        };
        self.print(&text::safe_json(&body))
    }

    /// Text of ours on standard output, as it is.
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// One line of talk; nothing with `-q`.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            self.warn(line);
        }
    }

    /// What to do next, for people.
    pub(crate) fn hint(&self, command: &str) {
        if self.format == Format::Table {
            self.say(&format!("next: {command}"));
        }
    }

    /// One line of talk that matters.
    #[expect(clippy::unused_self, reason = "all output has one door")]
    pub(crate) fn warn(&self, line: &str) {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(io::stderr().lock(), "{}", text::safe(line));
    }

    /// Whether somebody is there who can answer a question: both ways lead to a terminal, and no program reads along.
    pub(crate) fn can_ask(&self) -> bool {
        self.format == Format::Table && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks for a yes; whatever else is answered is none.
    pub(crate) fn ask(&self, question: &str) -> io::Result<bool> {
        let mut talk = io::stderr().lock();
        write!(talk, "{} [y/N] ", text::safe(question))?;
        talk.flush()?;
        let mut answer = String::new();
        io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer)?;
        Ok(is_yes(&answer))
    }

    /// Asks for a word to be typed; whatever else is answered is a no.
    pub(crate) fn ask_for(&self, question: &str, word: &str) -> io::Result<bool> {
        let mut talk = io::stderr().lock();
        write!(talk, "{} Type {} to go on: ", text::safe(question), text::safe(word))?;
        talk.flush()?;
        let mut answer = String::new();
        io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer)?;
        Ok(answer.trim() == word)
    }

    /// Whether talk may be coloured.
    pub(crate) fn color(&self) -> bool {
        self.color
    }
}

/// Whatever is not clearly a yes is none.
fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "Y\n", " yes \n", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no", "yep\n", "y y"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
