//! Requests for approval: found, voted on, used, expired, forgotten.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::{ApprovalQuery, DueWhat, Store};
use futures::future::join_all;
use taskpass_lease::{ApprovalState, Event, Limits, PlanLease, StartTask, Verdict};
use taskpass_types::{ApprovalId, LeaseId, Reason, TaskId, TenantId};

/// A plan that rests on an approval of this digest.
fn resting<H: Home>(world: &World<H>, task: TaskId, digest: u8) -> PlanLease {
    let approved = events::approved(digest);
    let mut plan = events::plan(&world.tenant, LeaseId::new(), task);
    plan.obligations.approvals = approved.required.clone();
    plan.approval = Some(approved);
    plan
}

/// What waits, and what was said, is there after a crash; by its id and by what it is about.
pub async fn an_approval_survives_and_is_found<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    let asked = world.ask(task, 1).await.unwrap();
    let world = world.crash();
    assert_eq!(world.approval(asked.id).await, Some(asked.clone()));
    assert_eq!(world.ask(task, 1).await.unwrap(), asked, "the same question is one");
    let granted = world.vote(asked.id, "ann", Verdict::Approve).await.unwrap();
    let world = world.crash();
    let agent = events::agent(events::AGENT);
    let found = world.store.approval_for(&world.tenant, &agent, &[1; 32]).await.unwrap();
    assert_eq!(found, Some(granted));
    assert_eq!(world.store.approval_for(&world.tenant, &agent, &[2; 32]).await.unwrap(), None);
    let other = events::agent("ci/other");
    assert_eq!(world.store.approval_for(&world.tenant, &other, &[1; 32]).await.unwrap(), None);
    let lease = world.plan_as(resting(&world, task, 1)).await.unwrap().lease().clone();
    let world = world.crash();
    let used = world.approval(asked.id).await.unwrap();
    assert_eq!(used.state, ApprovalState::Used { at: world.now, by: lease.id.to_string() });
    assert_eq!(lease.approval, Some(asked.id));
    assert_eq!(refused(world.plan_as(resting(&world, task, 1)).await), Reason::ApprovalRequired);
}

/// A hundred at once that rest on the same approval: one.
pub async fn one_approval_is_used_once_however_many_ask<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    let id = world.ask(task, 1).await.unwrap().id;
    world.vote(id, "ann", Verdict::Approve).await.unwrap();
    let results = join_all((0..100).map(|_| world.plan_as(resting(&world, task, 1)))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for result in results.into_iter().filter(Result::is_err) {
        assert_eq!(refused(result), Reason::ApprovalRequired);
    }
    assert_eq!(world.task(task).await.unwrap().issued, 1);
}

/// Who hands on asked for it; who gets the task has no approval of its own.
pub async fn a_delegation_finds_the_parents_approval<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    let id = world.ask(task, 1).await.unwrap().id;
    world.vote(id, "ann", Verdict::Approve).await.unwrap();
    let to_other = || StartTask {
        agent: events::agent("ci/other"),
        approval: Some(events::approved(1)),
        ..events::start(&world.tenant, TaskId::new(), Some(task))
    };
    let begun = to_other();
    assert_eq!(world.start_as(begun.clone()).await.unwrap().approval, Some(id));
    assert_eq!(world.start_as(begun.clone()).await.unwrap().id, begun.id, "a repeat needs none");
    assert_eq!(refused(world.start_as(to_other()).await), Reason::ApprovalRequired);
}

/// Whoever waits for people wakes for all that happens to an approval, and for nothing else.
pub async fn every_approval_is_announced<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let mut changed = world.store.approval_changed();
    let task = world.start().await.id;
    world.plan(task).await.unwrap();
    assert!(!changed.has_changed().unwrap());
    let id = world.ask(task, 1).await.unwrap().id;
    assert!(changed.has_changed().unwrap(), "asked");
    changed.mark_unchanged();
    world.ask(task, 1).await.unwrap();
    assert!(!changed.has_changed().unwrap(), "asked again, nothing is new");
    world.vote(id, "ann", Verdict::Approve).await.unwrap();
    assert!(changed.has_changed().unwrap(), "granted");
    changed.mark_unchanged();
    world.plan_as(resting(&world, task, 1)).await.unwrap();
    assert!(changed.has_changed().unwrap(), "used");
    world.ask(task, 2).await.unwrap();
    changed.mark_unchanged();
    world.pass(600);
    world.settle().await;
    assert!(changed.has_changed().unwrap(), "expired");
}

