//! `taskpass task`: the unit of authority.

mod cancel;
mod complete;
mod ended;
mod list;
mod release;
mod show;
mod start;

use crate::session::{Outcome, Session};
use clap::Subcommand;

/// Start, list and end tasks
#[derive(Subcommand)]
pub(crate) enum Command {
    Cancel(cancel::Cancel),
    Complete(complete::Complete),
    #[command(visible_alias = "ls")]
    List(list::List),
    Release(release::Release),
    Show(show::Show),
    Start(start::Start),
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Cancel(command) => command.run(session).await,
            Self::Complete(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Release(command) => command.run(session).await,
            Self::Show(command) => command.run(session).await,
            Self::Start(command) => command.run(session).await,
        }
    }
}
