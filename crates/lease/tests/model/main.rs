//! Random histories, with clocks that jump both ways, against a model that knows the rules and nothing of the code:
//! I2, I3, I5, I13, and that the counts are what they count.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "../common/mod.rs"]
mod common;
mod history;
mod model;
mod world;

use model::Model;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_a_rule(history in prop::collection::vec(history::any_step(), 1..80)) {
        let mut model = Model::default();
        for step in &history {
            model.run(step);
        }
    }
}
