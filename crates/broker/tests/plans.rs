//! A change of the policies is seen before it is made, and then exactly that one is made.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use parking_lot::Mutex;
use std::{collections::BTreeSet, sync::Arc};
use support::{POLICY, START, World, issue, meddled::Meddled, start};
use taskpass_broker::{AfterKill, Plan, PlanAsk};
use taskpass_lease::{Event, Fence, Lease, PlanLease, PolicyOrigin, Request};
use taskpass_store::LeaseQuery;
use taskpass_types::{AgentId, LeaseId, PlanId, Reason, Refusal, RequestId};

fn files(text: &str) -> PlanAsk {
    PlanAsk::Files(vec![("test.cedar".to_owned(), text.to_owned())])
}

async fn plan(world: &World, text: &str) -> Result<Plan, Refusal> {
    world.broker.plan_policies(world.caller("operator"), files(text)).await
}

async fn apply(world: &World, id: PlanId) -> Result<Plan, Refusal> {
    world.broker.apply_plan(world.caller("operator"), id, "tighten up").await
}

async fn issued(world: &World, who: &str) -> LeaseId {
    let task = world.broker.start_task(world.caller(who), start()).await.unwrap().id;
    world.broker.issue(world.caller(who), issue(task)).await.unwrap().lease.id
}

/// The leases that have ended.
async fn ended(world: &World) -> BTreeSet<LeaseId> {
    let query = LeaseQuery { limit: 1000, ..LeaseQuery::default() };
    let page = world.store.leases(&query).await.unwrap();
    page.items.into_iter().filter(|lease| lease.end().is_some()).map(|lease| lease.id).collect()
}

fn leases(plan: &Plan) -> BTreeSet<LeaseId> {
    plan.findings.iter().filter_map(|finding| finding.subject.lease()).collect()
}

/// Only the other agent may go on.
const STRICTER: &str = r#"permit (principal == Agent::"ci/other", action, resource);"#;

#[tokio::test]
async fn the_preview_and_the_change_that_follows_agree_exactly() {
    let world = World::new().await;
    let mut lost = BTreeSet::new();
    for _ in 0..20 {
        lost.insert(issued(&world, "ci/bot").await);
        issued(&world, "ci/other").await;
    }
    let before = world.broker.policy_status(&world.caller("operator")).unwrap().revision;
    let preview = plan(&world, STRICTER).await.unwrap();
    assert_eq!(leases(&preview), lost);
    assert_eq!((preview.examined, &preview.from), (80, &before));
    assert_eq!(preview.agents(), [&AgentId::new("ci/bot").unwrap()].into());
    assert!(preview.findings.iter().all(|finding| finding.why.contains("ci/bot")));
    assert_eq!(world.broker.policy_status(&world.caller("operator")).unwrap().revision, before);
    assert!(ended(&world).await.is_empty(), "a preview changes nothing");

    apply(&world, preview.id).await.unwrap();
    world.broker.decide_anew().await.unwrap();
    assert_eq!(ended(&world).await, lost);
    let history = world.broker.policy_history(&world.caller("operator"), None, 10).await.unwrap();
    assert_eq!(history[0].origin, PolicyOrigin::Applied);
    assert_eq!(
        (history[0].by.as_str(), &history[0].revision),
        ("operator/maya", preview.policies.revision())
    );
    let loaded = world.entries().await.into_iter().rev().find(|entry| entry.code == "TP401S").unwrap();
    assert_eq!(loaded.purpose.as_deref(), Some("tighten up"));
    assert_eq!(apply(&world, preview.id).await.unwrap_err().reason(), Reason::PlanNotFound, "once");
}

#[tokio::test]
async fn a_change_that_grew_is_refused_and_one_that_shrank_is_not() {
    let world = World::new().await;
    let first = issued(&world, "ci/bot").await;
    let preview = plan(&world, STRICTER).await.unwrap();
    let second = issued(&world, "ci/bot").await;
    let refused = apply(&world, preview.id).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::PlanGrew);
    assert!(refused.message().contains(&second.to_string()), "{refused}");
    world.broker.decide_anew().await.unwrap();
    assert!(ended(&world).await.is_empty());
    let again = plan(&world, STRICTER).await.unwrap();
    world.broker.kill_lease(world.caller("operator"), first, AfterKill::Reissue, "").await.unwrap();
    apply(&world, again.id).await.unwrap();
    world.broker.decide_anew().await.unwrap();
    assert_eq!(ended(&world).await, [first, second].into());
}

