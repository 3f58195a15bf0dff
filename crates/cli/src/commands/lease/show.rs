//! `taskpass lease show`.

use crate::{
    error::Exit,
    session::{Outcome, Session},
    view::LeaseView,
};
use clap::Args;

/// Show one lease: why it exists and how it ends; never the credential
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass lease show ls_7h2kq4\n  taskpass lease show ls_7h2kq4 -o json")]
pub(crate) struct Show {
    /// The id, or the first 6 characters or more after `ls_`
    id: String,
}

impl Show {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let lease = session.broker().await?.find_lease(self.id).await?;
        session.out.one(&LeaseView::new(lease, session.now()))?;
        Ok(Exit::Done)
    }
}
