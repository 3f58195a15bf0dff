//! `taskpass task show`.

use crate::{
    error::Exit,
    session::{Outcome, Session},
    view::TaskView,
};
use clap::Args;

/// Show one task
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass task show tk_9f2c4x\n  taskpass task show tk_9f2c4x -o json")]
pub(crate) struct Show {
    /// The id, or the first 6 characters or more after `tk_`
    id: String,
}

impl Show {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let task = session.broker().await?.find_task(self.id).await?;
        session.out.one(&TaskView::new(task, session.now()))?;
        Ok(Exit::Done)
    }
}
