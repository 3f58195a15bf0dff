//! A change of the policies that is looked at first: it does exactly what was shown, or nothing.

use super::{ended, revisions, set};
use std::{collections::BTreeMap, time::Duration};
use taskpass_e2e::{Broker, Client, World, start, token, until};
use taskpass_proto::v1::{
    DriftAction, EndReason, Lease, ListPolicySetsRequest, PlanPoliciesRequest, PolicyFile, StartTaskRequest,
    plan_policies_request, policy_service_client::PolicyServiceClient,
};
use tokio_stream::StreamExt as _;

/// The policies on disk, and one more.
fn with(world: &World, more: &str) -> Vec<(String, String)> {
    let files = std::fs::read_dir(world.path("policies")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    });
    files.chain([("more.cedar".to_owned(), more.to_owned())]).collect()
}

/// No browsing at all, and no agent reads for long for a report.
const STRICTER: &str = r#"
@id("no-browsing")
forbid (principal, action, resource)
when { context.task.kind == "browse" };

@id("reports-are-quick")
@max_ttl("1m")
permit (principal in Group::"dev", action == Action::"issue", resource == Resource::"demo-api")
when { context.task.kind == "report" };
"#;

async fn live(agent: &Client, kind: &str) -> Lease {
    let task = StartTaskRequest { kind: kind.to_owned(), ..start() };
    let task = agent.start_task(task).await.unwrap();
    agent.issue(token(&task.id)).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_is_what_was_shown_to_the_last_lease() {
    let (world, broker) = set("").await;
    let operator = world.connect("ops/oncall").await;
    let mut leases = BTreeMap::new();
    for agent in ["dev/bot", "dev/rival"] {
        let agent = world.connect(agent).await;
        for kind in ["browse", "report", "task"].into_iter().cycle().take(12) {
            leases.insert(live(&agent, kind).await.id, kind);
        }
    }
    let library = operator.library();
    let before = library.policies().await.unwrap().revision;
    let planned = library.plan_policies(with(&world, STRICTER)).await.unwrap();
    assert_eq!((&planned.plan.from_revision, planned.plan.examined), (&before, 48), "tasks and leases");
    assert_eq!(planned.plan.agents, ["dev/bot", "dev/rival"]);
    let shown: BTreeMap<_, _> =
        planned.items.iter().map(|item| (item.id.clone(), (item.action(), item.end_time))).collect();
    let expected = leases.iter().filter(|(_, kind)| **kind != "task");
    assert_eq!(shown.keys().collect::<Vec<_>>(), expected.map(|(id, _)| id).collect::<Vec<_>>());
    assert_eq!(planned.plan.affected, 16);

    let applied = library.apply_policies(&planned.plan.id, "a story").await.unwrap();
    assert_eq!((applied.affected, &applied.revision), (16, &planned.plan.to_revision));
    assert_eq!(library.policies().await.unwrap().revision, applied.revision);
    for (lease, kind) in &leases {
        let read = async || operator.lease(lease).await.unwrap();
        let Some((action, end)) = shown.get(lease) else { continue };
        match *kind {
            "browse" => {
                assert_eq!(*action, DriftAction::Revoke);
                let end = until("it has ended", async || read().await.end).await;
                assert_eq!(end.reason(), EndReason::Drifted);
            }
            _ => {
                assert_eq!(*action, DriftAction::Shorten);
                let cut = until("it ends sooner", async || read().await.cut_time).await;
                assert_eq!(Some(cut), *end, "as it was shown");
            }
        }
    }
    for (lease, _) in leases.iter().filter(|(_, kind)| **kind == "task") {
        let seen = operator.lease(lease).await.unwrap();
        assert!(seen.end.is_none() && seen.cut_time.is_none(), "{seen:?}");
    }
    world
        .recorded("who did it and why", |entry| {
            entry.code == "TP401S"
                && entry.actor == "operator/ops/oncall"
                && entry.purpose.as_deref() == Some("a story")
                && entry.policy_revision.as_deref() == Some(&applied.revision)
        })
        .await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_grew_since_it_was_shown_is_not_applied() {
    let (world, broker) = set("").await;
    let (operator, agent) = (world.connect("ops/oncall").await.library(), world.connect("dev/bot").await);
    let shown = live(&agent, "browse").await;
    let before = operator.policies().await.unwrap().revision;
    let plan = operator.plan_policies(with(&world, STRICTER)).await.unwrap().plan;
    let newer = live(&agent, "browse").await;
    let refused = operator.apply_policies(&plan.id, "").await.unwrap_err();
    assert_eq!(refused.reason_code(), "PLAN_GREW", "{refused:?}");
    assert!(refused.message().contains(&newer.id), "{refused:?}");
    assert_eq!(operator.policies().await.unwrap().revision, before);
    for lease in [&shown, &newer] {
        assert!(agent.lease(&lease.id).await.unwrap().end.is_none());
    }
    // Neither is what was made over other policies, and what nobody planned; and only operators plan.
    world.write(
        "policies/more.cedar",
        "@id(\"more\") forbid (principal, action, resource == Resource::\"x\");",
    );
    until("the file counts", async || (operator.policies().await.unwrap().revision != before).then_some(()))
        .await;
    for (id, reason) in
        [(plan.id.as_str(), "PLAN_OUTDATED"), ("pl_00000000000000000000000000", "PLAN_NOT_FOUND")]
    {
        let refused = operator.apply_policies(id, "").await.unwrap_err();
        assert_eq!(refused.reason_code(), reason, "{refused:?}");
    }
    let refused = agent.library().plan_policies(with(&world, STRICTER)).await.unwrap_err();
    assert_eq!(refused.reason_code(), "NOT_PERMITTED", "{refused:?}");
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_without_end_are_refused_before_they_end() {
    let (world, broker) = set("").await;
    let operator = world.connect("ops/oncall").await;
    let file = |name: String, text: String| PlanPoliciesRequest {
        from: Some(plan_policies_request::From::File(PolicyFile { name, text })),
    };
    let many: Vec<_> = (0..1_001).map(|n| file(n.to_string(), String::new())).collect();
    let large: Vec<_> = (0..520).map(|_| file("a.cedar".to_owned(), " ".repeat(32 << 10))).collect();
    for (what, sent) in [("more than 1000 policy files", many), ("bytes", large)] {
        // The caller never says that this was all.
        let endless = tokio_stream::iter(sent).chain(tokio_stream::pending());
        let mut policies = PolicyServiceClient::new(operator.channel());
        let asked = tokio::time::timeout(Duration::from_secs(30), policies.plan_policies(endless));
        let refused = asked.await.unwrap().unwrap_err();
        assert!(refused.message().contains(what), "{refused:?}");
    }
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_policies_survive_a_restart_until_a_file_changes() {
    let (world, broker) = set("").await;
    let operator = world.connect("ops/oncall").await.library();
    let files = operator.policies().await.unwrap().revision;
    let plan = operator.plan_policies(with(&world, STRICTER)).await.unwrap().plan;
    let applied = operator.apply_policies(&plan.id, "").await.unwrap().revision;
    assert_ne!(applied, files);
    broker.kill();

    let broker = Broker::start(&world).await;
    let (operator, agent) = (world.connect("ops/oncall").await.library(), world.connect("dev/bot").await);
    assert_eq!(operator.policies().await.unwrap().revision, applied);
    let task = StartTaskRequest { kind: "browse".to_owned(), ..start() };
    let browsing = agent.start_task(task).await.unwrap();
    let refused = agent.issue(token(&browsing.id)).await.unwrap_err();
    assert!(refused.reason == "POLICY_DENIED" && refused.message.contains("no-browsing"), "{refused:?}");

    // Back to what was before, as a change like any other.
    let back = operator.plan_rollback(&files).await.unwrap().plan;
    assert_eq!(operator.apply_policies(&back.id, "too strict").await.unwrap().revision, files);
    let (lease, _) = agent.issue(token(&browsing.id)).await.unwrap();
    let all = ListPolicySetsRequest { page_size: 100, ..Default::default() };
    let history = operator.list_policy_sets(all).await.unwrap().sets;
    let history: Vec<_> = history.iter().map(|set| (set.origin.as_str(), set.revision.as_str())).collect();
    assert_eq!(
        history,
        [("rolled_back", files.as_str()), ("applied", applied.as_str()), ("files", files.as_str())]
    );

    // A file that changes counts again, and reaches what is out.
    let plan = operator.plan_policies(with(&world, "")).await.unwrap().plan;
    operator.apply_policies(&plan.id, "").await.unwrap();
    world.write("policies/more.cedar", STRICTER);
    assert_eq!(ended(&agent, &lease).await.by, "broker/drift default-policy");
    let counts = operator.policies().await.unwrap().revision;
    broker.kill();
    let broker = Broker::start(&world).await;
    assert_eq!(world.connect("ops/oncall").await.library().policies().await.unwrap().revision, counts);
    assert_eq!(revisions(&world).last(), Some(&counts));
    broker.assert_well(&world).await;
}
