//! The kill campaign: real brokers on real servers, clients that work and remember what they were told, a fault at a time;
//! and after each, whether what was acknowledged still holds.
//!
//! A *scene* sets servers, two brokers and two verifiers up once and plays many rounds. A round is: clients work, a fault
//! strikes, it is healed, the fleet grants again, and the history is held against I1, I3, I5 and I6. Faults are drawn from a
//! seed, so the order of a run can be had again.

pub mod control;
mod fault;
mod fleet;
mod history;
mod scene;
mod work;

pub use fault::Fault;
pub use scene::Scene;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

/// How much, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds in all, spread over the scenes.
    pub rounds: usize,
    /// What faults are drawn from.
    pub seed: u64,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    /// Rounds played.
    pub rounds: usize,
    /// Rounds by fault.
    pub faults: BTreeMap<String, usize>,
    /// Calls that were answered.
    pub answered: usize,
    /// Calls whose answer was *unavailable*, or never came.
    pub unanswered: usize,
    /// Ends that were acknowledged.
    pub ended: usize,
    /// Ends that were acknowledged and did not hold; and whatever else contradicts the invariants.
    pub broken: Vec<String>,
    /// The longest time from the end of a fault until both brokers granted again.
    pub longest_recovery: Duration,
    /// The seed.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
}

/// Plays all scenes.
pub async fn run(plan: Plan) -> Report {
    let began = now();
    let mut report = Report { seed: plan.seed, ..Report::default() };
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let scenes = Scene::ALL;
    for (number, scene) in scenes.into_iter().enumerate() {
        let share = plan.rounds * scene.weight() / scenes.iter().map(|scene| scene.weight()).sum::<usize>();
        let rest = if number == 0 { plan.rounds - shares(plan.rounds, &scenes) } else { 0 };
        scene.play(share + rest, &mut random, &mut report).await;
    }
    report.took = began.elapsed();
    report
}

fn shares(rounds: usize, scenes: &[Scene]) -> usize {
    let all: usize = scenes.iter().map(|scene| scene.weight()).sum();
    scenes.iter().map(|scene| rounds * scene.weight() / all).sum()
}

#[expect(clippy::disallowed_methods, reason = "measures how long recovery takes; nothing is decided by it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rounds                     {}", self.rounds)?;
        for (fault, rounds) in &self.faults {
            writeln!(f, "  {fault:<34}{rounds}")?;
        }
        writeln!(f, "calls answered             {}", self.answered)?;
        writeln!(f, "calls unanswered           {}", self.unanswered)?;
        writeln!(f, "acknowledged revocations   {}", self.ended)?;
        writeln!(f, "lost                       {}", self.broken.len())?;
        for what in &self.broken {
            writeln!(f, "  {what}")?;
        }
        writeln!(f, "longest recovery           {:.2} s", self.longest_recovery.as_secs_f64())?;
        writeln!(f, "seed                       {}", self.seed)?;
        write!(f, "took                       {:.0} s", self.took.as_secs_f64())
    }
}
