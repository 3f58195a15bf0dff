//! Lists, page by page.

use super::{Home, events, world::World};
use crate::{LeaseQuery, Store, TaskQuery};
use taskpass_types::{LeaseId, TaskId};

/// Whatever the size of a page, all pages together are all records, newest first.
pub async fn pages_are_newest_first_and_complete<H: Home>(home: H) {
    let world = World::new(home).await;
    let (mut tasks, mut leases) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let task = world.start().await.id;
        tasks.push(task);
        leases.push(world.plan(task).await.unwrap().id);
    }
    tasks.sort_unstable_by(|a, b| b.cmp(a));
    leases.sort_unstable_by(|a, b| b.cmp(a));
    let world = world.crash();
    for limit in [0, 1, 2, 3, 6, 7, 8, usize::MAX] {
        let query = TaskQuery { tenant: world.tenant.clone(), limit, ..TaskQuery::default() };
        assert_eq!(world.tasks(query).await, tasks, "pages of {limit}");
        let query = LeaseQuery { tenant: world.tenant.clone(), limit, ..LeaseQuery::default() };
        assert_eq!(world.leases(query).await, leases, "pages of {limit}");
    }
    let query = TaskQuery { tenant: world.tenant.clone(), limit: 7, ..TaskQuery::default() };
    assert_eq!(world.store.tasks(&query).await.unwrap().next, None, "the last page says so");
}

/// A lease that ends between two pages is neither missed nor shown twice.
pub async fn pages_of_one_task_survive_changes_between_them<H: Home>(home: H) {
    let world = World::new(home).await;
    let (task, other) = (world.start().await.id, world.start().await.id);
    let mut leases = Vec::new();
    for _ in 0..6 {
        leases.push(world.plan(task).await.unwrap().id);
        world.plan(other).await.unwrap();
    }
    world.start_under(Some(task)).await.unwrap();
    leases.sort_unstable_by(|a, b| b.cmp(a));
    world.end_lease(leases[4], false).await;
    let mut query =
        LeaseQuery { tenant: world.tenant.clone(), task: Some(task), limit: 2, ..LeaseQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = world.store.leases(&query).await.unwrap();
        seen.extend(page.items.iter().map(|lease| lease.id));
        let Some(next) = page.next else { break };
        world.end_lease(next, false).await;
        query.before = Some(next);
    }
    assert_eq!(seen, leases);
}

/// The children of one task, its own only, live and ended, whatever the size of a page.
pub async fn children_are_found_by_their_parent<H: Home>(home: H) {
    let world = World::new(home).await;
    let (parent, other) = (world.start().await.id, world.start().await.id);
    world.plan(parent).await.unwrap();
    world.start_under(Some(other)).await.unwrap();
    let mut children = Vec::new();
    for _ in 0..5 {
        children.push(world.start_under(Some(parent)).await.unwrap().id);
    }
    world.start_under(Some(children[0])).await.unwrap();
    world.end_task(children[3]).await;
    children.sort_unstable_by(|a, b| b.cmp(a));
    let world = world.crash();
    for limit in [0, 1, 2, 5, 100] {
        let query =
            TaskQuery { tenant: world.tenant.clone(), parent: Some(parent), limit, ..TaskQuery::default() };
        assert_eq!(world.tasks(query.clone()).await, children, "pages of {limit}");
        assert_eq!(world.tasks(TaskQuery { running: true, ..query }).await.len(), 4, "pages of {limit}");
    }
    let query =
        TaskQuery { tenant: world.tenant.clone(), parent: Some(TaskId::new()), ..TaskQuery::default() };
    assert!(world.tasks(query).await.is_empty());
}

/// Each filter on its own and together with pages that it leaves half empty.
pub async fn filters_keep_what_they_say<H: Home>(home: H) {
    let world = World::new(home).await;
    let (mut mine, mut theirs, mut running, mut active) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for turn in 0..12 {
        let mut start = events::start(&world.tenant, TaskId::new(), None);
        let mut plan = events::plan(&world.tenant, LeaseId::new(), start.id);
        if turn % 3 == 0 {
            start.agent = events::agent("ci/other");
            plan.agent = events::agent("ci/other");
        }
        let whose = if turn % 3 == 0 { &mut theirs } else { &mut mine };
        whose.push((start.id, plan.id));
        world.start_as(start.clone()).await.unwrap();
        world.plan_as(plan.clone()).await.unwrap();
        if turn % 2 == 0 {
            world.end_lease(plan.id, false).await;
            world.end_task(start.id).await;
        } else {
            running.push(start.id);
            active.push(plan.id);
        }
    }
    let world = world.crash();
    for ids in [&mut mine, &mut theirs] {
        ids.reverse();
    }
    running.reverse();
    active.reverse();
    for limit in [1, 3, 100] {
        let tasks = TaskQuery { tenant: world.tenant.clone(), limit, ..TaskQuery::default() };
        let leases = LeaseQuery { tenant: world.tenant.clone(), limit, ..LeaseQuery::default() };
        for (agent, expected) in [(events::AGENT, &mine), ("ci/other", &theirs)] {
            let agent = Some(events::agent(agent));
            let found = world.tasks(TaskQuery { agent: agent.clone(), ..tasks.clone() }).await;
            assert_eq!(found, expected.iter().map(|(task, _)| *task).collect::<Vec<_>>());
            let found = world.leases(LeaseQuery { agent, ..leases.clone() }).await;
            assert_eq!(found, expected.iter().map(|(_, lease)| *lease).collect::<Vec<_>>());
        }
        assert_eq!(world.tasks(TaskQuery { running: true, ..tasks.clone() }).await, running);
        assert_eq!(world.leases(LeaseQuery { active: true, ..leases.clone() }).await, active);
        let task = Some(mine[0].0);
        let found = world.leases(LeaseQuery { task, active: true, ..leases }).await;
        assert_eq!(found, active.iter().filter(|id| **id == mine[0].1).copied().collect::<Vec<_>>());
    }
}
