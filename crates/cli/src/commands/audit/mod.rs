//! `taskpass audit`: what happened, and the proof that nobody changed it.

mod tail;
mod verify;

use crate::session::{Outcome, Session, wait_for};
use clap::Subcommand;

/// Read and verify the audit log
#[derive(Subcommand)]
pub(crate) enum Command {
    Tail(tail::Tail),
    Verify(verify::Verify),
}

impl Command {
    pub(super) fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Tail(command) => wait_for(command.run(session)),
            Self::Verify(command) => command.run(session),
        }
    }
}
