//! `taskpass policy check`: would the broker take these policies? Offline.

use crate::{
    error::{Exit, Failure},
    output::{Format, Record, Style, text::safe},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taskpass_policy::{Problem, Report};

/// Check a directory of policies, as the broker would load it
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy check policies/
  taskpass policy check policies/ -o json | jq '.item.problems[]'

Exit code 10 when the policies would not take effect.")]
pub(crate) struct Check {
    /// The directory with the *.cedar files
    dir: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportView {
    ok: bool,
    /// Null when they would not take effect.
    revision: Option<String>,
    files: usize,
    policies: usize,
    problems: Vec<ProblemView>,
    /// How many problems there are besides those.
    omitted: usize,
    warnings: Vec<ProblemView>,
}

#[derive(Serialize)]
struct ProblemView {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    what: String,
    help: Option<String>,
}

impl Check {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let report = Report::of_dir(&self.dir);
        show(session, &report)?;
        Ok(if report.is_ok() { Exit::Done } else { Exit::Found })
    }
}

/// What is wrong with a set, for people or programs.
pub(super) fn show(session: &Session, report: &Report) -> Result<(), Failure> {
    if session.out.format == Format::Table {
        session.out.print(&text(report))?;
    } else {
        session.out.one(&ReportView::from(report))?;
    }
    Ok(())
}

/// For people: what is wrong, what is suspicious, and the sum, one a line.
fn text(report: &Report) -> String {
    let mut lines = Vec::new();
    for (word, problems) in [("error", &report.problems), ("warn", &report.warnings)] {
        lines.extend(problems.iter().map(|problem| format!("{word:<6} {}", safe(&problem.to_string()))));
    }
    if report.omitted > 0 {
        lines.push(format!("error  and {} more", report.omitted));
    }
    lines.push(match &report.loaded {
        Some(set) => {
            format!("ok     {} files, {} policies, revision {}", set.files, set.policies, set.revision)
        }
        None => "these policies would not take effect".to_owned(),
    });
    lines.join("\n") + "\n"
}

impl From<&Report> for ReportView {
    fn from(report: &Report) -> Self {
        let loaded = report.loaded.as_ref();
        Self {
            ok: report.is_ok(),
            revision: loaded.map(|set| set.revision.to_string()),
            files: loaded.map_or(0, |set| set.files),
            policies: loaded.map_or(0, |set| set.policies),
            problems: report.problems.iter().map(ProblemView::from).collect(),
            omitted: report.omitted,
            warnings: report.warnings.iter().map(ProblemView::from).collect(),
        }
    }
}

impl From<&Problem> for ProblemView {
    fn from(problem: &Problem) -> Self {
        Self {
            file: problem.file.clone(),
            line: problem.position.map(|position| position.line),
            column: problem.position.map(|position| position.column),
            what: problem.what.clone(),
            help: problem.help.clone(),
        }
    }
}

impl Record for ReportView {
    const KIND: &'static str = "PolicyReport";
    const COLUMNS: &'static [&'static str] = &["REVISION", "FILES", "POLICIES"];

    fn name(&self) -> String {
        self.revision.clone().unwrap_or_default()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.name(), self.files.to_string(), self.policies.to_string()]
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

    fn report(policy: &str) -> Report {
        Report::of(Policies::from_sources([("refunds.cedar", policy)]))
    }

    #[test]
    fn problems_have_a_place_and_stable_keys() {
        let broken = report("permit (principal, action, resource) when { context.amuont > 5 };");
        assert!(text(&broken).starts_with("error  refunds.cedar:1:"), "{}", text(&broken));
        insta::assert_snapshot!(keys(&ReportView::from(&broken)), @r"
        .files
        .ok
        .omitted
        .policies
        .problems
        .problems[].column
        .problems[].file
        .problems[].help
        .problems[].line
        .problems[].what
        .revision
        .warnings
        ");
    }

    #[test]
    fn a_good_set_is_counted() {
        let text =
            text(&report("permit (principal, action == Action::\"issue\", resource == Resource::\"a\");"));
        assert!(text.contains("1 files, 1 policies, revision "), "{text}");
    }
}
