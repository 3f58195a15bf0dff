//! A short kill campaign, and its control. `cargo run --release -p taskpass-e2e --bin campaign` is the long one.

use taskpass_e2e::campaign::{Plan, control, run};
use taskpass_servers::Kind;

/// Where the order of faults comes from; another one is as good.
const SEED: u64 = 20_261_128;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_holds_whatever_strikes() {
    let report = run(Plan { rounds: 60, seed: SEED }).await;
    assert_eq!(report.rounds, 60);
    assert!(report.ended >= 60 * 6, "clients did too little for this to say anything: {report}");
    assert!(report.broken.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_naive_store_forgets_where_ours_does_not() {
    for kind in Kind::ALL {
        let naive = control::naive(kind).await;
        assert!(naive.forgotten > 0, "the harness finds no loss where there is one: {naive:?}");
        let ours = control::ours(kind).await;
        assert!(ours.acknowledged >= 50, "{ours:?}");
        assert_eq!(ours.forgotten, 0, "{ours:?}");
    }
}
