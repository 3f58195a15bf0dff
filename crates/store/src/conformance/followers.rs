//! Which verifiers follow which broker.

use super::{Home, world::World};
use crate::Store;
use taskpass_lease::{Event, Follower, Followers, ShareFollowers};
use taskpass_types::{Epoch, HistoryId};

async fn share<H: Home>(world: &World<H>, broker: &str, epoch: u64) -> Followers {
    let follower = Follower {
        tenant: world.tenant.clone(),
        name: format!("{broker}/web-1"),
        audience: None,
        max_stale: None,
        heard: Some(world.now),
        enforces: Some((Epoch(epoch), world.now)),
        lied: false,
        gone: false,
    };
    let history = HistoryId([7; 16]);
    let followers = Followers { at: world.now, history, complete: true, verifiers: vec![follower] };
    let share = ShareFollowers { broker: broker.to_owned(), followers: followers.clone() };
    world.apply(Event::ShareFollowers(Box::new(share))).await.unwrap();
    followers
}

/// Each broker says it of its own; what it said before is replaced, and what is too old to matter is gone.
pub async fn every_broker_says_who_follows_it<H: Home>(home: H) {
    let mut world = World::new(home).await;
    assert!(world.store.followers().await.unwrap().is_empty());
    share(&world, "one", 1).await;
    let two = share(&world, "two", 1).await;
    let one = share(&world, "one", 2).await;
    world = world.crash();
    let all: Vec<_> = world.store.followers().await.unwrap().into_iter().collect();
    assert_eq!(all, [("one".to_owned(), one), ("two".to_owned(), two)]);
    world.pass(24 * 3600);
    share(&world, "two", 3).await;
    let all = world.store.followers().await.unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["two"]);
    for number in 0..100 {
        share(&world, &format!("broker-{number}"), 1).await;
    }
    assert_eq!(world.store.followers().await.unwrap().len(), 64);
}
