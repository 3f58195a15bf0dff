//! `taskpass policy diff`: what would a change take from what lives? Changes nothing.

use super::plan;
use crate::{
    error::{Exit, Failure},
    output::Format,
    session::{Outcome, Session},
};
use clap::Args;
use std::path::PathBuf;

/// Preview a change: which live tasks and leases would lose something
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy diff --live policies/
  taskpass policy diff --live policies/ -o jsonl | jq -r .agent | sort | uniq -c

Exit code 10 when something would be lost, or when the policies would not take effect.")]
pub(crate) struct Diff {
    /// Compare with what lives under the policies in force
    #[arg(long)]
    live: bool,
    /// The directory with the *.cedar files
    dir: PathBuf,
}

impl Diff {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        if !self.live {
            return Err(Failure::usage("it is not said what to compare with")
                .fix(format!("taskpass policy diff --live {}", self.dir.display())));
        }
        let Some(policies) = plan::load(session, &self.dir)? else { return Ok(Exit::Found) };
        let broker = session.broker().await?;
        let plan = plan::preview(&broker, &policies).await?;
        plan::show(session, &plan)?;
        let apply = format!("plan {id}: taskpass policy apply --plan {id} --reason \"…\"", id = plan.id);
        match (plan.is_in_force(), session.out.format) {
            (true, _) => session.out.say(&format!("{} is in force already", plan.to_revision)),
            (false, Format::Table) => session.out.print(&format!("{apply}\n"))?,
            (false, Format::Jsonl) => session.out.say(&apply),
            (false, Format::Json | Format::Name | Format::Yaml) => {}
        }
        Ok(if plan.affected > 0 { Exit::Found } else { Exit::Done })
    }
}
