//! `taskpass hold`: refusing an agent, an owner, a resource or everything, until that is lifted.

mod lift;
mod list;
mod set;

use crate::{
    error::Failure,
    session::{Outcome, Session},
};
use clap::{Args, Subcommand};
use taskpass_proto::v1::{self, wide::What};

/// Hold off an agent, an owner, a resource or the whole tenant; list and lift such holds
#[derive(Subcommand)]
pub(crate) enum Command {
    Lift(lift::Lift),
    #[command(visible_alias = "ls")]
    List(list::List),
    Set(set::Set),
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Lift(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Set(command) => command.run(session).await,
        }
    }
}

/// What is held.
#[derive(Args, Debug)]
#[group(id = "held", required = true, multiple = false)]
struct Held {
    /// Whatever this agent asks for, or somebody it handed on to
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Whatever this person answers for
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Whatever is asked for at this resource
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Everything: the whole tenant is frozen
    #[arg(long)]
    all: bool,
}

impl Held {
    fn message(self) -> Result<v1::Wide, Failure> {
        let what = match self {
            Self { agent: Some(agent), .. } => What::Agent(agent),
            Self { owner: Some(owner), .. } => What::Owner(owner),
            Self { resource: Some(resource), .. } => What::Resource(resource),
            Self { all: true, .. } => What::Tenant(true),
            _ => {
                return Err(
                    Failure::usage("it is not said what").fix("add --agent, --owner, --resource or --all")
                );
            }
        };
        Ok(v1::Wide { what: Some(what) })
    }
}
