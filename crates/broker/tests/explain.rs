//! Asking policies about what is not happening: as if, once more, and why.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use support::{POLICY, World, issue, policies, start};
use taskpass_audit::Entry;
use taskpass_broker::{CallAsk, IssueAsk, PlanAsk, ReplaySum, SimulateAsk, StartAsk};
use taskpass_policy::{Policies, Suggestion, Verb};
use taskpass_types::{AgentId, CredentialKind, Reason};

/// Everything that is decided, allowed and denied: issue, renew, delegate, call.
async fn past(world: &World) -> Vec<Entry> {
    let text = format!(
        r#"{POLICY}
        @id("hand-on") permit (principal, action == Action::"delegate", resource);
        @id("call") permit (principal, action == Action::"call_tool", resource);"#
    );
    world.broker.adopt_policies(policies(&text)).await.unwrap();
    let bot = || world.caller("ci/bot");
    let task = world.task("ci/bot").await.id;
    let lease = world.issue("ci/bot", task).await.unwrap().lease.id;
    world.renew("ci/bot", lease).await.unwrap();
    let part = StartAsk {
        parent: Some(task),
        agent: Some(AgentId::new("ci/other").unwrap()),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ..start()
    };
    let child = world.broker.start_task(bot(), part).await.unwrap().id;
    world.issue("ci/other", child).await.unwrap();
    let call = CallAsk {
        lease: Some(lease),
        task: None,
        tool: "invoices".parse().unwrap(),
        resource: "billing-api".parse().unwrap(),
        action: "invoice:read".parse().unwrap(),
        arguments: None,
        approval: None,
    };
    assert!(world.broker.authorize_call(bot(), call).await.unwrap().call.is_some());
    let delete = IssueAsk { actions: ["invoice:delete".parse().unwrap()].into(), ..issue(task) };
    assert_eq!(world.broker.issue(bot(), delete).await.err().unwrap().reason(), Reason::PolicyDenied);
    world.entries().await
}

async fn replayed(world: &World, entries: &[Entry], text: &str) -> (ReplaySum, Vec<(Verb, bool)>) {
    let operator = world.caller("operator");
    let ask = PlanAsk::Files(vec![("test.cedar".to_owned(), text.to_owned())]);
    let plan = world.broker.plan_policies(operator.clone(), ask).await.unwrap();
    let mut replay = world.broker.replay(&operator, Some(plan.id)).unwrap();
    let changes = entries.iter().filter_map(|entry| replay.entry(entry));
    let changes = changes.map(|change| (change.past.verb, change.now.allowed)).collect();
    (replay.sum(), changes)
}

#[tokio::test]
async fn past_decisions_come_out_as_they_did_and_differently_under_others() {
    let world = World::new().await;
    let entries = past(&world).await;
    let operator = world.caller("operator");
    let mut same = world.broker.replay(&operator, None).unwrap();
    assert!(entries.iter().all(|entry| same.entry(entry).is_none()), "nothing changed");
    assert_eq!(same.sum().replayed, 6);
    assert_eq!(same.sum(), ReplaySum { replayed: 6, ..ReplaySum::default() });

    let (sum, changes) = replayed(&world, &entries, "permit (principal, action, resource);").await;
    assert_eq!(sum, ReplaySum { replayed: 6, newly_allowed: 1, ..ReplaySum::default() });
    assert_eq!(changes, [(Verb::Issue, true)]);

    let none = r#"permit (principal == Agent::"ci/other", action, resource);"#;
    let (sum, changes) = replayed(&world, &entries, none).await;
    assert_eq!(sum, ReplaySum { replayed: 6, newly_denied: 4, ..ReplaySum::default() });
    let verbs: Vec<_> = changes.into_iter().map(|(verb, _)| verb).collect();
    assert_eq!(verbs, [Verb::Issue, Verb::Renew, Verb::Delegate, Verb::CallTool]);
}

#[tokio::test]
async fn why_says_then_and_now_and_the_smallest_permit() {
    let world = World::new().await;
    let entries = past(&world).await;
    let operator = world.caller("operator");
    let denied = entries.iter().rfind(|entry| entry.decision.is_some()).unwrap();
    let explained = world.broker.explain(&operator, denied, true).await.unwrap();
    assert!(!explained.past.then.allowed && explained.past.then.why.contains("invoice:delete"));
    let now = explained.now.unwrap();
    assert!(!now.allowed && !now.fix.is_empty());
    let Some(Suggestion::Permit(text)) = explained.suggestion else { panic!("no suggestion") };
    let with_it = format!("{POLICY}{text}");
    let grown = Policies::from_sources([("test.cedar", with_it.as_str())]).unwrap();
    world.broker.adopt_policies(grown).await.unwrap();
    let explained = world.broker.explain(&operator, denied, true).await.unwrap();
    assert!(explained.now.unwrap().allowed && explained.suggestion.is_none());

    let allowed = entries.iter().find(|entry| entry.code == "TP201I").unwrap();
    let explained = world.broker.explain(&operator, allowed, false).await.unwrap();
    assert_eq!(explained.past.then.policies, [r#"test.cedar:2 "read""#]);
    assert_eq!(explained.past.then.obligations, ["max_ttl 10m"]);
    let nothing = entries.iter().find(|entry| entry.decision.is_none()).unwrap();
    let missing = world.broker.explain(&operator, nothing, false).await.unwrap_err();
    assert_eq!(missing.reason(), Reason::DecisionNotFound);
}

fn simulate(agent: &str, action: &str) -> SimulateAsk {
    SimulateAsk {
        plan: None,
        agent: AgentId::new(agent).unwrap(),
        verb: Verb::Issue,
        resource: "billing-api".parse().unwrap(),
        action: action.parse().unwrap(),
        kind: CredentialKind::Jwt,
        ttl: None,
        bound: false,
        task: None,
        task_kind: "close-books".parse().unwrap(),
        purpose: String::new(),
        initiator: String::new(),
        labels: Default::default(),
        sensitivity: None,
        tool: None,
        delegate_to: None,
        at: None,
    }
}

#[tokio::test]
async fn a_simulation_decides_and_does_nothing() {
    let world = World::new().await;
    let operator = world.caller("operator");
    let before = world.entries().await.len();
    let allowed = world.broker.simulate(&operator, simulate("ci/bot", "invoice:read")).await.unwrap();
    assert!(allowed.allowed && allowed.obligations == ["max_ttl 10m"], "{allowed:?}");
    let denied = world.broker.simulate(&operator, simulate("ci/bot", "invoice:delete")).await.unwrap();
    assert!(!denied.allowed && denied.why.contains("invoice:delete"), "{denied:?}");
    let task = world.task("ci/bot").await.id;
    let under = SimulateAsk { task: Some(task), ..simulate("ci/bot", "invoice:read") };
    assert!(world.broker.simulate(&operator, under).await.unwrap().allowed);
    for (ask, reason) in [
        (simulate("nobody", "invoice:read"), Reason::AgentNotFound),
        (simulate("orphan", "invoice:read"), Reason::AgentWithoutOwner),
    ] {
        assert_eq!(world.broker.simulate(&operator, ask).await.unwrap_err().reason(), reason);
    }
    let stranger = world.caller("ci/bot");
    let refused = world.broker.simulate(&stranger, simulate("ci/bot", "invoice:read")).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::NotPermitted);
    // The task, and what the first look at the log left there.
    let others = world
        .entries()
        .await
        .into_iter()
        .filter(|entry| entry.action != "task.start" && entry.actor != "broker/test");
    assert_eq!(others.count(), before);
}
