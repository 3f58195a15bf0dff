//! `taskpass task list`.

use crate::{
    args::Paging,
    error::Exit,
    session::{Outcome, Session},
    view::TaskView,
};
use clap::Args;
use taskpass_proto::v1;

/// List running tasks, newest first
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass task list --agent ci/invoice-bot
  taskpass task list --all -o json | jq '.items[] | {id, state}'")]
pub(crate) struct List {
    /// Those that have ended, too
    #[arg(short, long)]
    all: bool,
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
            let request =
                v1::ListTasksRequest { page_size, page_token, agent: self.agent.clone(), running: !self.all };
            let broker = broker.clone();
            async move { broker.list_tasks(request).await.map(|page| (page.tasks, page.next_page_token)) }
        };
        let (tasks, next) = self.paging.collect(fetch).await?;
        let tasks: Vec<_> = tasks.into_iter().map(|task| TaskView::new(task, session.now())).collect();
        session.out.list(&tasks, &next)?;
        session.say_if_cut(tasks.len(), &next);
        Ok(Exit::Done)
    }
}
