//! The commands, one file each. A command parses its arguments, asks the broker or a library, and shows the answer.

mod agent;
mod approval;
mod audit;
mod demo;
mod dev;
mod doctor;
mod exec;
mod guard;
mod help;
mod hold;
mod lease;
mod policy;
mod receipt;
mod review;
mod serve;
mod store;
mod task;
mod token;
mod tool;
mod version;
mod whoami;

use crate::{
    output::{Color, Format},
    session::{Outcome, Session, wait_for},
};
use clap::{Args, Parser, Subcommand};

/// The whole command line.
#[derive(Parser)]
#[command(
    name = "taskpass",
    version,
    about = "Just-in-time credentials for AI agents, dead when the task is",
    after_help = help::TOPICS_HINT,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What every command takes.
#[derive(Args)]
pub(crate) struct Global {
    /// The form of data
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "TASKPASS_OUTPUT",
        value_name = "FORM"
    )]
    pub(crate) output: Format,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// No hints and no progress, only data and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// The broker: `unix:/path` or `https://host:port`; see `taskpass help environment`
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(subcommand)]
    Agent(agent::Command),
    #[command(subcommand)]
    Approval(approval::Command),
    Approve(approval::Approve),
    #[command(subcommand)]
    Audit(audit::Command),
    Demo(demo::Demo),
    #[command(hide = true)]
    DemoAgent(demo::DemoAgent),
    #[command(hide = true)]
    DemoBroker(demo::DemoBroker),
    Deny(approval::Deny),
    Dev(dev::DevCommand),
    Doctor(doctor::Doctor),
    Exec(exec::Exec),
    #[command(hide = true)]
    ExecChild(exec::ExecChild),
    Guard(guard::GuardCommand),
    Help(help::Help),
    #[command(subcommand)]
    Hold(hold::Command),
    #[command(subcommand)]
    Lease(lease::Command),
    #[command(subcommand)]
    Policy(policy::Command),
    #[command(subcommand)]
    Receipt(receipt::Command),
    Review(review::Review),
    Serve(serve::Serve),
    #[command(subcommand)]
    Store(store::Command),
    #[command(subcommand)]
    Task(task::Command),
    #[command(subcommand)]
    Token(token::Command),
    #[command(subcommand)]
    Tool(tool::Command),
    Version(version::Version),
    Whoami(whoami::WhoAmI),
}

impl Command {
    /// What is logged unless the environment says otherwise: what serves tells how it is, the others only answer.
    pub(crate) fn log_filter(&self) -> &'static str {
        match self {
            Self::Guard(_) | Self::Serve(_) => "info",
            _ => "off",
        }
    }

    pub(crate) fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Agent(command) => wait_for(command.run(session)),
            Self::Approval(command) => wait_for(command.run(session)),
            Self::Approve(command) => wait_for(command.run(session)),
            Self::Audit(command) => command.run(session),
            Self::Demo(command) => command.run(),
            Self::DemoAgent(command) => wait_for(command.run()),
            Self::DemoBroker(command) => command.run(),
            Self::Deny(command) => wait_for(command.run(session)),
            Self::Dev(command) => command.run(),
            Self::Doctor(command) => wait_for(command.run(session)),
            Self::Exec(command) => wait_for(command.run(session)),
            Self::ExecChild(command) => command.run(),
            Self::Guard(command) => command.run(session),
            Self::Help(command) => command.run(session),
            Self::Hold(command) => wait_for(command.run(session)),
            Self::Lease(command) => wait_for(command.run(session)),
            Self::Policy(command) => command.run(session),
            Self::Receipt(command) => command.run(session),
            Self::Review(command) => wait_for(command.run(session)),
            Self::Serve(command) => command.run(session),
            Self::Store(command) => wait_for(command.run(session)),
            Self::Task(command) => wait_for(command.run(session)),
            Self::Token(command) => command.run(session),
            Self::Tool(command) => wait_for(command.run(session)),
            Self::Version(command) => command.run(session),
            Self::Whoami(command) => wait_for(command.run(session)),
        }
    }
}

pub(crate) use help::brief;

#[cfg(test)]
mod tests;
