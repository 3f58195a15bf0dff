//! Tenants, and lives of a store.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::{LeaseQuery, Store, TaskQuery};
use taskpass_lease::Limits;
use taskpass_types::{Epoch, LeaseId, Reason, TaskId, TenantId};

/// I10: two tenants with the same names, request ids and even record ids cannot change or see one another; nor does one
/// fill the other's quota.
pub async fn tenants_do_not_meet<H: Home>(home: H) {
    let limits = Limits { tasks_per_agent: 2, live_per_task: 1, ..Limits::default() };
    let mut world = World::with(home, limits).await;
    let (task, lease) = (TaskId::new(), LeaseId::new());
    let tenants = ["acme", "acme-2"].map(|name| TenantId::new(name).unwrap());
    for tenant in &tenants {
        world.tenant = tenant.clone();
        world.start_as(events::start(tenant, task, None)).await.unwrap();
        assert!(!world.plan_as(events::plan(tenant, lease, task)).await.unwrap().replayed());
    }
    let theirs = world.start().await.id;

    world.tenant = tenants[0].clone();
    assert_eq!(world.task(theirs).await, None);
    assert_eq!(refused(world.plan(theirs).await), Reason::TaskNotFound);
    assert_eq!(refused(world.start_under(Some(theirs)).await), Reason::TaskNotFound);
    assert_eq!(refused(world.apply(events::end_task(&tenants[0], theirs)).await), Reason::TaskNotFound);
    world.end_lease(lease, true).await;
    world.end_task(task).await;
    world.settle().await;

    let mut world = world.crash();
    world.tenant = tenants[1].clone();
    assert_eq!(world.epoch().await, Epoch::default());
    world.store.standing(&tenants[1], lease, world.now).await.unwrap();
    world.renew(lease, "renew-1").await.unwrap();
    let query = TaskQuery { tenant: tenants[1].clone(), ..TaskQuery::default() };
    assert_eq!(world.tasks(query).await, [theirs.max(task), theirs.min(task)]);
    let query = LeaseQuery { tenant: tenants[0].clone(), active: true, ..LeaseQuery::default() };
    assert_eq!(world.leases(query).await, []);
}

/// The same place has the same history; another place has another.
pub async fn a_history_outlives_its_process<H: Home>(home: H) {
    let world = World::new(home).await;
    let history = world.store.history();
    let world = world.crash();
    assert_eq!(world.store.history(), history);
    let other = crate::MemoryStore::new(crate::MemoryBackend::new(Limits::default()).unwrap());
    assert_ne!(other.history(), history);
}
