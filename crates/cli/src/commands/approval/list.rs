//! `taskpass approval list`.

use crate::{
    args::Paging,
    error::Exit,
    session::{Outcome, Session},
    view::ApprovalView,
};
use clap::Args;
use taskpass_proto::v1;

/// List approvals, newest first
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass approval list --pending
  taskpass approval list --agent support/triage -o json | jq '.items[] | {id, state}'")]
pub(crate) struct List {
    /// Only those that wait
    #[arg(long)]
    pending: bool,
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
            let (agent, pending) = (self.agent.clone(), self.pending);
            let request = v1::ListApprovalsRequest { page_size, page_token, agent, pending };
            let broker = broker.clone();
            async move { broker.list_approvals(request).await.map(|page| (page.approvals, page.next_page_token)) }
        };
        let (approvals, next) = self.paging.collect(fetch).await?;
        let now = session.now();
        let approvals: Vec<_> =
            approvals.into_iter().map(|approval| ApprovalView::new(approval, now)).collect();
        session.out.list(&approvals, &next)?;
        session.say_if_cut(approvals.len(), &next);
        Ok(Exit::Done)
    }
}
