//! What is wrong with a set of policies, or with a suite, said so that its author finds the place and the way out.

use std::fmt;

/// How many problems one error lists; one typing slip can cause thousands.
pub(crate) const MAX_PROBLEMS: usize = 50;

/// Text that may quote a file, on one line, cut, and without what could play tricks on a terminal.
pub(crate) fn one_line(text: &str, max_chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut chars = line.chars().map(|c| if is_deceptive(c) { '\u{fffd}' } else { c });
    let mut cut: String = chars.by_ref().take(max_chars).collect();
    if chars.next().is_some() {
        cut.push('…');
    }
    cut
}

/// Control and bidirectional characters: what is shown would not be what is there.
pub(crate) fn is_deceptive(c: char) -> bool {
    let is_bidirectional =
        matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_bidirectional
}

/// A place in a file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// Where the byte at `offset` of `text` is.
    pub(crate) fn at(text: &str, offset: usize) -> Self {
        Lines::of(text).position(offset)
    }
}

/// Where the lines of a text begin, so that many places in it are found in one pass.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self { text, starts: [0].into_iter().chain(after_breaks).collect() }
    }

    /// Where the byte at `offset` is.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let offset = if self.text.is_char_boundary(offset) { offset } else { self.text.len() };
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|before| self.starts.get(before)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or("");
        Position { line, column: before.chars().count() + 1 }
    }
}

/// One thing that is wrong, or suspicious, in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name without its directory, or the directory when it cannot be read at all.
    pub file: String,
    /// Where in it; `None` when it is about the whole file.
    pub position: Option<Position>,
    /// What is wrong: lower case, no full stop.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), position: None, what: what.into(), help: None }
    }

    pub(crate) fn at(file: &str, position: Position, what: impl Into<String>) -> Self {
        Self { position: Some(position), ..Self::of_file(file, what) }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    /// `file:line:column: what (help: …)`, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.what)?;
        match &self.help {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}

/// Why a set of policies does not take effect, or a suite cannot be run. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    problems: Vec<Problem>,
    omitted: usize,
}

impl PolicyError {
    /// Keeps the first of `problems` and counts the rest.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        let omitted = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        Self { problems, omitted }
    }

    /// The problems, by file and place; at most 50.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many more there are.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl From<Problem> for PolicyError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for PolicyError {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "é1\n22é3";
        for (offset, line, column) in [(0, 1, 1), (2, 1, 2), (4, 2, 1), (8, 2, 4), (99, 2, 5)] {
            assert_eq!(Position::at(text, offset), Position { line, column }, "offset {offset}");
        }
    }

    #[test]
    fn quoted_text_is_one_harmless_line() {
        for (text, expected) in [
            ("a\n  b\tc", "a b c"),
            ("a\u{1b}[31m\u{202e}", "a\u{fffd}[31m\u{fffd}"),
            ("éééééééééé1", "éééééééééé…"),
        ] {
            assert_eq!(one_line(text, 10), expected, "{text:?}");
        }
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_counted() {
        let error = PolicyError::new(vec![Problem::of_file("a.cedar", "x"); MAX_PROBLEMS + 7]);
        assert_eq!((error.problems().len(), error.omitted()), (MAX_PROBLEMS, 7));
        assert!(error.to_string().ends_with("\nand 7 more"));
    }
}
