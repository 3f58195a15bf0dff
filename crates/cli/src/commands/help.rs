//! `taskpass help`: commands and topics.

use crate::{
    commands::Cli,
    config,
    connect::ENVIRONMENT,
    error::{Exit, Failure},
    exit::EXIT_CODES,
    output::{pairs, text::safe},
    session::{Outcome, Session},
};
use clap::{Args, CommandFactory as _};

/// Below the list of commands.
pub(super) const TOPICS_HINT: &str = "Topics: taskpass help approvals | exit-codes | environment | config";

/// What `taskpass` alone shows: the daily loop.
const BRIEF: &str = "\
Just-in-time credentials for AI agents, dead when the task is.

  taskpass dev                             a broker to try things on
  taskpass exec --task TEXT --resource demo-api:invoice:read -- CMD
                                           run CMD with credentials that die with it
  taskpass lease list                      what lives now
  taskpass lease kill ls_7h2kq4            end it at every verifier
  taskpass audit tail -f                   what happened

  taskpass serve --config taskpass.toml    run the broker
  taskpass help                            every command; and topics:
  taskpass help approvals | exit-codes | environment | config
";

/// What `taskpass help approvals` says.
const APPROVALS: &str = "\
A policy with @approval(\"2 of finance\") permits a request only when people of that group agree.

The agent
  taskpass exec … --wait-approval 10m -- CMD    waits for them, then goes on
  taskpass exec --task ID … -- CMD              without it: exit code 8 and the approval's id; repeat the same
                                                command once it is granted, and it is found
  taskpass approval watch ap_…                  waits; 0 granted or used, 3 denied, 8 nobody decided in time

People
  taskpass approval list --pending              what waits for you
  taskpass approval show ap_…                   who asks for what, and who has to approve
  taskpass approve ap_…                         the agent may make exactly this request, once
  taskpass deny ap_… --reason TEXT              the agent receives the sentence; one denial settles it

An approval is for one exact request under one task: another time to live, action or argument is another request.
It expires ten minutes after it was asked (limits.approval_ttl), granted or not. Time that runs out is no denial. Only people vote, with
evidence of their own: never a workload, nor the agent's owner, nor who started the task. Who may vote is fixed when
it is asked; whoever joins the group later does not count.
";

/// Show what a command does, or a topic
#[derive(Args)]
#[command(after_help = "Examples:\n  taskpass help lease kill\n  taskpass help exit-codes")]
pub(crate) struct Help {
    /// A command, or a topic: approvals, exit-codes, environment, config
    #[arg(value_name = "COMMAND OR TOPIC")]
    about: Vec<String>,
}

/// The help of `taskpass` alone.
pub(crate) fn brief(session: &Session) -> Outcome {
    session.out.print(BRIEF)?;
    Ok(Exit::Done)
}

impl Help {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let about: Vec<_> = self.about.iter().map(String::as_str).collect();
        let text = match about.as_slice() {
            ["approvals"] => APPROVALS.to_owned(),
            ["config"] => config::FULL.to_owned(),
            ["environment"] => topic(ENVIRONMENT),
            ["exit-codes"] => topic(EXIT_CODES),
            path => command(path)?,
        };
        session.out.print(&text)?;
        Ok(Exit::Done)
    }
}

fn topic(lines: &[(&'static str, &str)]) -> String {
    pairs(lines.iter().map(|(name, meaning)| (*name, (*meaning).to_owned())))
}

fn command(path: &[&str]) -> Result<String, Failure> {
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for name in path {
        command = command.find_subcommand_mut(name).ok_or_else(|| {
            Failure::usage(format!("there is no command or topic `{}`", safe(&path.join(" "))))
                .fix("taskpass help")
        })?;
    }
    Ok(command.render_long_help().to_string())
}
