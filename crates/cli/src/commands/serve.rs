//! `taskpass serve`: the broker.

use crate::{
    compose::Server,
    config::{Config, ConfigError},
    error::{Exit, Failure},
    output::{Format, Record, Style},
    session::{Outcome, Session},
};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taskpass_policy::Report;
use tokio::signal::unix::{SignalKind, signal};

/// Run the broker
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass serve --config taskpass.toml
  taskpass serve --config taskpass.toml --check     # say what is wrong, start nothing; exit code 10")]
pub(crate) struct Serve {
    /// The configuration; `taskpass help config` shows every key
    #[arg(short, long, value_name = "FILE", default_value = "/etc/taskpass/taskpass.toml")]
    config: PathBuf,
    /// Check configuration and policies, and start nothing
    #[arg(long)]
    check: bool,
}

impl Serve {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let exit = if self.check { Exit::Found } else { Exit::Usage };
        let config = Config::load(&self.config).map_err(|error| failure(exit, &error))?;
        for warning in config.warnings() {
            session.out.warn(&format!("warning: {warning}"));
        }
        if self.check {
            return check(&config, session);
        }
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(&config))
    }
}

pub(super) fn failure(exit: Exit, error: &ConfigError) -> Failure {
    let what = format!("`{}` is no valid configuration", error.path().display());
    let failure = error.problems().iter().fold(Failure::new(exit, what), |failure, problem| {
        let place = problem.position.map_or_else(String::new, |position| format!("{position}: "));
        let failure = failure.why(format!("{place}{problem}"));
        match &problem.fix {
            Some(fix) => failure.fix(fix.clone()),
            None => failure,
        }
    });
    failure.fix("taskpass help config")
}

fn check(config: &Config, session: &Session) -> Outcome {
    let report = Report::of_dir(&config.policy.dir);
    for problem in report.problems.iter().chain(&report.warnings) {
        session.out.warn(&format!("policy: {problem}"));
    }
    let Some(policies) = report.loaded else {
        return Err(Failure::new(
            Exit::Found,
            format!("the policies in `{}` would not take effect", config.policy.dir.display()),
        )
        .fix(format!("taskpass policy check {}", config.policy.dir.display())));
    };
    let checked = Checked {
        agents: config.agents.len(),
        policies: policies.policies,
        revision: policies.revision.to_string(),
    };
    match session.out.format {
        Format::Table => session.out.print(&format!("ok  {}\n", checked.summary()))?,
        _ => session.out.one(&checked)?,
    }
    Ok(Exit::Done)
}

/// What a configuration that was checked has.
#[derive(Serialize)]
struct Checked {
    agents: usize,
    policies: usize,
    revision: String,
}

impl Checked {
    fn summary(&self) -> String {
        format!("{} agents, {} policies, revision {}", self.agents, self.policies, self.revision)
    }
}

impl Record for Checked {
    const KIND: &'static str = "ConfigCheck";
    const COLUMNS: &'static [&'static str] = &["CHECKED"];

    fn name(&self) -> String {
        self.revision.clone()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.summary()]
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        vec![("ok", self.summary())]
    }
}

async fn serve(config: &Config) -> Outcome {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let server = Server::start(config).await.map_err(|error| {
        let failure = Failure::new(Exit::Unexpected, format!("the broker does not start: {error}"));
        error.fix().into_iter().fold(failure, |failure, fix| failure.fix(fix))
    })?;
    tracing::info!(addresses = ?server.addresses, "serving");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                tracing::info!("taking up what changed");
                server.reload();
            }
        }
    }
    tracing::info!("stopping");
    server.stop().await;
    Ok(Exit::Done)
}
