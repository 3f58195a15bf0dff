//! What a check saw: one screen for people, a list for programs.

use crate::{
    error::Exit,
    output::{Format, Output, Record, Style, text::safe},
};
use serde::Serialize;
use std::{fmt::Write as _, io};
use taskpass_store::{Line, Mark, Report};

/// One line of a check.
#[derive(Serialize)]
pub(crate) struct CheckView<'a> {
    check: &'a str,
    state: &'static str,
    seen: &'a str,
    fix: &'a str,
}

impl<'a> From<&'a Line> for CheckView<'a> {
    fn from(line: &'a Line) -> Self {
        let state = match line.mark {
            Mark::Fail => "fail",
            other => other.word(),
        };
        Self { check: line.what, state, seen: &line.seen, fix: &line.fix }
    }
}

impl Record for CheckView<'_> {
    const KIND: &'static str = "Check";
    const COLUMNS: &'static [&'static str] = &["STATE", "CHECK", "SEEN"];

    fn name(&self) -> String {
        self.check.to_owned()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.state.to_owned(), self.check.to_owned(), self.seen.to_owned()]
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Shows it; how the command ends.
pub(crate) fn show(report: &Report, out: &Output) -> io::Result<Exit> {
    match out.format {
        Format::Table => out.print(&text(report))?,
        _ => out.list(&report.lines.iter().map(CheckView::from).collect::<Vec<_>>(), "")?,
    }
    Ok(if report.failed().next().is_some() { Exit::Found } else { Exit::Done })
}

fn text(report: &Report) -> String {
    let width = report.lines.iter().map(|line| line.what.len()).max().unwrap_or_default();
    let mut text = String::new();
    for line in &report.lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<4}  {:<width$}  {}", line.mark.word(), line.what, safe(&line.seen));
        if !line.fix.is_empty() {
            let _ = writeln!(text, "      {:<width$}  fix: {}", "", safe(&line.fix));
        }
    }
    let counted =
        [(Mark::Fail, "failed"), (Mark::Warn, "with a warning"), (Mark::Look, "to look at yourself")];
    let counted: Vec<_> = counted
        .into_iter()
        .filter_map(|(mark, word)| match report.count(mark) {
            0 => None,
            count => Some(format!("{count} {word}")),
        })
        .collect();
    if !counted.is_empty() {
        let _ = writeln!(text, "{}", counted.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.ok("server", "Redis 7.0.15\u{1b}[2J");
        report.say(Mark::Look, "fsync", "not visible", "an administrator looks");
        report.say(Mark::Warn, "tls", "off", "set tls.ca");
        report.say(Mark::Fail, "eviction", "allkeys-lru", "noeviction");
        report
    }

    #[test]
    fn people_get_one_screen_with_the_fix_below_each_line() {
        insta::assert_snapshot!(text(&report()), @r"
        ok    server    Redis 7.0.15\u{1b}[2J
        look  fsync     not visible
                        fix: an administrator looks
        warn  tls       off
                        fix: set tls.ca
        FAIL  eviction  allkeys-lru
                        fix: noeviction
        1 failed, 1 with a warning, 1 to look at yourself
        ");
    }

    #[test]
    fn programs_get_stable_keys() {
        let json = serde_json::to_string(&CheckView::from(&report().lines[3])).unwrap();
        assert_eq!(json, r#"{"check":"eviction","state":"fail","seen":"allkeys-lru","fix":"noeviction"}"#);
    }
}
