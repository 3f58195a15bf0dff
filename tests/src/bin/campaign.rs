//! The long kill campaign: `cargo run --release -p taskpass-e2e --bin campaign -- 1000 7` plays 1,000 rounds from seed 7 and
//! prints what came out; it ends with 1 when anything that was acknowledged did not hold.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::process::ExitCode;
use taskpass_e2e::campaign::{Plan, control, run};
use taskpass_servers::Kind;

#[tokio::main]
async fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|number| number.parse::<u64>().ok());
    let rounds = usize::try_from(numbers.next().unwrap_or(1000)).unwrap_or(usize::MAX);
    let seed = numbers.next().unwrap_or(7);
    let report = run(Plan { rounds, seed }).await;
    println!("{report}");
    for kind in Kind::ALL {
        let (naive, ours) = (control::naive(kind).await, control::ours(kind).await);
        println!(
            "control on {kind}: a naive store forgot {} of {} acknowledged ends, ours {} of {}",
            naive.forgotten, naive.acknowledged, ours.forgotten, ours.acknowledged
        );
    }
    if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
