//! While the command runs: pass signals on, keep files fresh, stop it when its leases or its task end.

use super::{
    child::Variable,
    credential_file::CredentialFile,
    injection::Injection,
    signals::{Signals, came_from_the_terminal},
};
use crate::{
    error::{Exit, Failure},
    session::Session,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, sync::Arc, time::Duration};
use taskpass_client::{Credential as _, Error, Lease, LeaseState, Task, Token};
use taskpass_types::{Clock as _, Secret};
use tokio::{
    process::Child,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// A lease and where its token is.
pub(super) struct Held {
    resource: String,
    lease: Lease<Token>,
    variables: Vec<String>,
    file: Option<Arc<CredentialFile>>,
}

/// How the command ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// Whether the task had ended before.
    pub(super) task_ended: bool,
}

impl Held {
    /// Writes the file, if there is to be one.
    pub(super) fn new(lease: Lease<Token>, injection: &Injection) -> Result<Self, Failure> {
        let token = lease.token()?;
        let file = injection.file.as_deref().map(|path| CredentialFile::create(path, &token)).transpose()?;
        Ok(Self {
            resource: injection.ask.resource.to_string(),
            lease,
            variables: injection.variables.clone(),
            file: file.map(Arc::new),
        })
    }

    /// What the command finds in its environment.
    pub(super) fn environment(&self) -> Result<Vec<Variable>, Failure> {
        let token: Arc<Secret<String>> = Arc::new(self.lease.token()?);
        Ok(self.variables.iter().map(|name| (name.clone(), token.clone())).collect())
    }

    /// How long what is in the environment lives.
    fn first_life(&self, session: &Session) -> Option<Duration> {
        if self.variables.is_empty() {
            return None;
        }
        self.lease.current().ok().map(|token| token.expires_at().since(session.clock.now()))
    }
}

/// Starts the command and stays until it has ended.
pub(super) async fn supervise(
    session: &Session,
    task: &Task,
    held: &[Held],
    grace: Duration,
    spawn: impl FnOnce() -> Result<Child, Failure>,
) -> Result<Ended, Failure> {
    let mut signals = Signals::new()?;
    let mut keepers = JoinSet::new();
    for held in held {
        keepers.spawn(keep(held.resource.clone(), held.lease.watch(), held.file.clone()));
    }
    let mut stale = stale_variables(session, held);
    let mut run =
        Run { child: spawn()?, grace, kill_at: None, interrupts: 0, lease_ended: false, task_ended: false };
    let status = loop {
        let kill_at = run.kill_at;
        tokio::select! {
            status = run.child.wait() => break status?,
            signal = signals.next() => run.pass_on(signal),
            Some(lost) = keepers.join_next() => {
                if let Ok((resource, error)) = lost && !run.stopping() {
                    session.out.warn(&format!("taskpass: the lease for {resource} has ended, stopping the command: {error}"));
                    run.lease_ended = true;
                    run.stop();
                }
            }
            error = task.ended(), if !run.stopping() => {
                session.out.warn(&format!("taskpass: the task has ended, stopping the command: {error}"));
                (run.lease_ended, run.task_ended) = (true, true);
                run.stop();
            }
            Some(variables) = stale.join_next() => {
                if let Ok(variables) = variables {
                    session.out.say(&format!("taskpass: the token in {variables} has expired; use --file for commands that run longer"));
                }
            }
            () = at(kill_at), if kill_at.is_some() => run.kill(),
        }
    };
    keepers.shutdown().await;
    Ok(Ended {
        exit: if run.lease_ended { Exit::LeaseEnded } else { exit_of(status) },
        task_ended: run.task_ended,
    })
}

/// Waits for the time; for ever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// One run of the command.
struct Run {
    child: Child,
    grace: Duration,
    /// When SIGTERM was no use.
    kill_at: Option<Instant>,
    interrupts: u32,
    lease_ended: bool,
    task_ended: bool,
}

impl Run {
    fn stopping(&self) -> bool {
        self.lease_ended
    }

    /// Asks the command to end, and makes it end when the grace is over.
    fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.kill_at.get_or_insert_with(|| Instant::now() + self.grace);
    }

    fn kill(&mut self) {
        self.kill_at = None;
        self.signal(Signal::KILL);
    }

    /// Passes a signal on, unless the command has it already. Who interrupts twice means it.
    fn pass_on(&mut self, signal: Signal) {
        if !came_from_the_terminal(signal) {
            self.signal(signal);
        }
        if signal == Signal::INT {
            self.interrupts += 1;
            if self.interrupts == 2 {
                self.stop();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // It is not reaped before `wait` returns, so the id cannot be somebody else's.
        let child = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(child) = child
            && let Err(error) = kill_process(child, signal)
        {
            tracing::debug!(%error, ?signal, "the signal did not reach the command");
        }
    }
}

/// The command's own code, or 128 and the signal that ended it.
fn exit_of(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Exit::Child(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// Writes every new token to the file; returns when the lease is lost.
async fn keep(
    resource: String,
    mut lease: watch::Receiver<LeaseState<Token>>,
    file: Option<Arc<CredentialFile>>,
) -> (String, Error) {
    loop {
        let state = lease.borrow_and_update().clone();
        match (state, &file) {
            (LeaseState::Lost(error), _) => return (resource, error),
            (LeaseState::Current(token), Some(file)) => {
                if let Err(error) = file.replace(token.secret()) {
                    tracing::error!(path = %file.path().display(), %error, "the credential file is not fresh");
                }
            }
            (LeaseState::Current(_), None) => {}
        }
        if lease.changed().await.is_err() {
            // The guard is gone, which is our own doing; there is nothing left to keep.
            return std::future::pending().await;
        }
    }
}

/// Each ends when the token in a resource's variables has expired, and gives their names.
fn stale_variables(session: &Session, held: &[Held]) -> JoinSet<String> {
    let mut stale = JoinSet::new();
    for held in held {
        if let Some(life) = held.first_life(session) {
            let names = held.variables.join(", ");
            stale.spawn(async move {
                sleep(life).await;
                names
            });
        }
    }
    stale
}
