//! `taskpass policy`: what decides.

mod check;

use crate::session::{Outcome, Session};
use clap::Subcommand;

/// Check policies before they decide
#[derive(Subcommand)]
pub(crate) enum Command {
    Check(check::Check),
}

impl Command {
    pub(super) fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Check(command) => command.run(session),
        }
    }
}
