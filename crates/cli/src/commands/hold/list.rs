//! `taskpass hold list`.

use crate::{
    error::Exit,
    session::{Outcome, Session},
    view::WideHoldView,
};
use clap::Args;

/// List what is held and wider than a task
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass hold list\n  taskpass hold list -o json")]
pub(crate) struct List {}

impl List {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let holds = session.broker().await?.list_holds().await?;
        let holds: Vec<_> = holds.into_iter().map(WideHoldView::from).collect();
        session.out.list(&holds, "")?;
        Ok(Exit::Done)
    }
}
