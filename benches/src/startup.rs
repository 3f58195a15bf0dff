//! From the start of the process to its first answer, and what it occupies when idle.

use crate::{process::BrokerProcess, world::World};
use std::time::Duration;

/// How often it is started.
const STARTS: usize = 5;
/// How long it is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(5);

/// Medians.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Startup {
    /// Milliseconds, with empty data: store, audit log and keys are made.
    pub fresh_ms: f64,
    /// Milliseconds, over the data of a broker that was killed (`SIGKILL`).
    pub again_ms: f64,
    /// Resident kilobytes after five idle seconds.
    pub idle_kb: u64,
}

/// Starts brokers of their own, one after the other.
pub async fn measure(world: &World) -> anyhow::Result<Startup> {
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for round in 0..STARTS {
        let name = format!("start-{round}");
        for took in [&mut fresh, &mut again] {
            let broker = BrokerProcess::start(world, &name).await?;
            took.push(broker.took);
            broker.kill().await?;
        }
    }
    let broker = BrokerProcess::start(world, "idle").await?;
    tokio::time::sleep(SETTLE).await;
    let idle_kb = broker.resident_kb()?;
    broker.kill().await?;
    Ok(Startup { fresh_ms: median(fresh), again_ms: median(again), idle_kb })
}

fn median(mut spans: Vec<Duration>) -> f64 {
    spans.sort_unstable();
    spans.get(spans.len() / 2).map_or(0.0, |span| span.as_secs_f64() * 1e3)
}
