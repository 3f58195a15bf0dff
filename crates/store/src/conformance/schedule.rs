//! What happens because time passes.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::{DueWhat, Store};
use std::time::Duration;
use taskpass_lease::{Limits, Outcome};
use taskpass_types::{EndReason, Epoch, LeaseId, Reason, TaskId};

/// Earliest first, no more than asked for, nothing before its time.
pub async fn the_schedule_is_in_order_and_bounded<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await.id;
    let mut leases = Vec::new();
    for minutes in [5, 3, 4] {
        let ttl = events::secs(minutes * 60);
        let plan = taskpass_lease::PlanLease { ttl, ..events::plan(&world.tenant, LeaseId::new(), task) };
        leases.push(world.plan_as(plan).await.unwrap().lease().id);
    }
    assert_eq!(world.due().await, []);
    world.pass(250);
    let mut world = world.crash();
    let due: Vec<_> = world.due().await.into_iter().map(|due| due.what).collect();
    let lease = |id| DueWhat::Lease(world.tenant.clone(), id);
    assert_eq!(due, [lease(leases[1]), lease(leases[2])]);
    world.pass(3600);
    assert_eq!(world.store.due(world.now, 2).await.unwrap().len(), 2);
    assert_eq!(world.due().await.last().unwrap().what, DueWhat::Task(world.tenant.clone(), task));
}

/// Both write a deny record, since credentials may be alive.
pub async fn deadlines_and_silence_end_tasks<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let late = world.start().await.id;
    let heartbeat = Some(events::secs(10));
    let start = taskpass_lease::StartTask { heartbeat, ..events::start(&world.tenant, TaskId::new(), None) };
    let silent = world.start_as(start).await.unwrap().id;
    world.pass(29);
    world.apply(events::heartbeat(&world.tenant, silent)).await.unwrap();
    world.pass(29);
    world.settle().await;
    assert_eq!(world.task(silent).await.unwrap().end(), None);
    world.pass(1);
    assert_eq!(refused(world.plan(silent).await), Reason::TaskEnded, "also before it is marked");
    world.settle().await;
    assert_eq!(world.task(silent).await.unwrap().end().unwrap().reason, EndReason::Silent);
    world.pass(3600);
    world.settle().await;
    let world = world.crash();
    assert_eq!(world.task(late).await.unwrap().end().unwrap().reason, EndReason::TimedOut);
    assert_eq!(world.epoch().await, Epoch(2));
}

/// A credential that ended by itself needs no deny record.
pub async fn leases_expire_without_a_deny_record<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await.id;
    let lease = world.plan(task).await.unwrap();
    world.pass(299);
    world.settle().await;
    assert_eq!(world.lease_end(lease.id).await, None);
    world.pass(2);
    world.settle().await;
    let world = world.crash();
    let end = world.lease_end(lease.id).await.unwrap();
    assert_eq!((end.reason, end.at, end.epoch), (EndReason::Expired, lease.expires_at, None));
    assert_eq!(world.task(task).await.unwrap().live_below, 0);
    assert_eq!(world.epoch().await, Epoch::default());
    assert_eq!(refused(world.renew(lease.id, "late").await), Reason::LeaseEnded);
}

/// More than one slice; each is short, none is lost, and every lease is named once.
pub async fn a_large_task_is_settled_in_slices<H: Home>(home: H) {
    const LEASES: usize = 600;
    let world = World::new(home).await;
    let task = world.start().await.id;
    let planned = futures::future::join_all((0..LEASES).map(|_| world.plan(task))).await;
    let mut expected: Vec<_> = planned.into_iter().map(|lease| lease.unwrap().id).collect();
    world.end_task(task).await;
    let mut world = world.crash();
    let (mut marked, mut slices) = (Vec::new(), 0);
    while let Some(due) = world.due().await.into_iter().next() {
        let committed = world.store.apply_due(due, world.now).await.unwrap();
        let Outcome::Settled(settled) = committed.into_outcome() else { panic!("nothing else is due") };
        assert!(settled.leases.len() <= 256);
        marked.extend(settled.leases.iter().map(|lease| lease.id));
        slices += 1;
        world = world.crash();
    }
    assert_eq!(slices, 3);
    marked.sort_unstable();
    expected.sort_unstable();
    assert_eq!(marked, expected);
    assert_eq!(world.task(task).await.unwrap().live_below, 0);
}

/// Everything of a task goes: records, requests, index entries, holds, and its place in the schedule.
pub async fn records_go_after_their_retention<H: Home>(home: H) {
    let day = Duration::from_secs(24 * 3600);
    let mut world = World::with(home, Limits { retention: day, ..Limits::default() }).await;
    let start = events::start(&world.tenant, TaskId::new(), None);
    let task = world.start_as(start.clone()).await.unwrap().id;
    let child = world.start_under(Some(task)).await.unwrap().id;
    let lease = world.plan(task).await.unwrap().id;
    world.end_lease(lease, true).await;
    world.end_task(task).await;
    world.settle().await;
    world.pass(24 * 3600 - 1);
    world.settle().await;
    assert!(world.task(task).await.is_some() && world.lease(lease).await.is_some());
    world.pass(2);
    world.settle().await;
    let mut world = world.crash();
    assert_eq!(
        (world.task(task).await, world.task(child).await, world.lease(lease).await),
        (None, None, None)
    );
    world.pass(365 * 24 * 3600);
    assert_eq!(world.due().await, [], "nothing is left behind");
    let released = world.apply(events::release_hold(&world.tenant, task)).await.unwrap();
    assert!(matches!(released.outcome(), Outcome::Nothing), "the hold went with its task");
    world.start_as(start).await.expect("the request id is free again");
}

/// A deny record is kept until the last credential under it has expired everywhere.
pub async fn deny_records_outlive_their_credentials<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await;
    world.end_task(task.id).await;
    let deny = world.store.denies_after(&world.tenant, Epoch::default(), 10).await.unwrap().records.remove(0);
    assert!(deny.until > task.deadline);
    world.pass(deny.until.since(world.now).as_secs() - 1);
    world.settle().await;
    assert_eq!(world.store.denies_after(&world.tenant, Epoch::default(), 10).await.unwrap().records.len(), 1);
    world.pass(1);
    world.settle().await;
    let world = world.crash();
    let denies = world.store.denies_after(&world.tenant, Epoch::default(), 10).await.unwrap();
    assert_eq!((denies.records.len(), denies.epoch), (0, Epoch(1)), "the epoch never goes back");
}
