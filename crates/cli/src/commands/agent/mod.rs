//! `taskpass agent`: who is registered.

mod list;

use crate::session::{Outcome, Session};
use clap::Subcommand;

/// List registered agents
#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(visible_alias = "ls")]
    List(list::List),
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::List(command) => command.run(session).await,
        }
    }
}
