//! `taskpass deny`.

use super::vote::cast;
use crate::session::{Outcome, Session};
use clap::Args;

/// Deny what waits for you; the agent receives the reason
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass deny ap_31c7q0 --reason \"use the ledger tool instead\"

One denial settles it, also after it was granted, until it is used.")]
pub(crate) struct Deny {
    /// The ids, or the first 6 characters or more after `ap_`
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// What the agent is told: a sentence that says what to do instead
    #[arg(long, value_name = "TEXT", required = true)]
    reason: String,
}

impl Deny {
    pub(in crate::commands) async fn run(self, session: &Session) -> Outcome {
        cast(session, &self.ids, false, &self.reason).await
    }
}
