//! `taskpass whoami`.

use crate::{
    error::Exit,
    session::{Outcome, Session},
    view::WhoAmIView,
};
use clap::Args;

/// Show what the broker makes of you: evidence, agent, roles
#[derive(Args)]
#[command(
    after_help = "Examples:\n  taskpass whoami\n  taskpass whoami -o json | jq -r '.item.selectors[]'   # for [[agents]]"
)]
pub(crate) struct WhoAmI;

impl WhoAmI {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let answer = session.broker().await?.whoami().await?;
        session.out.one(&WhoAmIView::from(answer))?;
        Ok(Exit::Done)
    }
}
