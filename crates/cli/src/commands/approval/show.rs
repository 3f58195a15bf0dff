//! `taskpass approval show`.

use crate::{
    error::Exit,
    session::{Outcome, Session},
    view::ApprovalView,
};
use clap::Args;

/// Show one approval: who asks for what, who has to approve, and what to type next
#[derive(Args)]
#[command(
    after_help = "Examples:\n  taskpass approval show ap_31c7q0\n  taskpass approval show ap_31c7q0 -o json"
)]
pub(crate) struct Show {
    /// The id, or the first 6 characters or more after `ap_`
    id: String,
}

impl Show {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let approval = session.broker().await?.find_approval(self.id).await?;
        session.out.one(&ApprovalView::new(approval, session.now()))?;
        Ok(Exit::Done)
    }
}
