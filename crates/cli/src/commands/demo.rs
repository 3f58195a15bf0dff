//! `taskpass demo`, and the agent that it starts.

use crate::{
    demo::{self, AgentArgs},
    error::{Exit, Failure},
    session::Outcome,
};
use clap::Args;
use std::{io, path::PathBuf};

/// Show the promise on real parts: every way to end, all refused after
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass demo
  taskpass demo --dir kept      # keep the audit log, keys and policies to look at

Exit code 10 when something that is promised did not happen.")]
pub(crate) struct Demo {
    /// Keep everything here; a directory that is removed in the end when not said
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The agent of the demo, in a process of its own
#[derive(Args)]
pub(crate) struct DemoAgent {
    #[command(flatten)]
    args: AgentArgs,
}

impl Demo {
    pub(super) fn run(self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let kept = runtime
            .block_on(demo::run(&mut io::stdout().lock(), self.dir.as_deref()))
            .map_err(|error| Failure::new(Exit::Unexpected, format!("the demo does not run: {error:#}")))?;
        Ok(if kept { Exit::Done } else { Exit::Found })
    }
}

impl DemoAgent {
    pub(super) async fn run(self) -> Outcome {
        match demo::act(self.args).await.map_err(|error| error.downcast::<taskpass_client::Error>()) {
            Ok(()) => Ok(Exit::Done),
            Err(Ok(refused)) => Err(refused.into()),
            Err(Err(error)) => Err(Failure::new(Exit::Unexpected, format!("{error:#}"))),
        }
    }
}
