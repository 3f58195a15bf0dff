//! Ends, holds, deny records.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::Store;
use taskpass_lease::Outcome;
use taskpass_types::{DenySubject, EndReason, Epoch, LeaseId, Reason, TaskId};

/// Three tasks, one under the other, each with a lease.
async fn tree<H: Home>(world: &World<H>) -> (Vec<TaskId>, Vec<LeaseId>) {
    let (mut tasks, mut leases) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let task = world.start_under(tasks.last().copied()).await.unwrap().id;
        tasks.push(task);
        leases.push(world.plan(task).await.unwrap().id);
    }
    (tasks, leases)
}

/// One write, whatever is below; the records below say so soon after.
pub async fn one_deny_record_ends_a_tree<H: Home>(home: H) {
    let world = World::new(home).await;
    let (tasks, leases) = tree(&world).await;
    world.end_task(tasks[0]).await;
    let world = world.crash();
    let denies = world.store.denies_after(&world.tenant, Epoch::default(), 10).await.unwrap();
    assert_eq!(denies.epoch, Epoch(1));
    assert_eq!(denies.records.len(), 1);
    assert_eq!(denies.records[0].subject, DenySubject::Task(tasks[0]));
    for lease in &leases {
        let standing = world.store.standing(&world.tenant, *lease, world.now).await;
        assert_eq!(refused(standing), Reason::LeaseEnded);
    }
    world.settle().await;
    for task in &tasks {
        let task = world.task(*task).await.unwrap();
        assert_eq!((task.live_below, task.end().unwrap().epoch), (0, Some(Epoch(1))));
    }
    for lease in &leases {
        assert_eq!(world.lease_end(*lease).await.unwrap().epoch, Some(Epoch(1)));
    }
    assert_eq!(world.epoch().await, Epoch(1));
}

/// I5: from the moment of the acknowledgement, before anything below is marked.
pub async fn nothing_comes_to_life_under_an_end<H: Home>(home: H) {
    let world = World::new(home).await;
    let (tasks, leases) = tree(&world).await;
    world.end_task(tasks[0]).await;
    let world = world.crash();
    for (task, lease) in tasks.iter().zip(&leases) {
        assert_eq!(refused(world.plan(*task).await), Reason::TaskEnded);
        assert_eq!(refused(world.start_under(Some(*task)).await), Reason::TaskEnded);
        assert_eq!(refused(world.renew(*lease, "late").await), Reason::TaskEnded);
        assert_eq!(refused(world.apply(events::heartbeat(&world.tenant, *task)).await), Reason::TaskEnded);
    }
}

/// I-17: an end that is repeated changes nothing, and says how it was.
pub async fn an_end_happens_once<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await;
    let lease = world.plan(task.id).await.unwrap();
    for _ in 0..2 {
        world.end_lease(lease.id, false).await;
        assert_eq!(world.epoch().await, Epoch(1));
    }
    world.end_task(task.id).await;
    let world = world.crash();
    let again = world.apply(events::end_task(&world.tenant, task.id)).await.unwrap().into_outcome();
    assert!(matches!(again, Outcome::AlreadyEnded(end) if end.epoch == Some(Epoch(2))));
    assert_eq!(world.epoch().await, Epoch(2));
    assert_eq!(
        refused(world.apply(events::end_task(&world.tenant, TaskId::new())).await),
        Reason::TaskNotFound
    );
    assert_eq!(
        refused(world.apply(events::end_lease(&world.tenant, LeaseId::new(), true)).await),
        Reason::LeaseNotFound
    );
}

/// A killed agent that asks again for the same is refused, for every lease on that resource, until an operator says so.
pub async fn a_hold_lasts_until_it_is_released<H: Home>(home: H) {
    let world = World::new(home).await;
    let (task, other) = (world.start().await.id, world.start().await.id);
    let killed = world.plan(task).await.unwrap().id;
    let sibling = events::plan(&world.tenant, LeaseId::new(), task);
    let living = world.plan_as(sibling.clone()).await.unwrap().lease().id;
    world.end_lease(killed, true).await;
    let world = world.crash();
    assert_eq!(refused(world.plan(task).await), Reason::HeldAfterKill);
    assert_eq!(refused(world.renew(living, "renew-1").await), Reason::HeldAfterKill);
    assert_eq!(refused(world.plan_as(sibling).await), Reason::HeldAfterKill);
    world.plan(other).await.unwrap();
    let released = world.apply(events::release_hold(&world.tenant, task)).await.unwrap();
    assert!(matches!(released.outcome(), Outcome::Released));
    world.plan(task).await.unwrap();
    let again = world.apply(events::release_hold(&world.tenant, task)).await.unwrap();
    assert!(matches!(again.outcome(), Outcome::Nothing));
}

/// I-23: a reader that knows the newest epoch knows whether it missed one.
pub async fn epochs_are_contiguous_and_read_in_order<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    for _ in 0..5 {
        let lease = world.plan(task).await.unwrap().id;
        world.end_lease(lease, false).await;
    }
    let world = world.crash();
    for (after, limit, expected) in [(0, 10, 1..6), (0, 2, 1..3), (3, 10, 4..6), (5, 10, 6..6), (9, 10, 6..6)]
    {
        let denies = world.store.denies_after(&world.tenant, Epoch(after), limit).await.unwrap();
        let epochs: Vec<u64> = denies.records.iter().map(|deny| deny.epoch.0).collect();
        assert_eq!(epochs, expected.collect::<Vec<_>>(), "after {after}, at most {limit}");
        assert_eq!(denies.epoch, Epoch(5));
    }
}

/// Whoever waits for the feed wakes for every deny record, and for nothing else.
pub async fn every_deny_record_is_announced<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    let lease = world.plan(task).await.unwrap().id;
    let mut denied = world.store.denied();
    world.renew(lease, "renew-1").await.unwrap();
    assert!(!denied.has_changed().unwrap());
    for event in [events::end_lease(&world.tenant, lease, false), events::end_task(&world.tenant, task)] {
        world.apply(event).await.unwrap();
        assert!(denied.has_changed().unwrap());
        denied.mark_unchanged();
    }
    world.end_task(task).await;
    assert!(!denied.has_changed().unwrap());
}

/// The last look before a credential leaves.
pub async fn standing_sees_every_kind_of_end<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let (tasks, leases) = tree(&world).await;
    let sibling = world.plan(tasks[0]).await.unwrap().id;
    assert_eq!(
        refused(world.store.standing(&world.tenant, LeaseId::new(), world.now).await),
        Reason::LeaseNotFound
    );
    world.end_lease(sibling, false).await;
    world.end_task(tasks[2]).await;
    world.end_task(tasks[1]).await;
    for (lease, reason) in
        [(sibling, EndReason::Killed), (leases[2], EndReason::Completed), (leases[1], EndReason::Completed)]
    {
        let refusal = world.store.standing(&world.tenant, lease, world.now).await.unwrap_err();
        let said = refusal.metadata().find(|(key, _)| *key == "end_reason").map(|(_, value)| value);
        assert_eq!(said, Some(reason.as_str()));
    }
    world.store.standing(&world.tenant, leases[0], world.now).await.unwrap();
    world.pass(301);
    assert_eq!(refused(world.store.standing(&world.tenant, leases[0], world.now).await), Reason::LeaseEnded);
}
