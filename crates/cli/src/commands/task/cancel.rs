//! `taskpass task cancel`.

use crate::{
    error::Exit,
    session::{Outcome, Session},
    view::TaskView,
};
use clap::Args;

/// Call a task off; everything under it dies
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass task cancel tk_9f2c4x --reason \"wrong month\"")]
pub(crate) struct Cancel {
    /// The id, or the first 6 characters or more after `tk_`
    id: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Cancel {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let task = session.broker().await?.cancel_task(self.id, self.reason).await?;
        let task = TaskView::new(task, session.now());
        session.out.one(&task)?;
        session.out.hint(&format!("taskpass lease list --all --task {}", session.out.style.id(&task.id)));
        Ok(Exit::Done)
    }
}
