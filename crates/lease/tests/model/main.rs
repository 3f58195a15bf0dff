//! Random histories, with clocks that jump both ways, against a model that knows the rules and nothing of the code:
//! I2, I3, I5, I13, that nothing rests on less consent than it needs, that cuts and budgets hold, and that the counts are
//! what they count.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod budgets;
#[path = "../common/mod.rs"]
mod common;
mod events;
mod history;
mod model;
mod people;
mod wide;
mod world;

use model::Model;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::collections::BTreeSet;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_a_rule(history in history::any_history(0..80)) {
        let mut model = Model::default();
        for step in &history {
            model.run(step);
        }
    }
}

/// A rule that no history ever comes near is not tested by them.
#[test]
fn the_histories_reach_what_they_are_about() {
    let mut runner = TestRunner::deterministic();
    let histories = history::any_history(80..120);
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        let mut model = Model::default();
        histories.new_tree(&mut runner).unwrap().current().iter().for_each(|step| model.run(step));
        seen.append(&mut model.seen);
    }
    let expected = [
        "barred",
        "called as approved",
        "called with a lease",
        "cut",
        "denied",
        "expired",
        "expired under a wide end",
        "granted",
        "held",
        "issued as approved",
        "rechecked",
        "renewed before the cut",
        "started as approved",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}
