//! `taskpass exec`: runs a command under a task and its leases, and ends them when it ends.
//!
//! Invariants: nothing runs before every lease is there; the wrapper stays, transparent to terminal, signals and exit
//! code, because who replaces itself by the command cannot end anything afterwards; however it goes (exit, signal,
//! refusal, the death of the wrapper), the leases end: by one write, or by the silence of the heartbeat.

mod child;
mod credential_file;
mod injection;
mod signals;
mod supervise;

pub(crate) use child::ExecChild;

use crate::{
    args::{Ask, Declaration, Pair, Patience},
    error::{Exit, Failure},
    session::{Outcome, Session},
    span::Span,
};
use clap::Args;
use injection::Injection;
use std::{ffi::OsString, sync::Arc, time::Duration};
use supervise::{Ended, Held, supervise};
use taskpass_client::{Broker, Task};

/// How often life is shown. The broker ends the task when three in a row are missing.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What names the task in the command's environment.
const TASK_VARIABLE: &str = "TASKPASS_TASK";

/// Run a command with credentials that die when it ends
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass exec --task \"read invoices\" --resource demo-api:invoice:read -- \\
      sh -c 'curl -H \"Authorization: Bearer $TASKPASS_TOKEN\" http://127.0.0.1:7422/invoices'
  taskpass exec --task tk_9f2c4x --resource s3/reports:put --env S3_TOKEN=s3/reports -- ./upload
  taskpass exec --task sync --resource billing-api:invoice:read --file billing-api=/run/user/1000/token -- ./daemon
  taskpass exec --task refund --resource payments-api:refund:create --wait-approval 10m -- ./refund

The command finds TASKPASS_TOKEN_<RESOURCE> (and TASKPASS_TOKEN when there is one) and TASKPASS_TASK in its
environment, unless --env or --file say otherwise. A file is renewed; the environment of a running command cannot be.
The exit code is the command's; 124: a lease or the task ended and the command was stopped. See also
`taskpass help exit-codes`.")]
pub(crate) struct Exec {
    /// Why, for people: a task is started, and completed when the command ends. Or the id of a task to join
    #[arg(long, value_name = "TEXT|ID")]
    task: String,
    /// What it needs, `resource:action[,action]`; may be repeated
    #[arg(short, long, value_name = "ASK", required = true)]
    resource: Vec<Ask>,
    #[command(flatten)]
    declaration: Declaration,
    /// How long each credential lives; they are renewed. The broker's default when not said
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    #[command(flatten)]
    patience: Patience,
    /// Put a resource's token into this variable; may be repeated
    #[arg(long, value_name = "NAME=RESOURCE")]
    env: Vec<Pair>,
    /// Keep a resource's current token in this file; may be repeated
    #[arg(long, value_name = "RESOURCE=PATH")]
    file: Vec<Pair>,
    /// How long a command that is stopped has between SIGTERM and SIGKILL
    #[arg(long, value_name = "SPAN", default_value = "5s")]
    grace: Span,
    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Exec {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let injections = injection::plan(&self.resource, &self.env, &self.file)?;
        let broker = session.broker().await?;
        let (task, ours) = self.task(&broker, session).await.map_err(Failure::before_start)?;
        let outcome = match self.lease(&task, &injections, session).await {
            Ok(held) => self.supervised(session, &task, &held).await,
            Err(failure) if failure.exit() == Exit::Pending => Err(self.pending(failure, ours)),
            Err(failure) => Err(failure),
        };
        self.end(session, task, ours, &outcome).await;
        broker.drain().await;
        let ended = outcome.map_err(Failure::before_start)?;
        Ok(ended.exit)
    }

    /// The task, and whether we started it: whoever starts a task ends it.
    async fn task(&self, broker: &Broker, session: &Session) -> Result<(Task, bool), Failure> {
        if is_task_id(&self.task) {
            let task = Task::attach(broker, &self.task).await?;
            if std::env::var(TASK_VARIABLE).is_ok_and(|outer| outer == task.id()) {
                session
                    .out
                    .say(&format!("taskpass: already within task {}; its leases are independent", task.id()));
            }
            return Ok((task, false));
        }
        let Declaration { kind, label, initiator, sensitivity, task_ttl } = &self.declaration;
        let mut task =
            broker.task(&self.task).heartbeat(HEARTBEAT).scopes(self.resource.iter().flat_map(Ask::scopes));
        if let Some(kind) = kind {
            task = task.kind(kind);
        }
        if let Some(initiator) = initiator {
            task = task.initiator(initiator);
        }
        if let Some(sensitivity) = sensitivity {
            task = task.sensitivity(sensitivity);
        }
        if let Some(ttl) = task_ttl {
            task = task.ttl(ttl.as_duration());
        }
        for Pair { name, value } in label {
            task = task.label(name, value);
        }
        Ok((task.start().await?, true))
    }

