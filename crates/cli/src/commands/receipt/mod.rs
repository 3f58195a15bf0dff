//! `taskpass receipt`: proof of how a task ended, for people who trust neither us nor who shows it.

mod get;
mod verify;

use crate::session::{Outcome, Session, wait_for};
use clap::Subcommand;

/// Get the signed receipt of an ended task, and check one offline
#[derive(Subcommand)]
pub(crate) enum Command {
    Get(get::Get),
    Verify(verify::Verify),
}

impl Command {
    pub(super) fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Get(command) => wait_for(command.run(session)),
            Self::Verify(command) => command.run(session),
        }
    }
}
