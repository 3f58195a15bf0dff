//! Ends and holds that are wider than a task.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::{LeaseQuery, Store};
use std::time::Duration;
use taskpass_lease::{End, Event, HeldFor, Outcome, PlanLease, StartTask, Wide};
use taskpass_types::{
    AgentId, DenySubject, EndReason, Epoch, LeaseId, Owner, Reason, Refusal, TaskId, TenantId,
};

const GOOD: Option<HeldFor> = Some(HeldFor::Good);

async fn bar<H: Home>(
    world: &World<H>,
    wide: &Wide,
    end: bool,
    hold: Option<HeldFor>,
) -> Result<Option<End>, Refusal> {
    match world.apply(events::bar_wide(&world.tenant, wide.clone(), end, hold)).await?.into_outcome() {
        Outcome::Barred(bar) => Ok(bar.end.map(|(end, _)| end)),
        Outcome::AlreadyEnded(end) => Ok(Some(end)),
        other => panic!("a bar gave {other:?}"),
    }
}

fn agent() -> Wide {
    Wide::Agent(events::agent(events::AGENT))
}

/// What a lease of the events is under.
fn every() -> [Wide; 4] {
    let owner = Wide::Owner(Owner::new("maya@acme.test").unwrap());
    [agent(), owner, Wide::Resource(events::resource()), Wide::Tenant]
}

/// I5: what was planned before is dead at once for whoever looks, by one write; and stays so.
pub async fn a_wide_end_takes_all_that_was_before<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await.id;
    for (number, wide) in (1_u64..).zip(every()) {
        let before = world.plan(task).await.unwrap().id;
        let end = bar(&world, &wide, true, None).await.unwrap().unwrap();
        assert_eq!((end.epoch, end.reason), (Some(Epoch(number)), EndReason::Killed), "{wide}");
        world = world.crash();
        assert_eq!(world.lease_end(before).await, Some(end.clone()), "{wide}");
        let standing = world.store.standing(&world.tenant, before, world.now).await;
        assert_eq!(refused(standing), Reason::LeaseEnded, "{wide}");
        assert_eq!(refused(world.renew(before, "late").await), Reason::LeaseEnded, "{wide}");
        let active = LeaseQuery { tenant: world.tenant.clone(), active: true, ..LeaseQuery::default() };
        assert!(!world.leases(active).await.contains(&before), "{wide}");
        // Ended once is ended: what is said of it again changes nothing.
        world.end_lease(before, false).await;
        assert_eq!(world.epoch().await, Epoch(number), "{wide}");
        // Nothing holds, so what comes after is good.
        let after = world.plan(task).await.unwrap();
        assert_eq!(after.deny_epoch, Epoch(number), "{wide}");
        world.store.standing(&world.tenant, after.id, world.now).await.unwrap();
        world.renew(after.id, "more").await.unwrap();
    }
    let denies = world.store.denies_after(&world.tenant, Epoch::default(), 10).await.unwrap();
    let subjects: Vec<DenySubject> = denies.records.into_iter().map(|deny| deny.subject).collect();
    assert_eq!(subjects, every().map(|wide| wide.subject()));
}

/// The record of such a lease says how it ended as soon as somebody has to touch it.
pub async fn what_a_wide_end_took_is_marked_in_time<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await.id;
    let lease = world.plan(task).await.unwrap().id;
    bar(&world, &agent(), true, None).await.unwrap();
    world.pass(310);
    world.settle().await;
    assert_eq!(world.lease_end(lease).await.unwrap().reason, EndReason::Killed);
    assert_eq!(world.task(task).await.unwrap().live_below, 0);
    assert_eq!(world.epoch().await, Epoch(1), "it took no record of its own");
}

/// Whoever delegated is killed: what others got under it is dead too.
pub async fn an_agents_end_reaches_what_it_handed_on<H: Home>(home: H) {
    let world = World::new(home).await;
    let root = world.start().await.id;
    let helper = AgentId::new("ci/helper").unwrap();
    let start = |agent: &AgentId, parent| StartTask {
        agent: agent.clone(),
        ..events::start(&world.tenant, TaskId::new(), parent)
    };
    let child = world.start_as(start(&helper, Some(root))).await.unwrap().id;
    let alone = world.start_as(start(&helper, None)).await.unwrap().id;
    let plan =
        |task| PlanLease { agent: helper.clone(), ..events::plan(&world.tenant, LeaseId::new(), task) };
    let (under, beside) = (plan(child), plan(alone));
    let (under, beside) =
        (world.plan_as(under).await.unwrap().lease().id, world.plan_as(beside).await.unwrap().lease().id);
    bar(&world, &agent(), true, GOOD).await.unwrap();
    let world = world.crash();
    assert!(world.lease_end(under).await.is_some());
    assert!(world.lease_end(beside).await.is_none());
    let plan =
        |task| PlanLease { agent: helper.clone(), ..events::plan(&world.tenant, LeaseId::new(), task) };
    assert_eq!(refused(world.plan_as(plan(child)).await), Reason::HeldAfterKill);
    world.plan_as(plan(alone)).await.unwrap();
}

