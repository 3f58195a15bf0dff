//! `taskpass hold lift`.

use super::Held;
use crate::{
    error::{Exit, Failure},
    session::{Outcome, Session},
    view::WideView,
};
use clap::Args;

/// Let what is held go on; what was ended stays so
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass hold lift --all\n  taskpass hold lift --agent ci/bot")]
pub(crate) struct Lift {
    #[command(flatten)]
    held: Held,
}

impl Lift {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let wide = self.held.message()?;
        let words = WideView::from(wide.clone()).words();
        if !session.broker().await?.lift_hold(wide).await? {
            return Err(Failure::new(
                Exit::NotFound,
                format!("{words} is not held, or the hold was lifted before"),
            )
            .fix("taskpass hold list"));
        }
        session.out.say(&format!("lifted the hold on {words}"));
        Ok(Exit::Done)
    }
}
