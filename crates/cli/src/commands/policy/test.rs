//! `taskpass policy test`: do the policies decide what their authors meant? Offline.

use super::{check, plan};
use crate::{
    error::{Exit, Failure},
    output::{Format, Record, Style, text::safe},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;
use std::{fmt::Write as _, path::PathBuf};
use taskpass_policy::{CaseReport, Report, Suite, SuiteReport};

/// Run the test cases in DIR/tests against the policies in DIR
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy test policies/
  taskpass policy test policies/ --filter refunds
  taskpass policy test policies/ --junit policies.xml

A policy that no case reaches is a failure, unless --no-coverage or --filter says otherwise. Exit code 10 when
something failed.")]
pub(crate) struct Test {
    /// The directory with the *.cedar files; its cases are in tests/*.yaml
    dir: PathBuf,
    /// Only cases with this text in the name of their file or in their own
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write a report for CI servers
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Do not ask that every policy is reached by a case
    #[arg(long)]
    no_coverage: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SuiteView {
    ok: bool,
    revision: String,
    passed: usize,
    failed: usize,
    policies: usize,
    covered: usize,
    /// Policies that never determined a case; empty when nobody asked.
    uncovered: Vec<String>,
    cases: Vec<CaseView>,
}

#[derive(Serialize)]
struct CaseView {
    file: String,
    line: usize,
    name: String,
    passed: bool,
    expected: String,
    got: String,
    why: String,
    wrong: Vec<String>,
}

impl Test {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let Some(policies) = plan::load(session, &self.dir)? else { return Ok(Exit::Found) };
        let suite = match Suite::load_dir(&self.dir.join("tests")) {
            Ok(suite) => suite,
            Err(error) => {
                check::show(session, &Report::of(Err(error)))?;
                return Ok(Exit::Found);
            }
        };
        let mut report = suite.run(&policies);
        if let Some(text) = &self.filter {
            report.cases.retain(|case| case.file.contains(text) || case.name.contains(text));
            if report.cases.is_empty() {
                return Err(Failure::usage(format!("no case has `{text}` in its name or its file's")));
            }
        }
        if let Some(path) = &self.junit {
            std::fs::write(path, report.junit())
                .map_err(|error| Failure::usage(format!("`{}`: {error}", path.display())))?;
        }
        let view = SuiteView::new(&report, !self.no_coverage && self.filter.is_none());
        match session.out.format {
            Format::Table => session.out.print(&view.text())?,
            Format::Jsonl => view.cases.iter().try_for_each(|case| session.out.jsonl(case))?,
            Format::Json | Format::Name | Format::Yaml => session.out.one(&view)?,
        }
        Ok(if view.ok { Exit::Done } else { Exit::Found })
    }
}

impl SuiteView {
    /// `coverage`: whether every policy has to be reached.
    fn new(report: &SuiteReport, coverage: bool) -> Self {
        let uncovered: Vec<_> =
            report.uncovered.iter().filter(|_| coverage).map(ToString::to_string).collect();
        let failed = report.failed().count();
        Self {
            // What tests nothing must not look like success.
            ok: failed == 0 && uncovered.is_empty() && !report.cases.is_empty(),
            revision: report.revision.to_string(),
            passed: report.cases.len().saturating_sub(failed),
            failed,
            policies: report.policies,
            covered: report.covered(),
            uncovered,
            cases: report.cases.iter().map(CaseView::from).collect(),
        }
    }

    /// One line a file, every failed case explained, then what no case reaches, then the sum.
    fn text(&self) -> String {
        let mut text = String::new();
        for cases in self.cases.chunk_by(|a, b| a.file == b.file) {
            text.push_str(&of_file(cases));
        }
        for policy in &self.uncovered {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "FAIL {}: no case reaches it", safe(policy));
        }
        if self.cases.is_empty() {
            text.push_str("FAIL there are no cases\n");
        }
        let Self { passed, failed, covered, policies, .. } = self;
        let _ =
            writeln!(text, "{failed} failed, {passed} passed · {covered} of {policies} policies exercised");
        text
    }
}

