//! Budgets under many at once, tool calls, holds.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::Store;
use futures::future::join_all;
use taskpass_lease::{CallTool, Event, Outcome, Task};
use taskpass_types::{LeaseId, Obligations, Reason, Refusal, TaskId};

/// A root task, its child, and the child's child.
async fn tree<H: Home>(world: &World<H>) -> [TaskId; 3] {
    let root = world.start().await.id;
    let child = world.start_under(Some(root)).await.unwrap().id;
    [root, child, world.start_under(Some(child)).await.unwrap().id]
}

async fn call<H: Home>(world: &World<H>, call: CallTool) -> Result<Task, Refusal> {
    match world.apply(Event::CallTool(Box::new(call))).await?.into_outcome() {
        Outcome::CallAllowed { task, .. } => Ok(*task),
        other => panic!("a call gave {other:?}"),
    }
}

/// So many of a hundred got through, the others learned why not.
fn count<T>(results: Vec<Result<T, Refusal>>) -> usize {
    let (granted, refusals): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    for refusal in refusals {
        assert_eq!(refused(refusal), Reason::BudgetExceeded);
    }
    granted.len()
}

/// A hundred at once, all over a tree, with a budget of seven: seven.
pub async fn a_budget_of_credentials_holds_exactly<H: Home>(home: H) {
    let world = World::new(home).await;
    let tasks = tree(&world).await;
    let plans = (0..100).map(|nth| {
        let mut plan = events::plan(&world.tenant, LeaseId::new(), tasks[nth % 3]);
        plan.obligations = Obligations { max_credentials: Some(7), ..Obligations::default() };
        world.plan_as(plan)
    });
    assert_eq!(count(join_all(plans).await), 7);
    let world = world.crash();
    assert_eq!(world.task(tasks[0]).await.unwrap().issued, 7);
}

/// Likewise for the calls of one minute, and then for those of the next.
pub async fn a_budget_of_calls_holds_exactly<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let tasks = tree(&world).await;
    for minute in 1..3 {
        let calls = (0..100).map(|nth| {
            let obligations = Obligations { max_calls_per_minute: Some(7), ..Obligations::default() };
            let made = events::call(&world.tenant, tasks[nth % 3], None);
            call(&world, CallTool { obligations, ..made })
        });
        assert_eq!(count(join_all(calls).await), 7);
        assert_eq!(world.task(tasks[0]).await.unwrap().calls, 7 * minute);
        world.pass(60);
        world = world.crash();
    }
}

/// Likewise for the uses of one lease.
pub async fn a_budget_of_uses_holds_exactly<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    let mut plan = events::plan(&world.tenant, LeaseId::new(), task);
    plan.obligations = Obligations { max_uses: Some(7), ..Obligations::default() };
    let lease = world.plan_as(plan).await.unwrap().lease().id;
    let calls = (0..100).map(|_| call(&world, events::call(&world.tenant, task, Some(lease))));
    assert_eq!(count(join_all(calls).await), 7);
    let world = world.crash();
    assert_eq!(world.lease(lease).await.unwrap().uses, 7);
}

/// On the task, on all above it, and on the lease.
pub async fn calls_are_counted_and_survive<H: Home>(home: H) {
    let world = World::new(home).await;
    let tasks = tree(&world).await;
    let lease = world.plan(tasks[2]).await.unwrap().id;
    call(&world, events::call(&world.tenant, tasks[2], Some(lease))).await.unwrap();
    call(&world, events::call(&world.tenant, tasks[1], None)).await.unwrap();
    let world = world.crash();
    for (task, calls) in tasks.into_iter().zip([2, 2, 1]) {
        assert_eq!(world.task(task).await.unwrap().calls, calls);
    }
    assert_eq!(world.lease(lease).await.unwrap().uses, 1);
    world.end_lease(lease, false).await;
    let ended = call(&world, events::call(&world.tenant, tasks[2], Some(lease))).await;
    assert_eq!(refused(ended), Reason::LeaseEnded);
    world.end_task(tasks[0]).await;
    assert_eq!(refused(call(&world, events::call(&world.tenant, tasks[2], None)).await), Reason::TaskEnded);
}

/// Nothing ends, nothing goes on, until it is released; and nobody is told of a kill.
pub async fn a_hold_without_an_end_lasts_too<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    let lease = world.plan(task).await.unwrap().id;
    let mut denied = world.store.denied();
    denied.mark_unchanged();
    let held = world.apply(events::hold_task(&world.tenant, task)).await.unwrap();
    assert!(matches!(held.outcome(), Outcome::Held(hold) if hold.lease.is_none()));
    assert!(!denied.has_changed().unwrap());
    let world = world.crash();
    assert_eq!(refused(world.plan(task).await), Reason::HeldAfterKill);
    assert_eq!(refused(world.renew(lease, "renew-1").await), Reason::HeldAfterKill);
    let called = call(&world, events::call(&world.tenant, task, None)).await;
    assert_eq!(refused(called), Reason::HeldAfterKill);
    world.store.standing(&world.tenant, lease, world.now).await.unwrap();
    world.apply(events::release_hold(&world.tenant, task)).await.unwrap();
    world.plan(task).await.unwrap();
}
