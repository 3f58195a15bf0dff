//! Tool calls: decided, counted exactly, written down; and what follows from one outside the declared scopes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::{sync::Arc, time::Duration};
use support::{World, policies, registered, registry, start};
use taskpass_broker::{
    AfterKill, CallAsk, CallDecision, CallOutcome, DriftRule, DriftRules, Held, StartAsk, Then, Trigger,
};
use taskpass_lease::Verdict;
use taskpass_types::{
    AgentId, CallId, Consequence, DriftRuleId, EndReason, LeaseId, Reason, Refusal, ResourceName, TaskId,
};

const POLICY: &str = r#"
@id("hold-tokens")
permit (principal, action in [Action::"issue", Action::"renew"], resource == Resource::"billing-api");

@id("call") OUTSIDE @max_calls("5 per minute")
permit (principal, action == Action::"call_tool", resource == Resource::"billing-api")
when { context has tool && context.tool == "invoices" };

@id("careful") @approval("leads")
permit (principal, action == Action::"call_tool", resource == Resource::"billing-api")
when { context has tool && context.tool == "eraser" && context.action == "invoice:delete" };

@id("hand-on") permit (principal, action == Action::"delegate", resource);
"#;

async fn world(outside: &str) -> World {
    let world = World::new().await;
    world.broker.adopt_policies(policies(&POLICY.replace("OUTSIDE", outside))).await.unwrap();
    world
}

fn call(lease: LeaseId, tool: &str, action: &str) -> CallAsk {
    CallAsk {
        lease: Some(lease),
        task: None,
        tool: tool.parse().unwrap(),
        resource: ResourceName::new("billing-api").unwrap(),
        action: action.parse().unwrap(),
        arguments: Some([7; 32]),
        approval: None,
    }
}

async fn leased(world: &World) -> (TaskId, LeaseId) {
    let task = world.task("ci/bot").await.id;
    (task, world.issue("ci/bot", task).await.unwrap().lease.id)
}

async fn authorize(world: &World, who: &str, ask: CallAsk) -> Result<CallDecision, Refusal> {
    world.broker.authorize_call(world.caller(who), ask).await
}

/// Why a call is denied.
fn denial(decision: &CallDecision) -> Reason {
    assert_eq!(decision.call, None);
    decision.denial.as_ref().expect("this should have been denied").reason()
}

