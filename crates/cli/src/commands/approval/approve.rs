//! `taskpass approve`.

use super::vote::cast;
use crate::session::{Outcome, Session};
use clap::Args;

/// Approve what waits for you: the agent may make exactly this request, once
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass approve ap_31c7q0
  taskpass approve ap_31c7q0 --reason \"checked order 7291\"

Only people vote, never workloads: not the agent, not its owner, not whoever started the task. See also
`taskpass help approvals`.")]
pub(crate) struct Approve {
    /// The ids, or the first 6 characters or more after `ap_`
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Approve {
    pub(in crate::commands) async fn run(self, session: &Session) -> Outcome {
        cast(session, &self.ids, true, &self.reason).await
    }
}
