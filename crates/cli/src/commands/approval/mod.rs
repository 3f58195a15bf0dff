//! `taskpass approval`: what waits for people; and the two words with which people answer.

mod approve;
mod deny;
mod list;
mod show;
mod vote;
mod watch;

pub(crate) use approve::Approve;
pub(crate) use deny::Deny;

use crate::session::{Outcome, Session};
use clap::Subcommand;

/// See what waits for people
#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(visible_alias = "ls")]
    List(list::List),
    Show(show::Show),
    Watch(watch::Watch),
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::List(command) => command.run(session).await,
            Self::Show(command) => command.run(session).await,
            Self::Watch(command) => command.run(session).await,
        }
    }
}
