//! `taskpass lease`: what was issued, and how to end it.

mod kill;
mod list;
mod many;
mod release;
mod show;

use crate::session::{Outcome, Session};
use clap::Subcommand;

/// List, show and kill leases
#[derive(Subcommand)]
pub(crate) enum Command {
    Kill(Box<kill::Kill>),
    #[command(visible_alias = "ls")]
    List(list::List),
    Release(release::Release),
    Show(show::Show),
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Kill(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Release(command) => command.run(session).await,
            Self::Show(command) => command.run(session).await,
        }
    }
}
