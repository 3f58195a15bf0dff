//! The command's process: started by way of ourselves, so that it dies when we are killed.
//!
//! Linux ends a process with its parent if the process asks for it (`PR_SET_PDEATHSIG`). Asking between fork and exec
//! needs `unsafe`; so the child first is this program once more (`exec-child`), asks, and then becomes the command.
//! Process id, terminal, process group and standard streams stay the same all the way.

use super::{injection, not_run};
use crate::{
    error::{Exit, Failure},
    session::Outcome,
};
use clap::Args;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::{ffi::OsString, os::unix::process::CommandExt as _, process, sync::Arc};
use taskpass_types::Secret;
use tokio::process::{Child, Command};

/// Where Linux keeps this very program, even if its file was replaced meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// A variable and its secret value.
pub(super) type Variable = (String, Arc<Secret<String>>);

/// Starts the command with `environment` added to ours.
pub(super) fn spawn(command: &[OsString], environment: &[Variable]) -> Result<Child, Failure> {
    let inherited = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut child = process::Command::new(OURSELVES);
    child
        .arg0("taskpass")
        .args(["exec-child", "--parent"])
        .arg(getpid().as_raw_nonzero().to_string())
        .arg("--")
        .args(command);
    for name in inherited.filter(|name| injection::is_ours(name)) {
        child.env_remove(name);
    }
    child.envs(environment.iter().map(|(name, value)| (name, value.expose())));
    Command::from(child)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::new(Exit::NotStarted, format!("the command cannot be started: {error}")))
}

/// Become a command that dies with its parent
#[derive(Args)]
pub(crate) struct ExecChild {
    /// Who must still be the parent
    #[arg(long)]
    parent: i32,
    /// What to become
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl ExecChild {
    /// Returns only if the command cannot be run.
    pub(in crate::commands) fn run(self) -> Outcome {
        let failed = |what: &str| Failure::new(Exit::NotStarted, what);
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| failed("the command cannot be tied to taskpass").why(error.to_string()))?;
        // A parent that died before we asked would never be noticed.
        if getppid() != Pid::from_raw(self.parent) {
            return Err(failed("taskpass was killed before the command started"));
        }
        let (name, arguments) = self.command.split_first().ok_or_else(|| failed("there is no command"))?;
        let error = process::Command::new(name).args(arguments).exec();
        Err(not_run(name, &error))
    }
}
