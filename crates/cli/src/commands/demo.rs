//! `taskpass demo`, and the agent and the second broker that it starts.

use crate::{
    config::HostPort,
    demo::{self, AgentArgs, BrokerArgs},
    error::{Exit, Failure},
    session::Outcome,
};
use clap::Args;
use std::{io, path::PathBuf};
use tokio::runtime::Runtime;

/// Show the promise on real parts: every way to end, all refused after
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass demo
  taskpass demo --dir kept      # keep the audit log, keys and policies to look at
  taskpass demo --redis 127.0.0.1:6379      # on a ledger that brokers share, and one of two dies

Exit code 10 when something that is promised did not happen.")]
pub(crate) struct Demo {
    /// Keep everything here; a directory that is removed in the end when not said
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep tasks and leases in a new ledger on this Redis or Valkey, whose keys stay there
    #[arg(long, value_name = "HOST:PORT", value_parser = |text: &str| HostPort::try_from(text.to_owned()))]
    redis: Option<HostPort>,
}

/// The agent of the demo, in a process of its own
#[derive(Args)]
pub(crate) struct DemoAgent {
    #[command(flatten)]
    args: AgentArgs,
}

/// The second broker of the demo, in a process of its own
#[derive(Args)]
pub(crate) struct DemoBroker {
    #[command(flatten)]
    args: BrokerArgs,
}

impl Demo {
    pub(super) fn run(self) -> Outcome {
        let kept = runtime()?
            .block_on(demo::run(&mut io::stdout().lock(), self.dir.as_deref(), self.redis))
            .map_err(|error| Failure::new(Exit::Unexpected, format!("the demo does not run: {error:#}")))?;
        Ok(if kept { Exit::Done } else { Exit::Found })
    }
}

impl DemoBroker {
    pub(super) fn run(self) -> Outcome {
        let served = runtime()?.block_on(demo::serve(self.args));
        served.map_err(|error| Failure::new(Exit::Unexpected, format!("{error:#}")))?;
        Ok(Exit::Done)
    }
}

/// What a broker runs on.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
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
