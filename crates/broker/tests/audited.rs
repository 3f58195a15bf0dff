//! Whatever the broker does is announced before and told afterwards, what it does by itself too (I9).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::{collections::BTreeSet, time::Duration};
use support::{POLICY, World, issue, meddled::Meddled, policies, registered, registry, request, start};
use taskpass_audit::{Action, Entry, Phase};
use taskpass_broker::{
    AfterKill, CallAsk, CallOutcome, DriftRules, Held, IssueAsk, KillAsk, KillSelector, KillWhat, StartAsk,
};
use taskpass_lease::Verdict;
use taskpass_lease::Wide;
use taskpass_types::{AgentId, Consequence, EndReason, KeyGeneration, Reason, Refusal, Ttl};

/// How an action has to be in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Written {
    /// Before and after, about the same subject.
    Pair,
    /// Nothing is done, or it is what an announced end leads to.
    Outcome,
    /// Not by the use cases and reconcilers.
    Elsewhere,
}

/// A new action has to say here how it is written.
fn written(action: Action) -> Written {
    match action {
        Action::ApprovalDecide
        | Action::ApprovalExpire
        | Action::ApprovalRequest
        | Action::CallAuthorize
        | Action::DenyForget
        | Action::HoldRelease
        | Action::HoldSet
        | Action::KeyActivate
        | Action::KeyPublish
        | Action::KeyRetire
        | Action::LeaseCut
        | Action::LeaseEnd
        | Action::LeaseIssue
        | Action::LeaseRenew
        | Action::PolicyLoad
        | Action::StorePurge
        | Action::TaskEnd
        | Action::TaskSettle
        | Action::ReceiptSign
        | Action::TaskStart
        | Action::WideEnd
        | Action::WideHold => Written::Pair,
        Action::AttestRefuse
        | Action::CallReport
        | Action::DriftDetect
        | Action::LeaseSettle
        | Action::PolicyRefuse
        | Action::RegistryLoad
        | Action::RegistryRefuse
        | Action::RequestRefuse
        | Action::TaskHeartbeatLost => Written::Outcome,
        Action::AuditRecover | Action::BrokerStart | Action::BrokerStop => Written::Elsewhere,
    }
}

/// What an entry is about; intent and outcome agree on it.
fn subject(action: Action, entry: &Entry) -> String {
    let subject = match action {
        Action::ApprovalDecide | Action::ApprovalExpire | Action::ApprovalRequest => entry.approval.clone(),
        Action::CallAuthorize => entry.call.clone(),
        Action::DenyForget | Action::StorePurge => Some(entry.tenant.clone()),
        Action::HoldRelease
        | Action::LeaseCut
        | Action::LeaseEnd
        | Action::LeaseIssue
        | Action::LeaseRenew => entry.lease.clone(),
        Action::KeyActivate | Action::KeyPublish | Action::KeyRetire => {
            entry.key_generation.map(|generation| generation.to_string())
        }
        Action::PolicyLoad => entry.policy_revision.clone(),
        Action::WideEnd | Action::WideHold => entry.agent.clone(),
        // A repeat finds the task of the first time.
        Action::TaskStart => entry.request_id.clone(),
        _ => entry.task.clone(),
    };
    subject.unwrap_or_else(|| panic!("it is not said what it is about: {entry:?}"))
}

