//! `taskpass task cancel`.

use super::ended::EndedView;
use crate::{
    args::Verifiers,
    session::{Outcome, Session},
};
use clap::Args;
use taskpass_proto::v1;

/// Call a task off; everything under it dies
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass task cancel tk_9f2c4x --reason \"wrong month\"")]
pub(crate) struct Cancel {
    /// The id, or the first 6 characters or more after `tk_`
    id: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    verifiers: Verifiers,
}

impl Cancel {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let request =
            v1::CancelTaskRequest { task_id: self.id, reason: self.reason, wait: self.verifiers.wait() };
        let answer = session.broker().await?.cancel(request).await?;
        EndedView::show(answer.task, answer.enforcement, self.verifiers, session)
    }
}
