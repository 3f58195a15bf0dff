//! `taskpass policy rollback`.

use super::plan;
use crate::{
    session::{Outcome, Session},
    view::PlanView,
};
use clap::Args;

/// Put policies of the history back in force
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy rollback 5d3ec6 --reason \"refunds are stuck\"

It is previewed and confirmed as `taskpass policy apply` does.")]
pub(crate) struct Rollback {
    /// The revision, or its first 6 characters or more; see `taskpass policy history`
    revision: String,
    /// Why, for the history and the audit log
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
    /// Yes, also when something is lost
    #[arg(short, long)]
    yes: bool,
}

impl Rollback {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let broker = session.broker().await?;
        let plan = PlanView::from(broker.plan_rollback(self.revision).await?);
        plan::confirm(session, &broker, &plan, &self.reason, self.yes).await
    }
}
