//! The closed loop: so many callers, each of which calls again as soon as it has its answer.

use crate::clock;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Calls made before the clock runs are not counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// One caller.
pub trait Slot: Send + 'static {
    /// One call, from request to checked answer.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What one round gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Figures {
    /// Calls per second.
    pub rate: f64,
    /// Calls that were counted.
    pub calls: usize,
    /// Milliseconds.
    pub p50: f64,
    /// Milliseconds.
    pub p90: f64,
    /// Milliseconds.
    pub p99: f64,
    /// Milliseconds.
    pub max: f64,
}

impl Figures {
    /// Of the durations of calls that took `span` together.
    pub fn of(mut calls: Vec<Duration>, span: Duration) -> Self {
        calls.sort_unstable();
        let at = |fraction: f64| {
            let index = (calls.len().saturating_sub(1)) as f64 * fraction;
            calls.get(index.round() as usize).map_or(0.0, |call| call.as_secs_f64() * 1e3)
        };
        Self {
            rate: calls.len() as f64 / span.as_secs_f64(),
            calls: calls.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// Lets all `slots` call for `span`; the slots come back for the next round.
///
/// # Errors
/// The first call that fails.
pub async fn drive<S: Slot>(slots: Vec<S>, span: Duration) -> anyhow::Result<(Figures, Vec<S>)> {
    let start = clock::now() + WARM_UP;
    let mut running = JoinSet::new();
    for slot in slots {
        running.spawn(repeat(slot, start, start + span));
    }
    let (mut calls, mut slots) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let (mine, slot) = done??;
        calls.extend(mine);
        slots.push(slot);
    }
    Ok((Figures::of(calls, span), slots))
}

async fn repeat<S: Slot>(mut slot: S, start: Instant, end: Instant) -> anyhow::Result<(Vec<Duration>, S)> {
    let mut calls = Vec::new();
    loop {
        let began = clock::now();
        if began >= end {
            return Ok((calls, slot));
        }
        slot.call().await?;
        let ended = clock::now();
        if ended >= start && ended < end {
            calls.push(ended - began);
        }
    }
}
