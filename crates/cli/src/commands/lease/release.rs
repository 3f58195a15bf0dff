//! `taskpass lease release`.

use crate::{
    error::{Exit, Failure},
    session::{Outcome, Session},
};
use clap::Args;

/// Lift the hold that a kill left; the agent may ask again
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass lease release ls_7h2kq4")]
pub(crate) struct Release {
    /// The killed lease: its id, or the first 6 characters or more after `ls_`
    id: String,
}

impl Release {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        if !session.broker().await?.release_hold(&self.id).await? {
            return Err(Failure::new(
                Exit::NotFound,
                format!("lease `{}` left no hold, or it was lifted before", self.id),
            ));
        }
        session.out.say(&format!("released the hold that the kill of {} left", self.id));
        Ok(Exit::Done)
    }
}
