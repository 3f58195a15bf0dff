//! Requests that people have to approve: bound to the exact request, single use, never by a workload; and time that runs
//! out is no denial.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};
use support::{World, issue, policies, registered, registry, start};
use taskpass_broker::{Broker, DriftRules, IssueAsk, Issued, StartAsk};
use taskpass_lease::{Approval, ApprovalState, Verdict};
use taskpass_store::ApprovalQuery;
use taskpass_types::{AgentId, ApprovalId, Reason, Refusal, TaskId, Ttl};

/// Reading needs one of the leads, deleting two and one of security.
const POLICY: &str = r#"
@id("read") @approval("leads")
permit (principal, action in [Action::"issue", Action::"renew"], resource == Resource::"billing-api")
when { context.action == "invoice:read" };

@id("delete") @approval("2 of leads, 1 of security")
permit (principal, action == Action::"issue", resource == Resource::"billing-api")
when { context.action == "invoice:delete" };

@id("hand-on") @approval("leads")
permit (principal, action == Action::"delegate", resource == Resource::"billing-api");
"#;

async fn world() -> World {
    let world = World::new().await;
    world.broker.adopt_policies(policies(POLICY)).await.unwrap();
    world
}

/// A task that an orchestrator starts for the bot, on behalf of omar.
async fn task(world: &World) -> TaskId {
    let ask = StartAsk {
        agent: Some(AgentId::new("ci/bot").unwrap()),
        initiator: Some("omar@acme.test".parse().unwrap()),
        ..start()
    };
    world.broker.start_task(world.caller("orchestrator"), ask).await.unwrap().id
}

async fn ask(world: &World, ask: IssueAsk) -> Result<Issued, Refusal> {
    world.broker.issue(world.caller("ci/bot"), ask).await
}

/// The approval that a refusal names.
fn named(refusal: &Refusal) -> ApprovalId {
    let (_, id) = refusal.metadata().find(|(key, _)| *key == "approval").unwrap();
    id.parse().unwrap()
}

/// Asks, and has to wait.
async fn waits(world: &World, request: IssueAsk) -> ApprovalId {
    let refusal = ask(world, request).await.err().unwrap();
    assert_eq!(refusal.reason(), Reason::ApprovalRequired, "{refusal}");
    named(&refusal)
}

async fn vote(
    world: &World,
    who: &str,
    id: ApprovalId,
    verdict: Verdict,
    why: &str,
) -> Result<Approval, Refusal> {
    world.broker.decide_approval(world.caller(&format!("person/{who}")), id, verdict, why).await
}

async fn approves(world: &World, who: &str, id: ApprovalId) -> Approval {
    vote(world, who, id, Verdict::Approve, "").await.unwrap()
}

#[tokio::test]
async fn the_same_request_is_granted_once_after_the_approval() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    assert_eq!(waits(&world, issue(task)).await, id, "asking again asks nobody again");

    let shown = world.broker.approval(&world.caller("person/noor"), id).await.unwrap();
    assert_eq!(
        (shown.agent.as_str(), shown.owner.as_str(), shown.initiator.as_str(), shown.verb.as_str()),
        ("ci/bot", "maya@acme.test", "omar@acme.test", "issue")
    );
    assert_eq!(shown.purpose, "close the November invoices");

    let granted = approves(&world, "noor", id).await;
    assert!(matches!(granted.state, ApprovalState::Granted { .. }));
    let issued = ask(&world, issue(task)).await.unwrap();
    assert_eq!(issued.lease.approval, Some(id));
    let used = world.broker.approval(&world.caller("operator"), id).await.unwrap();
    assert!(matches!(&used.state, ApprovalState::Used { by, .. } if *by == issued.lease.id.to_string()));
    // The lease goes on by its approval; another credential needs another one.
    world.renew("ci/bot", issued.lease.id).await.unwrap();
    assert_ne!(waits(&world, issue(task)).await, id);

    let entries = world.entries().await;
    let of = |code: &str| entries.iter().filter(|entry| entry.code == code).collect::<Vec<_>>();
    assert_eq!((of("TP901I").len(), of("TP901S").len()), (2, 2));
    let voted = of("TP902S");
    assert_eq!((voted.len(), voted[0].actor.as_str()), (1, "user/noor@acme.test"));
    let signed = of("TP201I");
    assert_eq!(signed[0].approval.as_deref(), Some(id.to_string().as_str()));
}

