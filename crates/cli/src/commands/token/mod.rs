//! `taskpass token`: what a token says.

mod inspect;

use crate::session::{Outcome, Session};
use clap::Subcommand;

/// Look into tokens
#[derive(Subcommand)]
pub(crate) enum Command {
    Inspect(inspect::Inspect),
}

impl Command {
    pub(super) fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Inspect(command) => command.run(session),
        }
    }
}