/// The schedule ends what nobody decided in time, and forgets it later; what was denied stays denied until then.
pub async fn approvals_expire_and_go<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await.id;
    let pending = world.ask(task, 1).await.unwrap().id;
    let denied = world.ask(task, 2).await.unwrap().id;
    world.vote(denied, "ben", Verdict::Deny).await.unwrap();
    world.pass(599);
    assert_eq!(refused(world.ask(task, 2).await), Reason::ApprovalDenied);
    world.pass(1);
    let what = DueWhat::Approval(world.tenant.clone(), pending);
    assert_eq!(world.due().await.into_iter().map(|due| due.what).collect::<Vec<_>>(), [what]);
    assert_eq!(refused(world.vote(pending, "ann", Verdict::Approve).await), Reason::ApprovalExpired);
    world.settle().await;
    let mut world = world.crash();
    let expired = world.approval(pending).await.unwrap();
    assert_eq!(expired.state, ApprovalState::Expired { at: expired.expires_at });
    world.pass(365 * 24 * 3600);
    world.settle().await;
    let world = world.crash();
    assert_eq!((world.approval(pending).await, world.approval(denied).await), (None, None));
    assert_eq!(world.due().await, [], "nothing is left behind");
    let agent = events::agent(events::AGENT);
    assert_eq!(world.store.approval_for(&world.tenant, &agent, &[1; 32]).await.unwrap(), None);
}

/// What is forgotten takes nothing with it that came after it.
pub async fn a_newer_approval_keeps_its_place<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await.id;
    let old = world.ask(task, 1).await.unwrap().id;
    world.pass(600);
    world.settle().await;
    world.pass(20 * 3600);
    let task = world.start().await.id;
    let new = world.ask(task, 1).await.unwrap().id;
    world.vote(new, "ann", Verdict::Deny).await.unwrap();
    world.pass(5 * 3600);
    world.settle().await;
    let world = world.crash();
    assert_eq!(world.approval(old).await, None);
    let agent = events::agent(events::AGENT);
    let found = world.store.approval_for(&world.tenant, &agent, &[1; 32]).await.unwrap();
    assert_eq!(found.map(|found| found.id), Some(new));
}

/// All pages together are all that match; other tenants' are not among them.
pub async fn pages_of_approvals_are_newest_first_and_filtered<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await.id;
    let other =
        StartTask { agent: events::agent("ci/other"), ..events::start(&world.tenant, TaskId::new(), None) };
    let other = world.start_as(other).await.unwrap().id;
    let (mut all, mut mine, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..9 {
        let id = ApprovalId::new();
        let mut ask = events::ask(&world.tenant, id, task, turn);
        if turn % 3 == 0 {
            (ask.agent, ask.task) = (events::agent("ci/other"), other);
        } else {
            mine.insert(0, id);
        }
        all.insert(0, id);
        world.apply(Event::RequestApproval(Box::new(ask))).await.unwrap();
        if turn % 2 == 0 {
            world.vote(id, "ann", Verdict::Approve).await.unwrap();
        } else {
            waiting.insert(0, id);
        }
    }
    let tenants = [world.tenant.clone(), TenantId::new("acme").unwrap()];
    world = world.crash();
    for limit in [0, 1, 4, 9] {
        let query = ApprovalQuery { tenant: tenants[0].clone(), limit, ..ApprovalQuery::default() };
        assert_eq!(world.approvals(query.clone()).await, all, "pages of {limit}");
        assert_eq!(world.approvals(ApprovalQuery { pending: true, ..query.clone() }).await, waiting);
        let agent = Some(events::agent(events::AGENT));
        assert_eq!(world.approvals(ApprovalQuery { agent, ..query.clone() }).await, mine);
        assert_eq!(world.approvals(ApprovalQuery { tenant: tenants[1].clone(), ..query }).await, []);
    }
    assert_eq!(world.store.approval(&tenants[1], all[0]).await.unwrap(), None);
}

/// A place is free again once it is decided or over.
pub async fn waiting_approvals_are_counted_per_agent<H: Home>(home: H) {
    let mut world = World::with(home, Limits { approvals_per_agent: 2, ..Limits::default() }).await;
    let task = world.start().await.id;
    let first = world.ask(task, 1).await.unwrap().id;
    world.ask(task, 2).await.unwrap();
    world = world.crash();
    assert_eq!(refused(world.ask(task, 3).await), Reason::QuotaExceeded);
    world.vote(first, "ann", Verdict::Approve).await.unwrap();
    world.plan_as(resting(&world, task, 1)).await.unwrap();
    world.ask(task, 3).await.unwrap();
    assert_eq!(refused(world.ask(task, 4).await), Reason::QuotaExceeded);
    world.pass(600);
    world.settle().await;
    world.ask(task, 4).await.unwrap();
    world.ask(task, 5).await.unwrap();
    assert_eq!(refused(world.ask(task, 6).await), Reason::QuotaExceeded);
}
