//! `taskpass audit verify`: offline, so that nobody has to believe the broker.

use crate::{
    error::{Exit, Failure},
    output::{Record, Style},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taskpass_audit::{Anchor, Report, VerifyError, verify_dir};

/// Check that no entry of the audit log was changed, removed or added
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass audit verify
  taskpass audit verify --dir backup/audit --anchor \"$(cat anchor.txt)\"
  taskpass audit verify -o name > anchor.txt       # keep it where the broker cannot write

Exit code 10 when the log is broken.")]
pub(crate) struct Verify {
    /// The directory of the log
    #[arg(long, value_name = "DIR", default_value = "/var/lib/taskpass/audit")]
    dir: PathBuf,
    /// An entry that was kept elsewhere, `seq:hash`: finds out who rewrites the whole log
    #[arg(long, value_name = "ANCHOR")]
    anchor: Option<Anchor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportView {
    records: u64,
    first_time: Option<String>,
    last_time: Option<String>,
    anchor: String,
    anchor_checked: bool,
    unfinished_bytes: u64,
}

impl Verify {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let report = verify_dir(&self.dir, self.anchor).map_err(|error| failure(&self, error))?;
        session.out.one(&ReportView::new(report, self.anchor.is_some()))?;
        if self.anchor.is_none() {
            session.out.hint("keep the anchor where the broker cannot write, and give it to --anchor");
        }
        Ok(Exit::Done)
    }
}

fn failure(asked: &Verify, error: VerifyError) -> Failure {
    match error {
        VerifyError::Broken(broken) => {
            let failure =
                Failure::new(Exit::Found, format!("the audit log in `{}` is broken", asked.dir.display()))
                    .why(broken.to_string());
            match asked.anchor {
                None => {
                    failure.fix("compare with a backup, and with an anchor from elsewhere: --anchor seq:hash")
                }
                Some(_) => failure.fix("compare with a backup"),
            }
        }
        VerifyError::Unreadable(error) => Failure::new(Exit::Unexpected, error.to_string())
            .fix("say where the log is with --dir; it is `audit` below the broker's data directory"),
    }
}

impl ReportView {
    fn new(report: Report, anchor_checked: bool) -> Self {
        Self {
            records: report.records,
            first_time: report.first,
            last_time: report.last,
            anchor: report.head.to_string(),
            anchor_checked,
            unfinished_bytes: report.unfinished,
        }
    }
}

impl Record for ReportView {
    const KIND: &'static str = "AuditReport";
    const COLUMNS: &'static [&'static str] = &["RECORDS", "LAST", "ANCHOR"];

    fn name(&self) -> String {
        self.anchor.clone()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.records.to_string(), self.last_time.clone().unwrap_or_default(), self.anchor.clone()]
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        let checked = if self.anchor_checked { ", yours matches" } else { "" };
        let unfinished = match self.unfinished_bytes {
            0 => String::new(),
            bytes => format!("{bytes} bytes of an entry that is being written, or that a crash cut"),
        };
        vec![
            ("records", format!("{}, chain intact", self.records)),
            ("first", self.first_time.clone().unwrap_or_default()),
            ("last", self.last_time.clone().unwrap_or_default()),
            ("anchor", format!("{}{checked}", self.anchor)),
            ("unfinished", unfinished),
        ]
    }
}
