//! `taskpass task complete`.

use super::ended::EndedView;
use crate::{
    args::Verifiers,
    session::{Outcome, Session},
};
use clap::Args;
use taskpass_proto::v1;

/// Declare a task done; everything under it dies
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass task complete tk_9f2c4x
  taskpass task complete tk_9f2c4x --require-all-verifiers || echo 'somebody may still accept it'")]
pub(crate) struct Complete {
    /// The id, or the first 6 characters or more after `tk_`
    id: String,
    #[command(flatten)]
    verifiers: Verifiers,
}

impl Complete {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let request = v1::CompleteTaskRequest { task_id: self.id, wait: self.verifiers.wait() };
        let answer = session.broker().await?.complete(request).await?;
        EndedView::show(answer.task, answer.enforcement, self.verifiers, session)
    }
}
