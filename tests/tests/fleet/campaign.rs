//! A short kill campaign, and its control. `cargo run --release -p taskpass-e2e --bin campaign` is the long one.

use std::time::Duration;
use taskpass_e2e::campaign::{Plan, control, run};

/// Where the order of faults comes from; another one is as good.
const SEED: u64 = 20_261_128;
/// How soon after a fault both brokers have to grant again, here where they share their processors with all other stories.
const RECOVERY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_holds_whatever_strikes() {
    let report = run(Plan { rounds: 60, seed: SEED, ..Plan::default() }).await;
    assert_eq!(report.rounds, 60);
    assert!(report.ended >= 60 * 6, "clients did too little for this to say anything: {report}");
    assert!(report.lost.is_empty() && report.broken.is_empty(), "{report}");
    assert!(report.left_out.is_empty(), "run `cargo xtask servers` first: {report}");
    assert!(report.longest_recovery.0 <= RECOVERY, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_naive_store_forgets_where_ours_does_not() {
    for control in control::all().await {
        assert!(control.is_as_expected(), "{control}");
    }
}
