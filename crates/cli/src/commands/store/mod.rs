//! `taskpass store`: where tasks, leases and deny records live, looked at from below. No broker has to run for it.

mod check;
mod info;
mod transfer;

use crate::{
    commands::serve,
    config::Config,
    error::{Exit, Failure},
    session::{Outcome, Session},
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// Check, back up, restore and move the store
#[derive(Subcommand)]
pub(crate) enum Command {
    Backup(transfer::BackUp),
    Check(check::Check),
    Info(info::Info),
    Migrate(transfer::Migrate),
    Restore(transfer::Restore),
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Backup(command) => command.run(session).await,
            Self::Check(command) => command.run(session).await,
            Self::Info(command) => command.run(session).await,
            Self::Migrate(command) => command.run(session).await,
            Self::Restore(command) => command.run(session).await,
        }
    }
}

/// Whose store.
#[derive(Args)]
pub(super) struct Whose {
    /// The broker's configuration
    #[arg(short, long, value_name = "FILE", default_value = "/etc/taskpass/taskpass.toml")]
    pub(super) config: PathBuf,
}

impl Whose {
    pub(super) fn load(&self) -> Result<Config, Failure> {
        load(&self.config)
    }
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| serve::failure(Exit::Usage, &error))
}

pub(super) use check::report;
