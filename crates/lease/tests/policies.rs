//! Which policies count from now on.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod common;
#[path = "common/scene.rs"]
mod scene;
#[path = "model/world.rs"]
mod world;

use common::policies;
use scene::{Scene, reason};
use taskpass_lease::{Event, Outcome, PolicyOrigin, SetPolicies};
use taskpass_types::Reason;

#[test]
fn an_apply_acts_on_what_was_previewed() {
    let mut scene = Scene::new();
    let set = |name, expected: Option<&str>, origin| {
        let fence = expected.map(common::revision);
        Event::SetPolicies(Box::new(SetPolicies { fence, origin, ..policies(name) }))
    };
    let number = |outcome| match outcome {
        Outcome::PoliciesSet(info) => Some(info.number),
        _ => None,
    };
    for (event, expected) in [
        (set("r2", Some("r1"), PolicyOrigin::Applied), Some(1)),
        (set("r2", None, PolicyOrigin::Files), None),
        (set("r2", None, PolicyOrigin::Applied), Some(2)),
        (set("r3", None, PolicyOrigin::Files), Some(3)),
        (set("r1", Some("r3"), PolicyOrigin::RolledBack), Some(4)),
    ] {
        assert_eq!(number(scene.apply(event).unwrap().outcome), expected);
    }
    let stale = scene.apply(set("r4", Some("r3"), PolicyOrigin::Applied));
    assert_eq!(reason(stale), Reason::PolicyChanged);
    assert_eq!(scene.world.policy, Some(common::revision("r1")));
}