fn of_file(cases: &[CaseView]) -> String {
    let Some(first) = cases.first() else { return String::new() };
    let failed = cases.iter().filter(|case| !case.passed);
    let (file, all) = (safe(&first.file), cases.len());
    let mut text = match failed.clone().count() {
        0 => format!("PASS {file} ({all})\n"),
        failed => format!("FAIL {file} ({failed} of {all})\n"),
    };
    for case in failed {
        let _ = writeln!(text, "  {file}:{}  {}", case.line, safe(&case.name));
        for (word, what) in [("expected", &case.expected), ("got", &case.got), ("why", &case.why)] {
            let _ = writeln!(text, "    {word:<9} {}", safe(what));
        }
        for wrong in &case.wrong {
            let _ = writeln!(text, "    {:<9} {}", "wrong", safe(wrong));
        }
    }
    text
}

impl From<&CaseReport> for CaseView {
    fn from(case: &CaseReport) -> Self {
        Self {
            file: case.file.clone(),
            line: case.line,
            name: case.name.clone(),
            passed: case.passed(),
            expected: case.expected.clone(),
            got: case.got.clone(),
            why: case.why.clone(),
            wrong: case.wrong.clone(),
        }
    }
}

impl Record for SuiteView {
    const KIND: &'static str = "PolicyTest";
    const COLUMNS: &'static [&'static str] = &["REVISION", "PASSED", "FAILED"];

    fn name(&self) -> String {
        self.revision.clone()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.revision.clone(), self.passed.to_string(), self.failed.to_string()]
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        vec![("revision", self.name())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;
    use taskpass_policy::Policies;

    const POLICIES: &str =
        "@id(\"read\") permit (principal, action, resource) when { context.action == \"read\" };
@id(\"write\") permit (principal, action, resource) when { context.action == \"write\" };";

    fn report(effect: &str) -> SuiteReport {
        let policies = Policies::from_sources([("a.cedar", POLICIES)]).unwrap();
        let cases = format!(
            "facts: {{ users: {{ maya: {{}} }}, agents: {{ dev/maya: {{ owner: maya }} }} }}
cases:
  - {{ name: reads, agent: dev/maya, resource: api, action: read, expect: {effect} }}
  - {{ name: deletes, agent: dev/maya, resource: api, action: delete, expect: deny }}
"
        );
        Suite::from_sources([("reading.yaml", cases)]).unwrap().run(&policies)
    }

    #[test]
    fn a_failed_case_is_explained_and_so_is_what_no_case_reaches() {
        let text = SuiteView::new(&report("deny"), true).text();
        assert!(
            text.starts_with("FAIL reading.yaml (1 of 2)\n  reading.yaml:3  reads\n    expected  deny"),
            "{text}"
        );
        assert!(text.contains("\n    got       allow"), "{text}");
        assert!(text.contains("FAIL a.cedar:2 \"write\": no case reaches it\n"), "{text}");
        assert!(text.ends_with("1 failed, 1 passed · 1 of 2 policies exercised\n"), "{text}");
    }

    #[test]
    fn coverage_counts_unless_nobody_asks_for_it() {
        let passing = report("allow");
        assert!(!SuiteView::new(&passing, true).ok);
        let view = SuiteView::new(&passing, false);
        assert!(view.ok && view.text().starts_with("PASS reading.yaml (2)\n"), "{}", view.text());
        let nothing = SuiteReport { cases: Vec::new(), ..passing };
        assert!(!SuiteView::new(&nothing, false).ok, "no case is no success");
    }

    #[test]
    fn keys_are_stable() {
        insta::assert_snapshot!(keys(&SuiteView::new(&report("deny"), true)), @r"
        .cases
        .cases[].expected
        .cases[].file
        .cases[].got
        .cases[].line
        .cases[].name
        .cases[].passed
        .cases[].why
        .cases[].wrong
        .covered
        .failed
        .ok
        .passed
        .policies
        .revision
        .uncovered
        ");
    }
}
