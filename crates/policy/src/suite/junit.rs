//! A report as JUnit's XML, which CI servers read.
//!
//! Invariant: what is written is well-formed, whatever the names are. Text is escaped, and characters that XML 1.0 cannot
//! have at all (section 2.2) are replaced.

use super::report::{CaseReport, SuiteReport};
use std::fmt::Write as _;

pub(super) fn write(report: &SuiteReport) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "<testsuites name=\"policies {}\"{}>",
        text(report.revision.as_str()),
        counts(&report.cases)
    );
    for cases in report.cases.chunk_by(|a, b| a.file == b.file) {
        let Some(first) = cases.first() else { continue };
        let _ = writeln!(xml, "  <testsuite name=\"{}\"{}>", text(&first.file), counts(cases));
        for case in cases {
            write_case(&mut xml, case);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn counts(cases: &[CaseReport]) -> String {
    let failures = cases.iter().filter(|case| !case.passed()).count();
    format!(" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\"", cases.len())
}

fn write_case(xml: &mut String, case: &CaseReport) {
    let CaseReport { file, line, name, expected, got, why, wrong } = case;
    let (file, name) = (text(file), text(name));
    let _ = write!(xml, "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\"");
    if case.passed() {
        xml.push_str("/>\n");
        return;
    }
    let details =
        format!("{file}:{line}\nexpected: {}\ngot: {}\nwhy: {}", text(expected), text(got), text(why));
    let _ = writeln!(
        xml,
        ">\n      <failure message=\"{}\">{details}</failure>\n    </testcase>",
        text(&wrong.join("; "))
    );
}

/// Text for an element or for an attribute in double quotes.
fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
