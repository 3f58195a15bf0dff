//! The load generator still runs against the broker as it is. How fast is no business of a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

use taskpass_e2e::{program, run};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_run_makes_calls() {
    // Built first, if need be.
    let taskpass = program::<&str>([]).as_std().get_program().to_owned();
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(["run", "--what", "issue-jwt", "-n", "2", "--seconds", "1"]);
    load.env("TASKPASS_BINARY", taskpass).kill_on_drop(true);
    let shown = run(load).await;
    assert_eq!(shown.code, 0, "{}{}", shown.stdout, shown.stderr);
    let calls = shown.stdout.lines().find_map(|line| line.trim_start().strip_prefix("load, calls"));
    let calls = calls.unwrap_or_else(|| panic!("no calls in {}", shown.stdout));
    let calls: f64 = calls.split_whitespace().next().unwrap().parse().unwrap();
    assert!(calls > 0.0, "{}", shown.stdout);
}
