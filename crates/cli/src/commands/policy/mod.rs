//! `taskpass policy`: what decides, what another set would change, and why something was decided.

mod apply;
mod check;
mod diff;
mod history;
mod plan;
mod replay;
mod rollback;
mod show;
mod simulate;
mod test;
mod why;

use crate::session::{Outcome, Session, wait_for};
use clap::Subcommand;

/// Check, test, preview and change policies; ask them
#[derive(Subcommand)]
pub(crate) enum Command {
    Apply(apply::Apply),
    Check(check::Check),
    Diff(diff::Diff),
    History(history::History),
    Replay(replay::Replay),
    Rollback(rollback::Rollback),
    Show(show::Show),
    Simulate(Box<simulate::Simulate>),
    Test(test::Test),
    Why(why::Why),
}

impl Command {
    pub(super) fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Apply(command) => wait_for(command.run(session)),
            Self::Check(command) => command.run(session),
            Self::Diff(command) => wait_for(command.run(session)),
            Self::History(command) => wait_for(command.run(session)),
            Self::Replay(command) => wait_for(command.run(session)),
            Self::Rollback(command) => wait_for(command.run(session)),
            Self::Show(command) => wait_for(command.run(session)),
            Self::Simulate(command) => wait_for(command.run(session)),
            Self::Test(command) => command.run(session),
            Self::Why(command) => wait_for(command.run(session)),
        }
    }
}