#[tokio::test]
async fn every_quorum_counts_and_groups_are_frozen() {
    let world = world().await;
    let task = task(&world).await;
    let request = IssueAsk { actions: ["invoice:delete".parse().unwrap()].into(), ..issue(task) };
    let id = waits(&world, request.clone()).await;
    // From here on omar is one of the leads, too late for this one.
    let mut now = registered();
    now.users.iter_mut().for_each(|user| user.groups = vec!["leads".parse().unwrap()]);
    world.broker.adopt_registry(registry(now), DriftRules::default());
    let late = vote(&world, "omar", id, Verdict::Approve, "").await.unwrap_err();
    assert_eq!(late.reason(), Reason::ApprovalNotFound, "it is not his to see");
    assert!(approves(&world, "noor", id).await.is_pending());
    assert_eq!(waits(&world, request.clone()).await, id);
    assert!(!approves(&world, "ines", id).await.is_pending(), "she is of both groups");
    ask(&world, request).await.unwrap();
}

#[tokio::test]
async fn whoever_answers_for_it_cannot_approve_and_no_workload_can() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    for (who, reason) in [
        // The owner is one of the leads; the initiator is none, so it is not even his to see.
        ("person/maya", Reason::ApproverNotEligible),
        ("person/omar", Reason::ApprovalNotFound),
        ("ci/bot", Reason::ApproverNotEligible),
        ("ci/other", Reason::ApproverNotEligible),
        ("orchestrator", Reason::ApproverNotEligible),
        ("operator", Reason::ApproverNotEligible),
    ] {
        let refused =
            world.broker.decide_approval(world.caller(who), id, Verdict::Approve, "").await.unwrap_err();
        assert_eq!(refused.reason(), reason, "{who}: {refused}");
    }
    // A workload that is a person by its evidence too is a workload.
    let mut both = registered();
    both.agents[0].selectors = both.users[1].selectors.clone();
    world.broker.adopt_registry(registry(both), DriftRules::default());
    let refused = vote(&world, "noor", id, Verdict::Approve, "").await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ApproverNotEligible);
    assert!(world.broker.approval(&world.caller("operator"), id).await.unwrap().is_pending());
    let refusals = world.entries().await.into_iter().filter(|entry| entry.code == "TP602F");
    assert_eq!(refusals.filter(|entry| entry.approval.is_some()).count(), 7);
}

#[tokio::test]
async fn an_initiator_of_the_group_does_not_count() {
    let world = world().await;
    let ask_for = |initiator: &str| StartAsk {
        agent: Some(AgentId::new("ci/bot").unwrap()),
        initiator: Some(initiator.parse().unwrap()),
        ..start()
    };
    let orchestrator = || world.caller("orchestrator");
    let task = world.broker.start_task(orchestrator(), ask_for("NOOR@acme.test")).await.unwrap().id;
    let id = waits(&world, issue(task)).await;
    let refused = vote(&world, "noor", id, Verdict::Approve, "").await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ApproverNotEligible, "her name with other letters is hers");
    approves(&world, "ines", id).await;
    ask(&world, issue(task)).await.unwrap();

    // Two of the three leads answer for it: the two that would be needed are not there.
    let task = world.broker.start_task(orchestrator(), ask_for("noor@acme.test")).await.unwrap().id;
    let request = IssueAsk { actions: ["invoice:delete".parse().unwrap()].into(), ..issue(task) };
    let refused = ask(&world, request).await.err().unwrap();
    assert_eq!(refused.reason(), Reason::ApproverNotEligible);
}

