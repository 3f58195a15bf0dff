//! `taskpass tool`: tool calls, asked before and reported after.

mod authorize;
mod call;
mod report;

use crate::session::{Outcome, Session};
use clap::Subcommand;

/// Ask before a tool call, and report after it
#[derive(Subcommand)]
pub(crate) enum Command {
    Authorize(authorize::Authorize),
    Report(report::Report),
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Authorize(command) => command.run(session).await,
            Self::Report(command) => command.run(session).await,
        }
    }
}
