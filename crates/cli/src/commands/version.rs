//! `taskpass version`.

use crate::{
    error::Exit,
    output::{Record, Style},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;

/// Show the version
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass version\n  taskpass version -o json")]
pub(crate) struct Version;

#[derive(Serialize)]
struct VersionView {
    version: &'static str,
}

impl Version {
    pub(super) fn run(self, session: &Session) -> Outcome {
        session.out.one(&VersionView { version: env!("CARGO_PKG_VERSION") })?;
        Ok(Exit::Done)
    }
}

impl Record for VersionView {
    const KIND: &'static str = "Version";
    const COLUMNS: &'static [&'static str] = &["VERSION"];

    fn name(&self) -> String {
        self.version.to_owned()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.version.to_owned()]
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        vec![("taskpass", self.version.to_owned())]
    }
}