/// Nothing comes of what is held, until it is released; which brings nothing back.
pub async fn a_wide_hold_stops_all_until_it_is_released<H: Home>(home: H) {
    let mut world = World::new(home).await;
    for wide in every() {
        let task = world.start().await.id;
        let plan = events::plan(&world.tenant, LeaseId::new(), task);
        let lease = world.plan_as(plan.clone()).await.unwrap().lease().id;
        bar(&world, &wide, false, GOOD).await.unwrap();
        world = world.crash();
        assert!(world.lease_end(lease).await.is_none(), "{wide}: a hold alone ends nothing");
        assert_eq!(refused(world.plan(task).await), Reason::HeldAfterKill, "{wide}");
        assert_eq!(refused(world.plan_as(plan.clone()).await), Reason::HeldAfterKill, "{wide}: a repeat");
        assert_eq!(refused(world.renew(lease, "late").await), Reason::HeldAfterKill, "{wide}");
        let call = events::call(&world.tenant, task, None);
        let call = world.apply(Event::CallTool(Box::new(call))).await;
        assert_eq!(refused(call), Reason::HeldAfterKill, "{wide}");
        // A task is on nothing yet.
        if !matches!(wide, Wide::Resource(_)) {
            assert_eq!(refused(world.start_under(None).await), Reason::HeldAfterKill, "{wide}");
            assert_eq!(refused(world.start_under(Some(task)).await), Reason::HeldAfterKill, "{wide}");
        }
        bar(&world, &wide, true, None).await.unwrap();
        assert_eq!(refused(world.plan(task).await), Reason::HeldAfterKill, "{wide}: an end keeps the hold");
        for released in [true, false] {
            let done = world.apply(events::release_wide(&world.tenant, wide.clone())).await.unwrap();
            assert_eq!(matches!(done.outcome(), Outcome::Released), released, "{wide}");
        }
        world.plan(task).await.unwrap();
        assert_eq!(refused(world.renew(lease, "late").await), Reason::LeaseEnded, "{wide}");
    }
}

/// A quarantine is over by itself, to the second.
pub async fn a_wide_hold_for_a_time_ends_with_it<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    let until = world.now.plus(Duration::from_secs(60));
    bar(&world, &agent(), true, Some(HeldFor::Until(until))).await.unwrap();
    let mut world = world.crash();
    world.pass(59);
    assert_eq!(refused(world.plan(task).await), Reason::HeldAfterKill);
    world.pass(1);
    world.plan(task).await.unwrap();
    let done = world.apply(events::release_wide(&world.tenant, agent())).await.unwrap();
    assert!(matches!(done.outcome(), Outcome::Nothing), "there is no hold any more");
}

/// A journal may write an end a second time; that must not end what came after the first.
pub async fn a_wide_end_that_is_repeated_happens_once<H: Home>(home: H) {
    let world = World::new(home).await;
    let first = bar(&world, &agent(), true, GOOD).await.unwrap();
    let world = world.crash();
    assert_eq!(bar(&world, &agent(), true, GOOD).await.unwrap(), first);
    assert_eq!(world.epoch().await, Epoch(1));
}

/// There is room for so many, and always for the tenant.
pub async fn wide_bars_are_bounded<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let one = |number: u32| Wide::Agent(AgentId::new(format!("ci/bot-{number}")).unwrap());
    for number in 0..256 {
        bar(&world, &one(number), true, None).await.unwrap();
    }
    assert_eq!(refused(bar(&world, &one(256), true, None).await), Reason::QuotaExceeded);
    bar(&world, &one(7), true, GOOD).await.unwrap();
    bar(&world, &Wide::Tenant, true, GOOD).await.unwrap();
    // Once no credential under them can live, they make room.
    world.pass(48 * 3600);
    bar(&world, &one(256), true, None).await.unwrap();
}

/// I5: an end whose last credential must have expired is forgotten; what was under it stays dead if the clock goes back.
pub async fn a_forgotten_wide_end_stays_one<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let before = world.now;
    let task = world.start().await.id;
    let lease = world.plan(task).await.unwrap().id;
    bar(&world, &agent(), true, None).await.unwrap();
    world.pass(48 * 3600);
    bar(&world, &Wide::Agent(AgentId::new("ci/helper").unwrap()), true, None).await.unwrap();
    world.now = before;
    let world = world.crash();
    let standing = world.store.standing(&world.tenant, lease, world.now).await;
    assert_eq!(refused(standing), Reason::LeaseEnded);
    assert_eq!(refused(world.renew(lease, "late").await), Reason::LeaseEnded);
    // What came after it lives.
    let after = world.plan(task).await.unwrap();
    world.store.standing(&world.tenant, after.id, world.now).await.unwrap();
}

/// I10.
pub async fn a_wide_end_stays_in_its_tenant<H: Home>(home: H) {
    let world = World::new(home).await;
    let other = TenantId::new("globex").unwrap();
    let task = TaskId::new();
    let start = events::start(&other, task, None);
    world.apply(Event::StartTask(Box::new(start))).await.unwrap();
    let plan = || {
        let plan = events::plan(&other, LeaseId::new(), task);
        Event::PlanLease(Box::new(plan))
    };
    let lease = world.apply(plan()).await.unwrap().into_prepared().unwrap().lease().id;
    for wide in every() {
        bar(&world, &wide, true, GOOD).await.unwrap();
    }
    world.store.standing(&other, lease, world.now).await.unwrap();
    world.apply(plan()).await.unwrap();
    assert_eq!(world.store.denies_after(&other, Epoch::default(), 10).await.unwrap().epoch, Epoch(0));
}