    /// Every lease, its files written.
    async fn lease(
        &self,
        task: &Task,
        injections: &[Injection],
        session: &Session,
    ) -> Result<Vec<Held>, Failure> {
        let mut held = Vec::new();
        for injection in injections {
            let mut lease = task
                .lease(injection.ask.resource.as_str())
                .actions(injection.ask.actions.iter().map(ToString::to_string));
            if let Some(ttl) = self.ttl {
                lease = lease.ttl(ttl.as_duration());
            }
            if let Some((at_most, told)) = self.patience.told(session.out) {
                lease = lease.wait_for_approval(at_most, told);
            }
            held.push(Held::new(lease.token().await?, injection)?);
        }
        Ok(held)
    }

    /// What to do when people have yet to say yes. An approval is for a request under one task: it is no use after the
    /// task that we started ends with us.
    fn pending(&self, failure: Failure, ours: bool) -> Failure {
        let longer = match self.patience.at_most {
            None => "let the command wait for people: add --wait-approval 10m".to_owned(),
            Some(span) => format!("let it wait longer than --wait-approval {span}"),
        };
        if ours {
            return failure.instead([
                longer,
                "or start a task that outlives the command, and join it: taskpass task start …, taskpass exec --task ID …"
                    .to_owned(),
            ]);
        }
        let repeat = failure.find_id("approval").map(|id| {
            format!("wait until it is granted, then repeat the command: taskpass approval watch {id}")
        });
        failure.instead(repeat.into_iter().chain([format!("or {longer}")]))
    }

    async fn supervised(&self, session: &Session, task: &Task, held: &[Held]) -> Result<Ended, Failure> {
        let mut environment = vec![(TASK_VARIABLE.to_owned(), Arc::new(task.id().to_owned().into()))];
        for held in held {
            environment.extend(held.environment()?);
        }
        supervise(session, task, held, self.grace.as_duration(), || child::spawn(&self.command, &environment))
            .await
    }

    /// Ends what we started, and says so in one line. It has ended anyway soon after the heartbeat stops.
    async fn end(&self, session: &Session, task: Task, ours: bool, outcome: &Result<Ended, Failure>) {
        let id = task.id().to_owned();
        if !ours {
            session.out.say(&format!("taskpass: task {id} goes on; its starter ends it"));
            return;
        }
        let (verb, ended) = match outcome {
            Ok(Ended { task_ended: true, .. }) => return,
            Ok(_) => ("completed", task.complete().await),
            Err(failure) => ("cancelled", task.cancel(failure.what()).await),
        };
        match ended {
            Ok(_) => session.out.say(&format!("taskpass: task {id} {verb}, its leases have ended")),
            Err(error) => {
                let bound = 3 * HEARTBEAT.as_secs();
                session
                    .out
                    .warn(&format!("taskpass: task {id} ends within {bound}s, without a heartbeat: {error}"));
            }
        }
    }
}

/// An id, or the beginning of one; anything else is a purpose.
fn is_task_id(text: &str) -> bool {
    text.strip_prefix("tk_").is_some_and(|rest| {
        (6..=26).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// Why there is no command, as the shell counts it.
fn not_run(command: &OsString, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::CommandNotFound,
        std::io::ErrorKind::PermissionDenied => Exit::CommandNotExecutable,
        _ => Exit::NotStarted,
    };
    Failure::new(exit, format!("`{}` cannot be run: {error}", command.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_a_purpose() {
        for id in ["tk_9f2c4x", "tk_0123456789abcdefghjkmnpqrs"] {
            assert!(is_task_id(id), "{id}");
        }
        for purpose in ["read invoices", "tk_", "tk_9f2c", "tk_9F2C4X", "tk_ is a prefix", "task"] {
            assert!(!is_task_id(purpose), "{purpose}");
        }
    }
}
