//! `taskpass task release`.

use crate::{
    error::{Exit, Failure},
    session::{Outcome, Session},
};
use clap::Args;

/// Lift the hold on one resource of a task; the agent may ask again
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass task release tk_9f2c41 billing-api")]
pub(crate) struct Release {
    /// The task: its id, or the first 6 characters or more after `tk_`
    id: String,
    /// What is held
    resource: String,
}

impl Release {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let Self { id, resource } = self;
        if !session.broker().await?.release_task_hold(&id, &resource).await? {
            return Err(Failure::new(
                Exit::NotFound,
                format!("`{resource}` is not held for task `{id}`, or the hold was lifted before"),
            ));
        }
        session.out.say(&format!("released the hold on {resource} for {id}"));
        Ok(Exit::Done)
    }
}
