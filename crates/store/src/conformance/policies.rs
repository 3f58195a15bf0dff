//! The history of policies.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::Store;
use taskpass_lease::{Event, Outcome, PolicyOrigin, SetPolicies};
use taskpass_types::{Reason, Refusal};

async fn set<H: Home>(world: &World<H>, set: SetPolicies) -> Result<Option<u64>, Refusal> {
    match world.apply(Event::SetPolicies(Box::new(set))).await?.into_outcome() {
        Outcome::PoliciesSet(info) => Ok(Some(info.number)),
        Outcome::Nothing => Ok(None),
        other => panic!("new policies gave {other:?}"),
    }
}

async fn numbers<H: Home>(world: &World<H>, before: Option<u64>, limit: usize) -> Vec<u64> {
    let history = world.store.policy_history(before, limit).await.unwrap();
    history.into_iter().map(|set| set.number).collect()
}

/// The name of its only file and what it says.
async fn text<H: Home>(world: &World<H>, revision: Option<&str>) -> Option<(u64, String)> {
    let revision = revision.map(events::revision);
    let found = world.store.policy_set(revision.as_ref()).await.unwrap()?;
    Some((found.info.number, found.sources[0].1.clone()))
}

/// Newest first, each with its text, under its name or a beginning of it; the newest is in force.
pub async fn the_history_of_policies_is_in_order_and_whole<H: Home>(home: H) {
    let world = World::new(home).await;
    for name in ["abcdef-1", "abcdef-2", "abcdxx-3", "abcdef-1"] {
        set(&world, events::set_policies(name)).await.unwrap();
    }
    let world = world.crash();
    assert_eq!(numbers(&world, None, 100).await, [5, 4, 3, 2, 1]);
    assert_eq!(numbers(&world, Some(4), 2).await, [3, 2]);
    assert_eq!(numbers(&world, Some(1), 2).await, []);
    assert_eq!(world.store.policy_revision().await.unwrap(), Some(events::revision("abcdef-1")));
    let newest = world.store.policy_history(None, 1).await.unwrap().remove(0);
    assert_eq!(
        (newest.by.as_str(), newest.origin, newest.at),
        ("operator", PolicyOrigin::Applied, world.now)
    );
    for (asked, expected) in [
        (None, Some((5, "// abcdef-1"))),
        (Some("abcdef-1"), Some((5, "// abcdef-1"))),
        (Some("abcdef-2"), Some((3, "// abcdef-2"))),
        (Some("abcdxx"), Some((4, "// abcdxx-3"))),
        (Some("abcdx"), None),
        (Some("r1"), Some((1, "// r1"))),
        (Some("abcdef-9"), None),
    ] {
        let expected = expected.map(|(number, text)| (number, text.to_owned()));
        assert_eq!(text(&world, asked).await, expected, "{asked:?}");
    }
    let ambiguous = events::revision("abcdef");
    assert_eq!(refused(world.store.policy_set(Some(&ambiguous)).await), Reason::PolicyNotFound);
}

/// A hundred sets; the texts of others go with them.
pub async fn the_history_of_policies_is_bounded<H: Home>(home: H) {
    let world = World::new(home).await;
    for nth in 2..=105 {
        set(&world, events::set_policies(&format!("set-{nth}"))).await.unwrap();
    }
    let world = world.crash();
    assert_eq!(numbers(&world, None, 1000).await, (6..=105).rev().collect::<Vec<_>>());
    assert_eq!(text(&world, Some("set-5")).await, None);
    assert_eq!(text(&world, Some("set-6")).await, Some((6, "// set-6".to_owned())));
}

/// What was previewed under other policies is not applied; files that say what is in force say nothing new.
pub async fn only_an_expected_change_of_policies_passes<H: Home>(home: H) {
    let world = World::new(home).await;
    let expecting = |name, expected| SetPolicies {
        fence: Some(events::revision(expected)),
        ..events::set_policies(name)
    };
    assert_eq!(refused(set(&world, expecting("r2", "r0")).await), Reason::PolicyChanged);
    assert_eq!(set(&world, expecting("r2", "r1")).await.unwrap(), Some(2));
    let world = world.crash();
    assert_eq!(refused(set(&world, expecting("r3", "r1")).await), Reason::PolicyChanged);
    let files = |name| SetPolicies { origin: PolicyOrigin::Files, ..events::set_policies(name) };
    assert_eq!(set(&world, files("r2")).await.unwrap(), None);
    assert_eq!(set(&world, files("r1")).await.unwrap(), Some(3));
    assert_eq!(numbers(&world, None, 10).await, [3, 2, 1]);
}