/// Everything that can be done, once at least; and everything that time does.
async fn everything(world: &World) {
    let broker = &world.broker;
    let (bot, operator) = (|| world.caller("ci/bot"), || world.caller("operator"));
    let forward = async |seconds| {
        world.clock.advance(Duration::from_secs(seconds));
        broker.work_off_schedule().await.unwrap();
    };
    let delegate = r#"permit (principal, action == Action::"delegate", resource);"#;
    broker.adopt_policies(policies(&format!("{POLICY}{delegate}"))).await.unwrap();
    // Declared twice, handed on, renewed, completed; a child and two leases go with it.
    let ask = StartAsk { request: request("r1"), ..start() };
    let task = broker.start_task(bot(), ask.clone()).await.unwrap().id;
    assert_eq!(broker.start_task(bot(), ask).await.unwrap().id, task);
    let child = StartAsk {
        parent: Some(task),
        agent: Some(AgentId::new("ci/other").unwrap()),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ttl: Some(Ttl::from_secs(600).unwrap()),
        ..start()
    };
    let child = broker.start_task(bot(), child).await.unwrap().id;
    world.issue("ci/other", child).await.unwrap();
    let lease = world.issue("ci/bot", task).await.unwrap().lease.id;
    world.renew("ci/bot", lease).await.unwrap();
    broker.end_task(bot(), task, EndReason::Completed, "").await.unwrap();
    broker.close_task(bot(), task, Duration::ZERO).await.unwrap();
    forward(1).await;
    // What has ended is ended once more.
    broker.end_task(bot(), task, EndReason::Completed, "").await.unwrap();
    broker.end_task(operator(), task, EndReason::Cancelled, "late").await.unwrap();
    broker.kill_lease(operator(), lease, AfterKill::Hold, "late").await.unwrap();
    // Killed, released, expired, abandoned, cancelled.
    let task = world.task("ci/bot").await.id;
    let killed = world.issue("ci/bot", task).await.unwrap().lease.id;
    broker.kill_lease(operator(), killed, AfterKill::Hold, "odd reads").await.unwrap();
    broker.issue(bot(), issue(task)).await.err().unwrap();
    assert!(broker.release_hold(operator(), Held::Lease(killed)).await.unwrap());
    assert!(!broker.release_hold(operator(), Held::Lease(killed)).await.unwrap());
    world.issue("ci/bot", task).await.unwrap();
    // All that an agent has; and it is held.
    let wide = Wide::Agent(AgentId::new("ci/other").unwrap());
    broker.hold_wide(operator(), wide.clone(), None, "odd").await.unwrap();
    let selector = KillSelector { agent: Some(AgentId::new("ci/other").unwrap()), ..Default::default() };
    let kill = KillAsk {
        what: KillWhat::Selected(selector),
        expect: None,
        confirm: String::new(),
        why: "odd".to_owned(),
        after: AfterKill::Reissue,
    };
    broker.kill_leases(operator(), kill).await.unwrap();
    forward(301).await;
    world.audit.fail_next(1);
    world.issue("ci/bot", task).await.err().unwrap();
    broker.end_task(bot(), task, EndReason::Cancelled, "enough").await.unwrap();
    // Silent, timed out, drifted.
    let silent = StartAsk { heartbeat: Some(Ttl::from_secs(10).unwrap()), ..start() };
    broker.start_task(bot(), silent).await.unwrap();
    let short = StartAsk { ttl: Some(Ttl::from_secs(60).unwrap()), ..start() };
    broker.start_task(bot(), short).await.unwrap();
    forward(61).await;
    let task = world.task("ci/bot").await.id;
    world.issue("ci/bot", task).await.unwrap();
    broker.adopt_policies(policies("forbid (principal, action, resource);")).await.unwrap();
    assert_eq!(broker.decide_anew().await.unwrap(), 1);
    intent(world).await;
    broker.refuse_policies(&Refusal::new(Reason::FieldInvalid, "they are not valid"));
    broker.refuse_registry(&Refusal::new(Reason::FieldInvalid, "it is not valid"));
    broker.caller(&world.identity("stranger")).unwrap_err();
    // The keys' whole life, and what is forgotten meanwhile.
    while world.keys.list()[0].generation == KeyGeneration(1) {
        forward(24 * 3600).await;
        broker.move_keys_on().await;
    }
}

