//! The long kill campaign. `cargo run --release -p taskpass-e2e --bin campaign -- --rounds 1000 --seed 7` plays 1,000 rounds
//! from seed 7 and prints what came out; it ends with 1 when anything that was acknowledged did not hold, or a recovery took
//! more than 5 s. `--scene Alone(Redis)` and `--fault Flushed` play only those.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::{process::ExitCode, time::Duration};
use taskpass_e2e::campaign::{Plan, control, run};

/// How soon after a fault both brokers have to grant again.
const RECOVERY: Duration = Duration::from_secs(5);
const USAGE: &str = "campaign [--rounds N] [--seed N] [--scene NAME] [--fault NAME]";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(plan) = plan(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let report = run(plan).await;
    println!("{report}");
    let controls = control::all().await;
    for control in &controls {
        println!("{control}");
    }
    let held = report.lost.is_empty() && report.broken.is_empty() && report.longest_recovery.0 <= RECOVERY;
    if held && controls.iter().all(control::Control::is_as_expected) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn plan(mut words: impl Iterator<Item = String>) -> Option<Plan> {
    let mut plan = Plan { rounds: 1000, seed: 7, ..Plan::default() };
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--rounds" => plan.rounds = value.parse().ok()?,
            "--seed" => plan.seed = value.parse().ok()?,
            "--scene" => plan.scene = Some(value),
            "--fault" => plan.fault = Some(value),
            _ => return None,
        }
    }
    Some(plan)
}