#[tokio::test]
async fn a_call_within_scope_is_allowed_counted_and_written_down() {
    let world = world("").await;
    let (task, lease) = leased(&world).await;
    for who in ["ci/bot", "verifier"] {
        let decision = authorize(&world, who, call(lease, "invoices", "invoice:read")).await.unwrap();
        assert!(decision.denial.is_none() && decision.policies == [r#"test.cedar:5 "call""#], "{decision:?}");
        let ask = call(lease, "invoices", "invoice:read");
        let reported =
            world.broker.report_call(world.caller(who), decision.call, ask, CallOutcome::Succeeded).await;
        assert!(reported.unwrap().is_none());
    }
    let by_task = CallAsk { lease: None, task: Some(task), ..call(lease, "invoices", "invoice:delete") };
    assert!(authorize(&world, "ci/bot", by_task).await.unwrap().call.is_some());
    let counted = world.store.task(&Default::default(), task).await.unwrap().unwrap();
    let used = world.store.lease(&Default::default(), lease).await.unwrap().unwrap();
    assert_eq!((counted.calls, used.uses), (3, 2));

    let entries = world.entries().await;
    let first = entries.iter().find(|entry| entry.code == "TP211S").unwrap();
    assert_eq!(first.tool.as_deref(), Some("invoices"));
    assert_eq!(first.arguments.as_deref(), Some("07".repeat(32).as_str()));
    assert!(first.call.as_deref().unwrap().starts_with("tc_") && first.decision.is_some());
    assert_eq!(entries.iter().filter(|entry| entry.code == "TP212S").count(), 2);
}

#[tokio::test]
async fn a_denial_is_an_answer_with_its_reason() {
    let world = world("").await;
    let (_, lease) = leased(&world).await;
    let denied = authorize(&world, "ci/bot", call(lease, "shell", "invoice:read")).await.unwrap();
    assert_eq!((denial(&denied), denied.consequence), (Reason::PolicyDenied, None));
    let why = denied.denial.unwrap();
    assert!(why.message().contains("invoice:read") && why.fix_text().is_some(), "{why}");
    world.broker.kill_lease(world.caller("operator"), lease, AfterKill::Hold, "odd").await.unwrap();
    let ended = authorize(&world, "ci/bot", call(lease, "invoices", "invoice:read")).await.unwrap();
    assert!(matches!(denial(&ended), Reason::LeaseEnded | Reason::HeldAfterKill));
    let denials = world.entries().await.into_iter().filter(|entry| entry.code == "TP211F");
    assert!(denials.count() >= 2);
}

#[tokio::test]
async fn nobody_calls_under_what_is_anothers() {
    let world = world("").await;
    let (task, lease) = leased(&world).await;
    let by_task = CallAsk { lease: None, task: Some(task), ..call(lease, "invoices", "invoice:read") };
    for (who, ask, reason) in [
        ("ci/other", call(lease, "invoices", "invoice:read"), Reason::LeaseNotFound),
        ("ci/other", by_task.clone(), Reason::TaskNotFound),
        ("operator", call(lease, "invoices", "invoice:read"), Reason::LeaseNotFound),
        ("verifier", by_task.clone(), Reason::TaskNotFound),
        ("ci/bot", call(LeaseId::new(), "invoices", "invoice:read"), Reason::LeaseNotFound),
        ("ci/bot", CallAsk { task: None, ..by_task }, Reason::FieldInvalid),
    ] {
        let refused = authorize(&world, who, ask).await.unwrap_err();
        assert_eq!(refused.reason(), reason, "{who}");
    }
    let refusals = world.entries().await.into_iter().filter(|entry| entry.code == "TP602F");
    assert_eq!(refusals.count(), 6);
}

#[tokio::test]
async fn the_budget_of_a_minute_holds_exactly_for_a_whole_tree() {
    let world = Arc::new(world("").await);
    let (task, lease) = leased(&world).await;
    let part = StartAsk {
        parent: Some(task),
        agent: Some(AgentId::new("ci/other").unwrap()),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ..start()
    };
    let child = world.broker.start_task(world.caller("ci/bot"), part).await.unwrap().id;
    let all = (0..100).map(|index| {
        let world = world.clone();
        async move {
            let ask = call(lease, "invoices", "invoice:read");
            if index % 2 == 0 {
                return authorize(&world, "ci/bot", ask).await.unwrap();
            }
            let ask = CallAsk { lease: None, task: Some(child), ..ask };
            authorize(&world, "ci/other", ask).await.unwrap()
        }
    });
    let decisions = futures::future::join_all(all).await;
    assert_eq!(decisions.iter().filter(|decision| decision.call.is_some()).count(), 5);
    for denied in decisions.iter().filter(|decision| decision.call.is_none()) {
        assert_eq!(denial(denied), Reason::BudgetExceeded);
    }
    world.clock.advance(Duration::from_secs(60));
    let next = authorize(&world, "ci/bot", call(lease, "invoices", "invoice:read")).await.unwrap();
    assert!(next.call.is_some(), "another minute");
}

#[tokio::test]
async fn a_call_can_need_people_for_exactly_these_arguments() {
    let world = world("").await;
    let task = world.broker.start_task(world.caller("ci/bot"), start()).await.unwrap().id;
    let ask = CallAsk { lease: None, task: Some(task), ..call(LeaseId::new(), "eraser", "invoice:delete") };
    let waits = authorize(&world, "ci/bot", ask.clone()).await.unwrap();
    assert_eq!(denial(&waits), Reason::ApprovalRequired);
    let waits = waits.denial.unwrap();
    let (_, id) = waits.metadata().find(|(key, _)| *key == "approval").unwrap();
    let (id, noor) = (id.parse().unwrap(), world.caller("person/noor"));
    world.broker.decide_approval(noor, id, Verdict::Approve, "").await.unwrap();
    let other = CallAsk { arguments: Some([8; 32]), ..ask.clone() };
    assert_eq!(denial(&authorize(&world, "ci/bot", other).await.unwrap()), Reason::ApprovalRequired);
    assert!(authorize(&world, "ci/bot", ask.clone()).await.unwrap().call.is_some());
    assert_eq!(denial(&authorize(&world, "ci/bot", ask).await.unwrap()), Reason::ApprovalRequired, "once");
}

#[tokio::test]
async fn outside_the_declared_scopes_policy_says_what_follows() {
    for (annotation, consequence) in [
        ("", Consequence::Report),
        (r#"@outside_scope("report")"#, Consequence::Report),
        (r#"@outside_scope("hold")"#, Consequence::Hold),
        (r#"@outside_scope("kill")"#, Consequence::Kill),
    ] {
        let world = world(annotation).await;
        let (task, lease) = leased(&world).await;
        // Declared for the task, but not what the lease is for; and not declared at all.
        for action in ["invoice:delete", "invoice:pay"] {
            let decision = authorize(&world, "ci/bot", call(lease, "invoices", action)).await.unwrap();
            assert_eq!(decision.consequence, Some(consequence), "{annotation} {action}");
            assert!(matches!(denial(&decision), Reason::ScopeExceedsTask), "{annotation} {action}");
        }
        let held = world.issue("ci/bot", task).await.err().map(|refusal| refusal.reason());
        let ended = world.store.lease(&Default::default(), lease).await.unwrap().unwrap();
        let ended = ended.end().map(|end| end.reason);
        let (expected_held, expected_end) = match consequence {
            Consequence::Report => (None, None),
            Consequence::Hold => (Some(Reason::HeldAfterKill), None),
            Consequence::Kill => (Some(Reason::HeldAfterKill), Some(EndReason::Drifted)),
        };
        assert_eq!((held, ended), (expected_held, expected_end), "{annotation}");
        let entries = world.entries().await;
        let detected: Vec<_> = entries.iter().filter(|entry| entry.code == "TP403S").collect();
        assert_eq!(detected.len(), 2);
        assert_eq!(detected[0].consequence.as_deref(), Some(consequence.as_str()));
        assert_eq!(detected[0].rule.as_deref(), Some("default-behaviour"));
        if expected_held.is_some() {
            let key = Held::Task(task, ResourceName::new("billing-api").unwrap());
            assert!(world.broker.release_hold(world.caller("operator"), key).await.unwrap());
            world.issue("ci/bot", task).await.unwrap();
        }
    }
}

#[tokio::test]
async fn without_a_lease_a_kill_ends_the_task() {
    let world = world(r#"@outside_scope("kill")"#).await;
    let task = world.task("ci/bot").await.id;
    let ask = CallAsk { lease: None, task: Some(task), ..call(LeaseId::new(), "invoices", "invoice:pay") };
    let reported =
        world.broker.report_call(world.caller("ci/bot"), None, ask, CallOutcome::Succeeded).await.unwrap();
    assert_eq!(reported.unwrap().consequence, Some(Consequence::Kill));
    let ended = world.store.task(&Default::default(), task).await.unwrap().unwrap();
    assert_eq!(ended.end().unwrap().reason, EndReason::Drifted);
}

#[tokio::test]
async fn a_rule_of_the_operator_speaks_where_policy_is_silent_and_does_nothing_in_the_shadow() {
    for shadow in [false, true] {
        let world = world("").await;
        let rule = DriftRule {
            id: DriftRuleId::new("watch-tools").unwrap(),
            when: Trigger::Behaviour,
            agents: vec![AgentId::new("ci").unwrap()],
            resources: Vec::new(),
            then: Then::Kill,
            shadow,
        };
        world.broker.adopt_registry(registry(registered()), DriftRules::new(vec![rule]).unwrap());
        let (_, lease) = leased(&world).await;
        let decision = authorize(&world, "ci/bot", call(lease, "invoices", "invoice:pay")).await.unwrap();
        assert_eq!(decision.consequence, Some(Consequence::Kill));
        let lives = world.store.lease(&Default::default(), lease).await.unwrap().unwrap().end().is_none();
        assert_eq!(lives, shadow);
        let detected = world.entries().await.into_iter().find(|entry| entry.code == "TP403S").unwrap();
        assert_eq!(detected.rule.as_deref(), Some("watch-tools"));
        assert_eq!(detected.shadow.as_deref(), shadow.then_some("true"));
    }
}

#[tokio::test]
async fn what_was_never_authorized_is_judged_when_it_is_reported() {
    let world = world("").await;
    let (_, lease) = leased(&world).await;
    let report = async |tool: &str| {
        let ask = call(lease, tool, "invoice:read");
        let caller = world.caller("verifier");
        world.broker.report_call(caller, None, ask, CallOutcome::Failed).await.unwrap().unwrap()
    };
    assert!(report("invoices").await.denial.is_none());
    assert_eq!(denial(&report("shell").await), Reason::PolicyDenied);
    // An id that was made up changes nothing.
    let ask = call(lease, "shell", "invoice:read");
    let reported =
        world.broker.report_call(world.caller("ci/bot"), Some(CallId::new()), ask, CallOutcome::Succeeded);
    assert_eq!(denial(&reported.await.unwrap().unwrap()), Reason::PolicyDenied);
    let codes: Vec<_> = world.entries().await.into_iter().map(|entry| entry.code).collect();
    assert!(codes.contains(&"TP212S".to_owned()) && codes.contains(&"TP212F".to_owned()));
}
