//! `taskpass agent list`.

use crate::{
    args::Paging,
    error::Exit,
    session::{Outcome, Session},
    view::AgentView,
};
use clap::Args;
use taskpass_proto::v1;

/// List the registered agents, by name
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass agent list
  taskpass agent list -o json | jq -r '.items[] | select(.state != \"active\").id'")]
pub(crate) struct List {
    #[command(flatten)]
    paging: Paging,
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let broker = session.broker().await?;
        let fetch = |page_size, page_token| {
            let request = v1::ListAgentsRequest { page_size, page_token };
            let broker = broker.clone();
            async move { broker.list_agents(request).await.map(|page| (page.agents, page.next_page_token)) }
        };
        let (agents, next) = self.paging.collect(fetch).await?;
        let agents: Vec<_> = agents.into_iter().map(AgentView::from).collect();
        session.out.list(&agents, &next)?;
        session.say_if_cut(agents.len(), &next);
        Ok(Exit::Done)
    }
}
