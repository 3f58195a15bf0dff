//! `taskpass policy history`.

use crate::{
    args::Paging,
    error::Exit,
    session::{Outcome, Session},
    view::PolicySetView,
};
use clap::Args;
use taskpass_proto::v1;

/// List the policies that were in force, newest first
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy history
  taskpass policy history -o json | jq '.items[] | {revision, by, origin}'")]
pub(crate) struct History {
    #[command(flatten)]
    paging: Paging,
}

impl History {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let broker = session.broker().await?;
        let fetch = |page_size, page_token| {
            let request = v1::ListPolicySetsRequest { page_size, page_token };
            let broker = broker.clone();
            async move { broker.list_policy_sets(request).await.map(|page| (page.sets, page.next_page_token)) }
        };
        let (sets, next) = self.paging.collect(fetch).await?;
        let sets: Vec<_> = sets.into_iter().map(PolicySetView::from).collect();
        session.out.list(&sets, &next)?;
        session.say_if_cut(sets.len(), &next);
        session.out.hint("taskpass policy show REVISION    go back: taskpass policy rollback REVISION");
        Ok(Exit::Done)
    }
}
