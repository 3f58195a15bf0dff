//! Drift: what is out is decided anew when policies or registry change and when a recheck is due, and rules say what
//! follows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::time::Duration;
use support::{POLICY, World, policies, registered, registry, start};
use taskpass_broker::{DriftRule, DriftRules, Registered, StartAsk, Then, Trigger};
use taskpass_lease::{Lease, Task};
use taskpass_types::{AgentId, DriftRuleId, EndReason, LeaseId, Reason, TaskId};

const DENY: &str = "forbid (principal, action, resource);";

async fn leased(world: &World) -> (TaskId, LeaseId) {
    let task = world.task("ci/bot").await.id;
    (task, world.issue("ci/bot", task).await.unwrap().lease.id)
}

async fn lease(world: &World, id: LeaseId) -> Lease {
    world.store.lease(&Default::default(), id).await.unwrap().unwrap()
}

async fn task(world: &World, id: TaskId) -> Task {
    world.store.task(&Default::default(), id).await.unwrap().unwrap()
}

fn rule(when: Trigger, then: Then, shadow: bool) -> DriftRules {
    let id = DriftRuleId::new("the-rule").unwrap();
    DriftRules::new(vec![DriftRule { id, when, agents: Vec::new(), resources: Vec::new(), then, shadow }])
        .unwrap()
}

async fn adopt(world: &World, text: &str) -> usize {
    world.broker.adopt_policies(policies(text)).await.unwrap();
    world.broker.decide_anew().await.unwrap()
}

async fn register(world: &World, change: impl FnOnce(&mut Registered)) -> usize {
    let mut now = registered();
    change(&mut now);
    world.broker.adopt_registry(registry(now), DriftRules::default());
    world.broker.decide_anew().await.unwrap()
}

#[tokio::test]
async fn what_policy_no_longer_allows_is_revoked_reported_shortened_or_given_grace() {
    for (then, ends_after) in [
        (Then::Revoke, Some(0)),
        (Then::Report, None),
        (Then::Grace(Duration::from_secs(60)), Some(60)),
        // Until the credential that is out ends by itself; it is not renewed. That is noted within a second.
        (Then::Shorten, Some(301)),
    ] {
        let world = World::new().await;
        world.broker.adopt_registry(registry(registered()), rule(Trigger::Policy, then, false));
        let (_, id) = leased(&world).await;
        let acted = adopt(&world, DENY).await;
        assert_eq!(acted, usize::from(ends_after.is_some()), "{then:?}");
        assert_eq!(world.broker.decide_anew().await.unwrap(), 0, "{then:?}: once is enough");
        let lives_for = ends_after.unwrap_or(299);
        if lives_for > 0 {
            assert!(lease(&world, id).await.end().is_none(), "{then:?}");
            assert_eq!(world.renew("ci/bot", id).await.err().unwrap().reason(), Reason::PolicyDenied);
            world.clock.advance(Duration::from_secs(lives_for));
            world.broker.work_off_schedule().await.unwrap();
        }
        let ended = lease(&world, id).await.end().map(|end| end.reason);
        match then {
            Then::Report => assert_eq!(ended, None),
            Then::Shorten => assert!(matches!(ended, Some(EndReason::Drifted | EndReason::Expired))),
            _ => assert_eq!(ended, Some(EndReason::Drifted), "{then:?}"),
        }
    }
}

#[tokio::test]
async fn less_time_cuts_what_lives_and_leaves_what_is_short_enough() {
    let world = World::new().await;
    let (task, long) = leased(&world).await;
    let acted = adopt(&world, &POLICY.replace("10m", "2m")).await;
    assert_eq!(acted, 1);
    let cut = lease(&world, long).await;
    let at = cut.issued_at.plus(Duration::from_secs(120));
    assert_eq!((cut.end(), cut.cut.as_ref().map(|cut| cut.at)), (None, Some(at)));
    let short = world.issue("ci/bot", task).await.unwrap().lease;
    assert_eq!(short.expires_at, short.issued_at.plus(Duration::from_secs(120)));
    assert_eq!(adopt(&world, &POLICY.replace("10m", "3m")).await, 0, "more time takes nothing back");
    world.clock.advance(Duration::from_secs(120));
    world.broker.work_off_schedule().await.unwrap();
    let ended = lease(&world, long).await;
    assert_eq!(ended.end().unwrap().reason, EndReason::Drifted);
    assert!(ended.end().unwrap().epoch.is_some(), "its credential would have lived on: it is denied");
}

#[tokio::test]
async fn a_rule_in_the_shadow_writes_and_does_nothing() {
    let world = World::new().await;
    world.broker.adopt_registry(registry(registered()), rule(Trigger::Policy, Then::Revoke, true));
    let (_, id) = leased(&world).await;
    assert_eq!(adopt(&world, DENY).await, 0);
    assert!(lease(&world, id).await.end().is_none());
    let detected = world.entries().await.into_iter().find(|entry| entry.code == "TP403S").unwrap();
    let lease_id = id.to_string();
    assert_eq!((detected.rule.as_deref(), detected.shadow.as_deref()), (Some("the-rule"), Some("true")));
    assert_eq!(detected.lease.as_deref(), Some(lease_id.as_str()));
}

