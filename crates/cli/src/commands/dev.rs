//! `taskpass dev`.

use crate::{
    dev::Dev,
    error::{Exit, Failure},
    session::Outcome,
};
use clap::Args;
use std::{io, path::PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// Run a whole broker for yourself, with a resource to try it on
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass dev
  taskpass dev --dir sandbox       # keep everything there

Other commands of the same user find it by themselves. It listens on the loopback address only.")]
pub(crate) struct DevCommand {
    /// Keep policies, keys and data here; a directory that is removed in the end when not said
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl DevCommand {
    pub(super) fn run(self) -> Outcome {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.serve())
    }

    async fn serve(self) -> Outcome {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let dev =
            Dev::start(self.dir.as_deref(), |name| std::env::var(name).ok()).await.map_err(|error| {
                Failure::new(Exit::Unexpected, format!("the sandbox does not start: {error:#}"))
            })?;
        dev.banner(&mut io::stdout().lock())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        dev.stop().await;
        Ok(Exit::Done)
    }
}
