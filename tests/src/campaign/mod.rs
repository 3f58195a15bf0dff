//! The kill campaign: real brokers on real servers, clients that work and remember what they were told, a fault at a time;
//! and after each, whether what was acknowledged still holds.
//!
//! A *scene* sets servers, two brokers and two verifiers up once and plays many rounds. A round is: clients work, a fault
//! strikes, it is healed, the fleet grants again, and the history is held against I1, I3, I5 and I6; also what earlier rounds
//! left, ended and live. Faults are drawn from a seed, so the order of a run can be had again.

mod check;
mod clock;
pub mod control;
mod fault;
mod files;
mod fleet;
mod history;
mod naive;
mod scene;
mod stage;
mod work;

pub use fault::Fault;
pub use scene::Scene;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

/// How much, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Rounds in all, spread over the scenes.
    pub rounds: usize,
    /// What faults are drawn from.
    pub seed: u64,
    /// The only scene, by the beginning of its name; `None`: all.
    pub scene: Option<String>,
    /// The only fault, by its name; `None`: all.
    pub fault: Option<String>,
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
    /// Acknowledged ends that did not hold: something was granted under them, or a credential is accepted after them.
    pub lost: Vec<String>,
    /// Whatever else contradicts the invariants.
    pub broken: Vec<String>,
    /// The longest time from the end of a fault until both brokers granted again, and where that was.
    pub longest_recovery: (Duration, String),
    /// The longest until the verifiers behind both accepted what was granted then, and where that was.
    pub longest_return: (Duration, String),
    /// Faults that could not strike here, and why.
    pub left_out: Vec<&'static str>,
    /// The seed.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
}

/// Plays all scenes.
pub async fn run(plan: Plan) -> Report {
    let began = now();
    let mut report = Report { seed: plan.seed, ..Report::default() };
    if !clock::is_there() {
        report.left_out.push("ClockStepped: libfaketime is not installed");
    }
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let wanted = |scene: &Scene| {
        plan.scene.as_ref().is_none_or(|name| format!("{scene:?}").starts_with(name.as_str()))
    };
    let scenes: Vec<Scene> = Scene::ALL.into_iter().filter(wanted).collect();
    let (mut rounds, mut weights) = (plan.rounds, scenes.iter().map(|scene| scene.weight()).sum::<usize>());
    for scene in scenes {
        let share = (rounds * scene.weight()).div_ceil(weights);
        scene.play(share, plan.fault.as_deref(), &mut random, &mut report).await;
        (rounds, weights) = (rounds - share, weights - scene.weight());
    }
    report.took = began.elapsed();
    report
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
        writeln!(f, "lost                       {}", self.lost.len())?;
        writeln!(f, "otherwise broken           {}", self.broken.len())?;
        for what in self.lost.iter().chain(&self.broken) {
            writeln!(f, "  {what}")?;
        }
        let (longest, place) = &self.longest_recovery;
        writeln!(f, "longest recovery           {:.2} s ({place})", longest.as_secs_f64())?;
        let (longest, place) = &self.longest_return;
        writeln!(f, "verifiers follow after     {:.2} s ({place})", longest.as_secs_f64())?;
        for what in &self.left_out {
            writeln!(f, "left out                   {what}")?;
        }
        writeln!(f, "seed                       {}", self.seed)?;
        write!(f, "took                       {:.0} s", self.took.as_secs_f64())
    }
}