#[tokio::test]
async fn a_suspended_agent_a_missing_owner_and_a_removed_agent_lose_all_by_one_write_a_task() {
    type Change = fn(&mut Registered);
    let changes: [(&str, Change, Reason); 3] = [
        ("default-agent", |now| now.agents[0].suspended = true, Reason::AgentSuspended),
        ("default-owner", |now| now.agents[0].owner = None, Reason::AgentWithoutOwner),
        ("default-agent", |now| drop(now.agents.remove(0)), Reason::AgentNotRegistered),
    ];
    for (rule, change, reason) in changes {
        let world = World::new().await;
        let (task_id, _) = leased(&world).await;
        world.issue("ci/bot", task_id).await.unwrap();
        let other = world.broker.start_task(world.caller("ci/other"), start()).await.unwrap().id;
        let acted = register(&world, change).await;
        assert_eq!(acted, 1, "{rule}: the task, and by it all below");
        let end = task(&world, task_id).await.end().cloned().unwrap();
        assert_eq!(
            (end.reason, end.by.as_str()),
            (EndReason::Drifted, format!("broker/drift {rule}").as_str())
        );
        assert!(task(&world, other).await.end().is_none());
        let asked = match world.broker.caller(&world.identity("ci/bot")) {
            Ok(caller) => world.broker.start_task(caller, start()).await.unwrap_err(),
            Err(refusal) => refusal,
        };
        assert_eq!(asked.reason(), reason);
    }
}

#[tokio::test]
async fn another_classification_of_a_resource_reaches_what_is_out() {
    let world = World::new().await;
    let text =
        POLICY.replace("when {", r#"when { resource has sensitivity && resource.sensitivity == "low" && "#);
    world.broker.adopt_policies(policies(&text)).await.unwrap();
    world.broker.decide_anew().await.unwrap();
    let (_, id) = leased(&world).await;
    let acted = register(&world, |now| now.resources[0].sensitivity = Some("high".to_owned())).await;
    assert_eq!(acted, 1);
    assert_eq!(lease(&world, id).await.end().unwrap().by, "broker/drift default-resource");
    let detected = world.entries().await.into_iter().find(|entry| entry.code == "TP403S").unwrap();
    assert_eq!(detected.rule.as_deref(), Some("default-resource"));
}

#[tokio::test]
async fn a_recheck_decides_one_lease_when_it_is_due() {
    let world = World::new().await;
    // The hour of the world is 08:00 UTC.
    let text = r#"@recheck("1m") permit (principal, action == Action::"issue", resource)
        when { context.now.minute < 2 };"#;
    world.broker.adopt_policies(policies(text)).await.unwrap();
    let (_, id) = leased(&world).await;
    let advance = async |secs| {
        world.clock.advance(Duration::from_secs(secs));
        world.broker.work_off_schedule().await.unwrap();
        lease(&world, id).await.end().cloned()
    };
    assert_eq!(advance(60).await, None, "a minute later it would be allowed still");
    let end = advance(60).await.unwrap();
    assert_eq!((end.reason, end.by.as_str()), (EndReason::Drifted, "broker/drift default-recheck"));
}

#[tokio::test]
async fn what_was_asked_stays_as_it_was() {
    let world = World::new().await;
    // Fresh enough when it was issued, and only three credentials.
    let text = r#"permit (principal, action == Action::"issue", resource)
        when { context.attestation_age_seconds < 10 && context.counters.credentials < 1 &&
               principal.attested.contains("spiffe:id:spiffe://acme.test/ci/bot") };"#;
    world.broker.adopt_policies(policies(text)).await.unwrap();
    let (_, id) = leased(&world).await;
    world.clock.advance(Duration::from_secs(100));
    assert_eq!(adopt(&world, &format!("{text} // the same")).await, 0);
    assert!(lease(&world, id).await.end().is_none());
}

#[tokio::test]
async fn a_handed_on_task_ends_when_it_could_no_longer_be_handed_on() {
    let world = World::new().await;
    let delegate = r#"@id("hand-on") permit (principal, action == Action::"delegate", resource)
        when { context has delegate_to && context.delegate_to == Agent::"ci/other" };"#;
    world.broker.adopt_policies(policies(&format!("{POLICY}{delegate}"))).await.unwrap();
    world.broker.decide_anew().await.unwrap();
    let (parent, lease_id) = leased(&world).await;
    let part = StartAsk {
        parent: Some(parent),
        agent: Some(AgentId::new("ci/other").unwrap()),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ..start()
    };
    let child = world.broker.start_task(world.caller("ci/bot"), part).await.unwrap().id;
    let below = world.issue("ci/other", child).await.unwrap().lease.id;
    assert_eq!(adopt(&world, POLICY).await, 1, "one write for the child and what is below it");
    assert_eq!(task(&world, child).await.end().unwrap().reason, EndReason::Drifted);
    assert!(task(&world, parent).await.end().is_none() && lease(&world, lease_id).await.end().is_none());
    let stands = world.store.standing(&Default::default(), below, support::START).await;
    assert_eq!(stands.unwrap_err().reason(), Reason::LeaseEnded);
}

#[tokio::test]
async fn what_is_newly_owed_and_not_there_is_drift() {
    for annotation in [r#"@approval("leads")"#, r#"@bound("required")"#, r#"@revocability("immediate")"#] {
        let world = World::new().await;
        let (_, id) = leased(&world).await;
        assert_eq!(adopt(&world, &format!("{annotation} {POLICY}")).await, 1, "{annotation}");
        assert_eq!(lease(&world, id).await.end().unwrap().reason, EndReason::Drifted);
    }
}
