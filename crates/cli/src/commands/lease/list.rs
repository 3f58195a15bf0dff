//! `taskpass lease list`.

use crate::{
    args::Paging,
    error::Exit,
    session::{Outcome, Session},
    view::LeaseView,
};
use clap::Args;
use taskpass_proto::v1;

/// List active leases, newest first
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass lease list --agent ci/invoice-bot
  taskpass lease list -o json | jq '.items[] | {id, ttlSeconds}'
  taskpass lease list --task tk_9f2c4x -o name | xargs -r taskpass lease kill --yes --reason stale")]
pub(crate) struct List {
    /// Those that have ended, too
    #[arg(short, long)]
    all: bool,
    /// Only those directly under this task
    #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
    task: String,
    /// Only this agent's
    #[arg(long, value_name = "AGENT", default_value = "", hide_default_value = true)]
    agent: String,
    #[command(flatten)]
    paging: Paging,
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let broker = session.broker().await?;
        let fetch = |page_size, page_token| {
            let request = v1::ListLeasesRequest {
                page_size,
                page_token,
                task_id: self.task.clone(),
                agent: self.agent.clone(),
                active: !self.all,
            };
            let broker = broker.clone();
            async move { broker.list_leases(request).await.map(|page| (page.leases, page.next_page_token)) }
        };
        let (leases, next) = self.paging.collect(fetch).await?;
        let leases: Vec<_> = leases.into_iter().map(|lease| LeaseView::new(lease, session.now())).collect();
        session.out.list(&leases, &next)?;
        session.say_if_cut(leases.len(), &next);
        Ok(Exit::Done)
    }
}