#[tokio::test]
async fn a_changed_request_is_another_one() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    approves(&world, "noor", id).await;
    let longer = IssueAsk { ttl: Some(Ttl::from_secs(301).unwrap()), ..issue(task) };
    let another = waits(&world, longer.clone()).await;
    assert_ne!(another, id);
    let mismatch = ask(&world, IssueAsk { approval: Some(id), ..longer }).await.err().unwrap();
    assert_eq!(mismatch.reason(), Reason::ApprovalMismatch);
    let other = world.broker.start_task(world.caller("ci/other"), start()).await.unwrap().id;
    let foreign = world.broker.issue(world.caller("ci/other"), issue(other)).await.err().unwrap();
    assert_ne!(named(&foreign), id);
    ask(&world, IssueAsk { approval: Some(id), ..issue(task) }).await.unwrap();
}

#[tokio::test]
async fn one_denial_settles_it_and_the_agent_gets_the_sentence() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    let silent = vote(&world, "noor", id, Verdict::Deny, " ").await.unwrap_err();
    assert_eq!(silent.reason(), Reason::FieldInvalid);
    approves(&world, "noor", id).await;
    let twice = vote(&world, "noor", id, Verdict::Approve, "").await.unwrap_err();
    assert_eq!(twice.reason(), Reason::ApprovalSettled);
    // It was granted, but not used yet: a denial wins.
    vote(&world, "ines", id, Verdict::Deny, "use the ledger tool instead").await.unwrap();
    let denied = ask(&world, issue(task)).await.err().unwrap();
    assert_eq!(denied.reason(), Reason::ApprovalDenied);
    assert!(denied.message().contains("use the ledger tool instead"), "{denied}");
    let late = vote(&world, "noor", id, Verdict::Approve, "").await.unwrap_err();
    assert_eq!(late.reason(), Reason::ApprovalSettled);
}

#[tokio::test]
async fn a_denial_waits_for_no_audit_log_and_an_approval_does() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    world.audit.fail_always();
    let refused = vote(&world, "noor", id, Verdict::Approve, "").await.unwrap_err();
    assert_eq!(refused.reason(), Reason::AuditUnavailable);
    let denied = vote(&world, "ines", id, Verdict::Deny, "not today").await.unwrap();
    assert!(matches!(denied.state, ApprovalState::Denied { .. }));
}

#[tokio::test]
async fn time_that_runs_out_is_no_denial() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    world.clock.advance(Duration::from_secs(600));
    let late = vote(&world, "noor", id, Verdict::Approve, "").await.unwrap_err();
    assert_eq!(late.reason(), Reason::ApprovalExpired, "also before anybody marked it");
    world.broker.work_off_schedule().await.unwrap();
    let expired = world.broker.approval(&world.caller("operator"), id).await.unwrap();
    assert!(matches!(expired.state, ApprovalState::Expired { .. }));
    let named = ask(&world, IssueAsk { approval: Some(id), ..issue(task) }).await.err().unwrap();
    assert_eq!(named.reason(), Reason::ApprovalExpired);
    assert_ne!(waits(&world, issue(task)).await, id, "who asks again asks people again");
    let codes: Vec<_> = world.entries().await.into_iter().map(|entry| entry.code).collect();
    assert!(codes.contains(&"TP903I".to_owned()) && codes.contains(&"TP903S".to_owned()));
}

#[tokio::test]
async fn a_grant_is_worth_nothing_under_an_end_or_newer_policies() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    approves(&world, "noor", id).await;
    world.broker.adopt_policies(policies("forbid (principal, action, resource);")).await.unwrap();
    let denied = ask(&world, issue(task)).await.err().unwrap();
    assert_eq!(denied.reason(), Reason::PolicyDenied);
    // More people than had approved are needed by now.
    let stricter =
        POLICY.replace(r#"@id("read") @approval("leads")"#, r#"@id("read") @approval("2 of leads")"#);
    world.broker.adopt_policies(policies(&stricter)).await.unwrap();
    assert_ne!(waits(&world, issue(task)).await, id);
}