/// The request of the lease, once more, as it was decided.
fn once_more(lease: &Lease) -> Event {
    Event::PlanLease(Box::new(PlanLease {
        tenant: lease.tenant.clone(),
        id: LeaseId::new(),
        task: lease.task().unwrap(),
        agent: lease.agent().unwrap().clone(),
        subject: lease.subject.clone(),
        resource: lease.resource.clone(),
        actions: lease.actions.iter().cloned().collect(),
        kind: lease.kind,
        revocability: lease.revocability,
        confirmation: None,
        ttl: lease.requested_ttl,
        obligations: Default::default(),
        attested: lease.attested.clone(),
        attestation_age_secs: 0,
        counters: Default::default(),
        approval: None,
        evidence_expires_at: lease.hard_stop,
        decision: lease.decision,
        policies: lease.policies.clone(),
        fence: Fence { policy_revision: lease.policy_revision.clone() },
        key_generation: lease.key_generation,
        status: None,
        request: Request { id: RequestId::new("late").unwrap(), digest: [1; 32] },
    }))
}

/// Somebody's request, decided a moment before, gets in between the last look and the fence.
#[tokio::test]
async fn what_is_issued_in_the_middle_of_a_change_undoes_it() {
    let late: Arc<Mutex<Option<Event>>> = Arc::default();
    let slot = late.clone();
    let world = World::with(|store| {
        let inner = store.clone();
        Meddled::before(store, move |event| {
            let late = slot.lock().take_if(|_| matches!(event, Event::SetPolicies(_)));
            // In memory nothing waits for anything.
            late.map_or(Ok(()), |late| futures::executor::block_on(inner.apply(late, START)).map(drop))
        })
    })
    .await;
    let before = world.broker.policy_status(&world.caller("operator")).unwrap().revision;
    let first = issued(&world, "ci/bot").await;
    let first = world.store.lease(&Default::default(), first).await.unwrap().unwrap();
    let preview = plan(&world, STRICTER).await.unwrap();
    *late.lock() = Some(once_more(&first));
    let refused = apply(&world, preview.id).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::PlanGrew);
    assert!(late.lock().is_none(), "it got in");
    assert_eq!(world.store.policy_revision().await.unwrap(), Some(before.clone()));
    assert_eq!(world.broker.policy_status(&world.caller("operator")).unwrap().revision, before);
    issued(&world, "ci/bot").await;
    world.broker.decide_anew().await.unwrap();
    assert!(ended(&world).await.is_empty());
}

#[tokio::test]
async fn a_plan_over_other_policies_is_no_plan() {
    let world = World::new().await;
    let stale = plan(&world, STRICTER).await.unwrap();
    let other = plan(&world, &format!("{POLICY}// changed")).await.unwrap();
    apply(&world, other.id).await.unwrap();
    assert_eq!(apply(&world, stale.id).await.unwrap_err().reason(), Reason::PlanOutdated);
    world.clock.advance(std::time::Duration::from_secs(601));
    assert_eq!(apply(&world, stale.id).await.unwrap_err().reason(), Reason::PlanNotFound);
    assert_eq!(apply(&world, PlanId::new()).await.unwrap_err().reason(), Reason::PlanNotFound);
}

#[tokio::test]
async fn an_invalid_set_is_no_plan_and_only_operators_plan() {
    let world = World::new().await;
    let invalid = plan(&world, "permit (principal, action, resource) when { context.acton == \"x\" };").await;
    let invalid = invalid.err().unwrap();
    assert_eq!(invalid.reason(), Reason::PolicyInvalid);
    assert!(invalid.message().contains("test.cedar:1"), "{invalid}");
    for who in ["ci/bot", "orchestrator", "verifier", "person/noor"] {
        let refused = world.broker.plan_policies(world.caller(who), files(STRICTER)).await.err().unwrap();
        assert_eq!(refused.reason(), Reason::NotPermitted, "{who}");
    }
}

#[tokio::test]
async fn the_way_back_is_a_plan_too() {
    let world = World::new().await;
    let first = world.broker.policy_status(&world.caller("operator")).unwrap().revision;
    let stricter = plan(&world, STRICTER).await.unwrap();
    apply(&world, stricter.id).await.unwrap();
    let back = PlanAsk::Revision(first.as_str()[..6].to_owned());
    let back = world.broker.plan_policies(world.caller("operator"), back).await.unwrap();
    assert_eq!(back.policies.revision(), &first);
    apply(&world, back.id).await.unwrap();
    issued(&world, "ci/bot").await;
    let history = world.broker.policy_history(&world.caller("operator"), None, 10).await.unwrap();
    let origins: Vec<_> = history.iter().map(|set| set.origin).collect();
    assert_eq!(origins, [PolicyOrigin::RolledBack, PolicyOrigin::Applied, PolicyOrigin::Files]);
    let nowhere = PlanAsk::Revision("ffffffffffff".to_owned());
    let missing = world.broker.plan_policies(world.caller("operator"), nowhere).await.err().unwrap();
    assert_eq!(missing.reason(), Reason::PolicyNotFound);
}
