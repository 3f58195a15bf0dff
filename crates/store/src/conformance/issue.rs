//! Starting, issuing and renewing.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::Store;
use futures::future::join_all;
use taskpass_lease::{Event, Limits};
use taskpass_types::{LeaseId, Reason, TaskId};

/// What was acknowledged is there, as it was acknowledged.
pub async fn a_task_starts_and_its_leases_live_under_it<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await;
    let child = world.start_under(Some(task.id)).await.unwrap();
    let lease = world.plan(task.id).await.unwrap();
    let world = world.crash();
    assert_eq!(world.lease(lease.id).await, Some(lease.clone()));
    assert_eq!(world.task(child.id).await, Some(child));
    let task = world.task(task.id).await.unwrap();
    assert_eq!((task.live_below, task.issued), (2, 1));
    assert_eq!(world.store.standing(&world.tenant, lease.id, world.now).await.unwrap(), lease);
    assert_eq!(world.store.policy_revision().await.unwrap(), Some(events::revision("r1")));
}

/// I3: a reply that was lost is given again, and nothing is made twice.
pub async fn the_same_request_gets_the_same_answer<H: Home>(home: H) {
    let world = World::new(home).await;
    let start = events::start(&world.tenant, TaskId::new(), None);
    let task = world.start_as(start.clone()).await.unwrap();
    let plan = events::plan(&world.tenant, LeaseId::new(), task.id);
    let first = world.plan_as(plan.clone()).await.unwrap();
    assert!(!first.replayed());

    let world = world.crash();
    let again = world.start_as(taskpass_lease::StartTask { id: TaskId::new(), ..start }).await.unwrap();
    assert_eq!(again.id, task.id);
    let again = world.plan_as(taskpass_lease::PlanLease { id: LeaseId::new(), ..plan }).await.unwrap();
    assert!(again.replayed());
    assert_eq!(again.grant(), first.grant());
    assert_eq!(world.task(task.id).await.unwrap().issued, 1);
}

/// I3: other content, or another kind of request, under a known id is refused.
pub async fn a_request_id_is_good_for_one_request<H: Home>(home: H) {
    let world = World::new(home).await;
    let start = events::start(&world.tenant, TaskId::new(), None);
    let task = world.start_as(start.clone()).await.unwrap();
    let plan = events::plan(&world.tenant, LeaseId::new(), task.id);
    world.plan_as(plan.clone()).await.unwrap();

    let mut other = plan.clone();
    other.request.digest = [8; 32];
    assert_eq!(refused(world.plan_as(other).await), Reason::RequestIdReused);
    let mut crossed = plan;
    crossed.request = start.request.clone();
    assert_eq!(refused(world.plan_as(crossed).await), Reason::RequestIdReused);
    let mut other = start;
    other.request.digest = [8; 32];
    assert_eq!(refused(world.start_as(other).await), Reason::RequestIdReused);
}

/// I3: a retry after a revoke says revoked; also as long as a task may run after that, whatever the retention.
pub async fn a_repeat_after_the_end_says_ended<H: Home>(home: H) {
    let retention = std::time::Duration::from_secs(1);
    let mut world = World::with(home, Limits { retention, ..Limits::default() }).await;
    let start = events::start(&world.tenant, TaskId::new(), None);
    let task = world.start_as(start.clone()).await.unwrap().id;
    let plan = events::plan(&world.tenant, LeaseId::new(), task);
    let lease = world.plan_as(plan.clone()).await.unwrap().lease().id;
    world.end_lease(lease, false).await;
    for _ in 0..2 {
        assert_eq!(refused(world.plan_as(plan.clone()).await), Reason::LeaseEnded);
        assert_eq!(refused(world.renew(lease, "later").await), Reason::LeaseEnded);
        world.pass(60);
        world.settle().await;
    }
    world.end_task(task).await;
    world.settle().await;
    assert_eq!(refused(world.start_as(start).await), Reason::TaskEnded);
    assert_eq!(refused(world.plan(task).await), Reason::TaskEnded);
}

/// I13: each renewal is one more credential of the same lease; the repeat of the newest is the same one.
pub async fn a_renewal_counts_and_its_repeat_does_not<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await;
    let lease = world.plan(task.id).await.unwrap();
    world.pass(200);
    let renewed = world.renew(lease.id, "renew-1").await.unwrap();
    assert_eq!(renewed.lease().renewal, 1);
    assert!(renewed.lease().expires_at > lease.expires_at);
    let world = world.crash();
    let again = world.renew(lease.id, "renew-1").await.unwrap();
    assert!(again.replayed());
    assert_eq!(again.grant(), renewed.grant());
    assert_eq!(world.renew(lease.id, "renew-2").await.unwrap().lease().renewal, 2);
}

/// T27: a decision under policies that are not in force any more is worth nothing, also for a repeat.
pub async fn only_the_policies_in_force_count<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await;
    let plan = events::plan(&world.tenant, LeaseId::new(), task.id);
    let lease = world.plan_as(plan.clone()).await.unwrap().lease().id;
    world.renew(lease, "renew-1").await.unwrap();
    world.apply(Event::SetPolicies(Box::new(events::set_policies("r2")))).await.unwrap();
    let world = world.crash();
    assert_eq!(refused(world.plan(task.id).await), Reason::PolicyChanged);
    assert_eq!(refused(world.plan_as(plan).await), Reason::PolicyChanged);
    assert_eq!(refused(world.renew(lease, "renew-1").await), Reason::PolicyChanged);
    assert_eq!(refused(world.renew(lease, "renew-2").await), Reason::PolicyChanged);
}

/// A hundred at once under a limit of fifty: fifty.
pub async fn parallel_requests_share_one_quota<H: Home>(home: H) {
    let world = World::with(home, Limits { live_per_task: 50, ..Limits::default() }).await;
    let task = world.start().await;
    let results = join_all((0..100).map(|_| world.plan(task.id))).await;
    let granted = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(granted, 50);
    for result in results.into_iter().filter(Result::is_err) {
        assert_eq!(refused(result), Reason::QuotaExceeded);
    }
    assert_eq!(world.task(task.id).await.unwrap().live_below, 50);
}

/// A place is free again after an end; what was ever issued is not.
pub async fn quotas_count_what_runs_and_what_was_issued<H: Home>(home: H) {
    let limits = Limits { live_per_task: 1, issued_per_task: 2, tasks_per_agent: 2, ..Limits::default() };
    let world = World::with(home, limits).await;
    let task = world.start().await;
    let first = world.plan(task.id).await.unwrap();
    assert_eq!(refused(world.plan(task.id).await), Reason::QuotaExceeded);
    assert_eq!(refused(world.start_under(Some(task.id)).await), Reason::QuotaExceeded);
    world.end_lease(first.id, false).await;
    let second = world.plan(task.id).await.unwrap();
    world.end_lease(second.id, false).await;
    assert_eq!(refused(world.plan(task.id).await), Reason::QuotaExceeded);

    world.start().await;
    let world = world.crash();
    assert_eq!(refused(world.start_under(None).await), Reason::QuotaExceeded);
    world.end_task(task.id).await;
    world.start().await;
    assert_eq!(refused(world.start_under(None).await), Reason::QuotaExceeded);
}