#[tokio::test]
async fn of_a_hundred_that_use_one_approval_one_gets_through() {
    let world = Arc::new(world().await);
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    approves(&world, "noor", id).await;
    let all = (0..100).map(|_| {
        let world = world.clone();
        async move { ask(&world, IssueAsk { approval: Some(id), ..issue(task) }).await }
    });
    let issued = futures::future::join_all(all).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(issued, 1);
}

#[tokio::test]
async fn a_delegation_can_need_people_too() {
    let world = world().await;
    let parent = task(&world).await;
    let part = StartAsk {
        parent: Some(parent),
        agent: Some(AgentId::new("ci/other").unwrap()),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ..start()
    };
    let hand_on = async || world.broker.start_task(world.caller("ci/bot"), part.clone()).await;
    let refusal = hand_on().await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::ApprovalRequired);
    let id = named(&refusal);
    let shown = world.broker.approval(&world.caller("ci/bot"), id).await.unwrap();
    assert_eq!((shown.verb.as_str(), shown.to.unwrap().as_str()), ("delegate", "ci/other"));
    approves(&world, "noor", id).await;
    let child = hand_on().await.unwrap();
    assert_eq!((child.approval, child.agent().unwrap().as_str()), (Some(id), "ci/other"));
    assert_eq!(hand_on().await.unwrap_err().reason(), Reason::ApprovalRequired, "once");
}

#[tokio::test]
async fn each_sees_what_is_theirs() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    let list = async |who: &str| {
        let query = ApprovalQuery { pending: true, ..ApprovalQuery::default() };
        world.broker.approvals(&world.caller(who), query).await.map(|page| page.items.len())
    };
    for (who, count) in [
        ("ci/bot", 1),
        ("ci/other", 0),
        ("person/noor", 1),
        ("person/maya", 1),
        ("person/omar", 0),
        ("operator", 1),
        ("orchestrator", 1),
    ] {
        assert_eq!(list(who).await.unwrap(), count, "{who}");
    }
    assert_eq!(list("verifier").await.unwrap_err().reason(), Reason::NotPermitted);
    let foreign = world.broker.approval(&world.caller("ci/other"), id).await.unwrap_err();
    assert_eq!(foreign.reason(), Reason::ApprovalNotFound);
}

#[tokio::test]
async fn who_waits_hears_of_the_end_and_who_watches_of_every_change() {
    let world = world().await;
    let task = task(&world).await;
    let id = waits(&world, issue(task)).await;
    let broker: &Broker = &world.broker;
    let mut one = broker.watch_approvals(world.caller("ci/bot"), Some(id)).await.unwrap();
    let mut all = broker.watch_approvals(world.caller("operator"), None).await.unwrap();
    for feed in [&mut one, &mut all] {
        assert!(feed.next().await.unwrap().unwrap().is_pending(), "what waits is told at once");
    }
    approves(&world, "noor", id).await;
    let settled = one.next().await.unwrap().unwrap();
    assert!(matches!(settled.state, ApprovalState::Granted { .. }));
    assert!(one.next().await.unwrap().is_none(), "there is no more to wait for");
    assert!(matches!(all.next().await.unwrap().unwrap().state, ApprovalState::Granted { .. }));
    ask(&world, issue(task)).await.unwrap();
    assert!(matches!(all.next().await.unwrap().unwrap().state, ApprovalState::Used { .. }));
    let refused = broker.watch_approvals(world.caller("ci/other"), Some(id)).await.err().unwrap();
    assert_eq!(refused.reason(), Reason::ApprovalNotFound);
}

#[tokio::test]
async fn an_agent_cannot_flood_its_approvers() {
    let world = world().await;
    let task = task(&world).await;
    let mut waiting = BTreeSet::new();
    for secs in 10..26 {
        let request = IssueAsk { ttl: Some(Ttl::from_secs(secs).unwrap()), ..issue(task) };
        waiting.insert(waits(&world, request).await);
    }
    assert_eq!(waiting.len(), 16);
    let more = ask(&world, issue(task)).await.err().unwrap();
    assert_eq!(more.reason(), Reason::QuotaExceeded);
}
