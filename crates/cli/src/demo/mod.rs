//! `taskpass demo`: the promise, shown on real parts. A broker, an orchestrator, a resource server, and an agent in a
//! process of its own; every way for a task to end, and after each of them its credentials are refused; people who
//! approve, tasks that are handed on, tools that are called, policies that change. On a ledger that
//! brokers share, a second broker dies, too.
//!
//! Nothing is acted: every line is printed because it happened, and one that does not happen makes the demo fail.

mod agent;
mod approval;
mod chapter;
mod delegation;
mod ending;
mod fleet;
mod preview;
mod stage;
mod stopwatch;
mod theft;
mod tools;

pub use agent::{AgentArgs, act};
pub use fleet::{BrokerArgs, serve};

use crate::{config::HostPort, sandbox::Ledger};
use chapter::{Chapter, Refused};
use stage::Stage;
use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

/// Runs all chapters and prints what happens; `false` when something that was promised did not happen. With a server for
/// a ledger, the broker keeps its tasks and leases there, and a second one joins it.
///
/// # Errors
/// When the parts cannot be started at all.
pub async fn run(out: &mut dyn Write, dir: Option<&Path>, redis: Option<HostPort>) -> anyhow::Result<bool> {
    let stage = Stage::set(dir, redis.map(Ledger::fresh)).await?;
    stage.introduce(out)?;
    let mut results = Vec::new();
    let alone = stage.ledger.is_none();
    for chapter in Chapter::ALL.into_iter().filter(|chapter| chapter.fits(&stage)) {
        out.flush()?;
        let result = chapter.play(&stage, out).await;
        if let Err(error) = &result {
            writeln!(out, "   FAILED     {error:#}")?;
        }
        writeln!(out)?;
        results.push((chapter, result));
    }
    let audit = stage.strike().await?;
    summary(out, &results)?;
    writeln!(out, "audit log      {audit}")?;
    if alone {
        writeln!(out, "a fleet        taskpass demo --redis 127.0.0.1:6379 also has a broker of two die")?;
    }
    Ok(results.iter().all(|(_, result)| result.is_ok()))
}

fn summary(out: &mut dyn Write, results: &[(Chapter, anyhow::Result<Refused>)]) -> io::Result<()> {
    writeln!(out, "{:<34}{:>14}{:>16}", "from the end of the task", "token", "certificate")?;
    for (chapter, result) in results {
        match result {
            Ok(refused) => writeln!(
                out,
                "{:<34}{:>14}{:>16}",
                chapter.title(),
                millis(refused.token),
                refused.certificate.map_or("-".to_owned(), millis)
            )?,
            Err(_) => writeln!(out, "{:<34}{:>14}", chapter.title(), "FAILED")?,
        }
    }
    writeln!(out)
}

/// A span for people: milliseconds with one decimal.
fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}