/// What people, tools and other registries do.
async fn intent(world: &World) {
    let broker = &world.broker;
    let bot = || world.caller("ci/bot");
    let text = r#"
        @approval("leads") permit (principal, action == Action::"issue", resource)
        when { context.action == "invoice:delete" };
        permit (principal, action == Action::"issue", resource) when { context.action == "invoice:read" };
        @outside_scope("hold") permit (principal, action == Action::"call_tool", resource);
    "#;
    broker.adopt_policies(policies(text)).await.unwrap();
    let task = world.task("ci/bot").await.id;
    let delete = IssueAsk { actions: ["invoice:delete".parse().unwrap()].into(), ..issue(task) };
    for verdict in [Verdict::Approve, Verdict::Deny] {
        let refusal = broker.issue(bot(), delete.clone()).await.err().unwrap();
        let (_, id) = refusal.metadata().find(|(key, _)| *key == "approval").unwrap();
        broker
            .decide_approval(world.caller("person/noor"), id.parse().unwrap(), verdict, "because")
            .await
            .unwrap();
        let _ = broker.issue(bot(), delete.clone()).await;
    }
    let longer = IssueAsk { ttl: Some(Ttl::from_secs(10).unwrap()), ..delete };
    broker.issue(bot(), longer).await.err().unwrap();
    world.clock.advance(Duration::from_secs(601));
    broker.work_off_schedule().await.unwrap();

    let lease = world.issue("ci/bot", task).await.unwrap().lease.id;
    let call = |action: &str| CallAsk {
        lease: Some(lease),
        task: None,
        tool: "invoices".parse().unwrap(),
        resource: "billing-api".parse().unwrap(),
        action: action.parse().unwrap(),
        arguments: Some([7; 32]),
        approval: None,
    };
    let allowed = broker.authorize_call(bot(), call("invoice:read")).await.unwrap();
    broker.report_call(bot(), allowed.call, call("invoice:read"), CallOutcome::Succeeded).await.unwrap();
    let outside = broker.authorize_call(bot(), call("invoice:pay")).await.unwrap();
    assert_eq!(outside.consequence, Some(Consequence::Hold));
    // Less time for what lives: it is cut.
    let shorter =
        text.replace("permit (principal, action == Action::\"issue\", resource) when", "@max_ttl(\"1m\") $0");
    let shorter = shorter.replace("$0", "permit (principal, action == Action::\"issue\", resource) when");
    broker.adopt_policies(policies(&shorter)).await.unwrap();
    broker.adopt_registry(registry(registered()), DriftRules::default());
    assert_eq!(broker.decide_anew().await.unwrap(), 1);
}

#[tokio::test]
async fn every_transition_is_announced_and_told() {
    let world = World::new().await;
    everything(&world).await;
    let entries = world.entries().await;
    for action in Action::ALL {
        let of = |phase: Phase| {
            let of = |entry: &&Entry| entry.action == action.as_str() && entry.phase == phase.as_str();
            entries.iter().filter(of).collect::<Vec<_>>()
        };
        let (intents, outcomes) = (of(Phase::Intent), of(Phase::Outcome));
        match written(*action) {
            Written::Pair => assert!(!intents.is_empty(), "{action} was never announced"),
            Written::Outcome => assert!(intents.is_empty() && !outcomes.is_empty(), "{action}"),
            Written::Elsewhere => assert!(intents.is_empty() && outcomes.is_empty(), "{action}"),
        }
        if written(*action) != Written::Pair {
            continue;
        }
        // The end of a child is announced with the settlement of its parent.
        let outcomes = outcomes.into_iter().filter(|one| one.reason.as_deref() != Some("parent_ended"));
        // What is denied right away, and what only follows from a reading, is not announced.
        let outcomes = outcomes.filter(|one| *action != Action::CallAuthorize || one.call.is_some());
        let outcomes: Vec<_> = outcomes.collect();
        let about = |entries: &[&Entry]| {
            let mut about: Vec<_> = entries.iter().map(|entry| subject(*action, entry)).collect();
            about.sort_unstable();
            about
        };
        assert_eq!(about(&intents), about(&outcomes), "{action}: announced and told are not the same");
        for (intent, outcome) in intents.iter().zip(&outcomes) {
            assert!(intent.seq < outcome.seq, "{action}: told before it was announced: {outcome:?}");
        }
    }
    let ends: BTreeSet<_> = entries.iter().filter_map(|entry| entry.reason.as_deref()).collect();
    for reason in EndReason::ALL {
        let reachable = reason.as_str();
        assert!(ends.contains(reachable), "nothing ended as {reachable}");
    }
}

#[tokio::test]
async fn what_was_announced_and_failed_is_told_too() {
    let world = World::with(|store| Meddled::late(store, 1)).await;
    let short = StartAsk { ttl: Some(Ttl::from_secs(60).unwrap()), ..start() };
    world.broker.start_task(world.caller("ci/bot"), short).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.broker.work_off_schedule().await.unwrap_err().reason(), Reason::StoreUnavailable);
    world.broker.work_off_schedule().await.unwrap();
    let ends = world.entries().await.into_iter().filter(|entry| entry.action == "task.end");
    assert_eq!(
        ends.map(|entry| (entry.code, entry.refusal)).collect::<Vec<_>>(),
        [
            ("TP103I".to_owned(), None),
            ("TP103F".to_owned(), Some("STORE_UNAVAILABLE".to_owned())),
            ("TP103I".to_owned(), None),
            ("TP103S".to_owned(), None),
        ]
    );
}
