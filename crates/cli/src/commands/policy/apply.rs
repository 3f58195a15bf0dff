//! `taskpass policy apply`.

use super::plan;
use crate::{
    error::Exit,
    session::{Outcome, Session},
};
use clap::Args;
use std::path::PathBuf;

/// Put policies in force, and do exactly what was previewed to what lives
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy apply policies/ --reason \"refunds need two people\"
  taskpass policy apply --plan pl_5xd3k9 --reason \"refunds need two people\"

With a directory the change is previewed first; when it would take something from what lives, you are asked, or
--yes says so. Exit code 6 when it would take more than was previewed.")]
pub(crate) struct Apply {
    /// The directory with the *.cedar files
    #[arg(required_unless_present = "plan", conflicts_with = "plan")]
    dir: Option<PathBuf>,
    /// A change that `policy diff` showed within the last ten minutes
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Why, for the history and the audit log
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
    /// Yes, also when something is lost
    #[arg(short, long)]
    yes: bool,
}

impl Apply {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let Some(dir) = &self.dir else {
            let broker = session.broker().await?;
            let plan = self.plan.unwrap_or_default();
            return plan::apply(session, &broker, &plan, &self.reason).await;
        };
        let Some(policies) = plan::load(session, dir)? else { return Ok(Exit::Found) };
        let broker = session.broker().await?;
        let plan = plan::preview(&broker, &policies).await?;
        plan::confirm(session, &broker, &plan, &self.reason, self.yes).await
    }
}
