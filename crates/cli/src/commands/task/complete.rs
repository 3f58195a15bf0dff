//! `taskpass task complete`.

use crate::{
    error::Exit,
    session::{Outcome, Session},
    view::TaskView,
};
use clap::Args;

/// Declare a task done; everything under it dies
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass task complete tk_9f2c4x")]
pub(crate) struct Complete {
    /// The id, or the first 6 characters or more after `tk_`
    id: String,
}

impl Complete {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let task = session.broker().await?.complete_task(self.id).await?;
        let task = TaskView::new(task, session.now());
        session.out.one(&task)?;
        session.out.hint(&format!("taskpass lease list --all --task {}", session.out.style.id(&task.id)));
        Ok(Exit::Done)
    }
}
