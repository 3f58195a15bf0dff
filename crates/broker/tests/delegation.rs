//! A task hands a part of itself on: narrower, not longer, decided, and dead with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::time::Duration;
use support::{World, issue, policies, start, token};
use taskpass_broker::StartAsk;
use taskpass_lease::Task;
use taskpass_types::{AgentId, EndReason, Epoch, Reason, Refusal, TaskId, TenantId, Ttl};

const POLICY: &str = r#"
permit (principal, action in [Action::"issue", Action::"renew"], resource);
permit (principal == Agent::"ci/bot", action == Action::"delegate", resource)
when { context.action == "invoice:read" && context.task.depth < 1 };
"#;

async fn world() -> World {
    let world = World::new().await;
    world.broker.adopt_policies(policies(POLICY)).await.unwrap();
    world
}

fn child(parent: TaskId, agent: &str) -> StartAsk {
    StartAsk {
        parent: Some(parent),
        agent: Some(AgentId::new(agent).unwrap()),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ..start()
    }
}

async fn delegate(world: &World, who: &str, ask: StartAsk) -> Result<Task, Refusal> {
    world.broker.start_task(world.caller(who), ask).await
}

#[tokio::test]
async fn a_child_is_narrower_says_its_chain_and_dies_with_its_parent_by_one_write() {
    let world = world().await;
    let parent = world.task("ci/bot").await;
    let longer = StartAsk { ttl: Some(Ttl::from_secs(7200).unwrap()), ..child(parent.id, "ci/other") };
    let child = delegate(&world, "ci/bot", longer).await.unwrap();
    assert_eq!((child.deadline, &child.initiator), (parent.deadline, &parent.initiator));
    assert_eq!(child.path.iter().collect::<Vec<_>>(), [parent.id, child.id]);
    let sibling = world.task("ci/bot").await;
    let issued = world.issue("ci/other", child.id).await.unwrap();
    let claims = taskpass_crypto::jws::inspect_unverified(&token(&issued)).unwrap().claims;
    assert_eq!(claims["act"]["sub"], "ci/other");
    assert_eq!(claims["act"]["act"]["sub"], "ci/bot");
    assert_eq!(
        world.issue("ci/bot", child.id).await.err().unwrap().reason(),
        Reason::TaskNotFound,
        "who delegates does not hold"
    );

    world.broker.end_task(world.caller("ci/bot"), parent.id, EndReason::Completed, "").await.unwrap();
    assert_eq!(world.store.denies_after(&TenantId::default(), Epoch(0), 9).await.unwrap().records.len(), 1);
    assert_eq!(world.issue("ci/other", child.id).await.err().unwrap().reason(), Reason::TaskEnded);
    assert_eq!(world.renew("ci/other", issued.lease.id).await.err().unwrap().reason(), Reason::TaskEnded);
    assert!(world.issue("ci/bot", sibling.id).await.is_ok(), "a sibling lives");
    world.broker.work_off_schedule().await.unwrap();
    let ended = world.store.task(&TenantId::default(), child.id).await.unwrap().unwrap();
    assert_eq!(ended.end().unwrap().reason, EndReason::ParentEnded);
}

#[tokio::test]
async fn what_is_wider_foreign_undecided_or_too_deep_is_refused() {
    let world = world().await;
    let parent = world.task("ci/bot").await;
    let child_task = delegate(&world, "ci/bot", child(parent.id, "ci/other")).await.unwrap();
    let wider = StartAsk {
        scopes: ["billing-api:invoice:list".parse().unwrap()].into(),
        ..child(parent.id, "ci/other")
    };
    let undecided = StartAsk {
        scopes: ["billing-api:invoice:delete".parse().unwrap()].into(),
        ..child(parent.id, "ci/other")
    };
    let cases = [
        ("ci/other", child(parent.id, "ci/other"), Reason::TaskNotFound),
        ("ci/bot", child(TaskId::new(), "ci/other"), Reason::TaskNotFound),
        ("ci/bot", undecided, Reason::PolicyDenied),
        ("ci/bot", wider, Reason::PolicyDenied),
        ("ci/bot", child(parent.id, "ci/nobody"), Reason::AgentNotFound),
        ("ci/bot", child(parent.id, "orphan"), Reason::AgentWithoutOwner),
        // Policy lets only `ci/bot` delegate, and only one level deep.
        ("ci/other", child(child_task.id, "ci/bot"), Reason::PolicyDenied),
    ];
    for (who, ask, reason) in cases {
        let refused = delegate(&world, who, ask.clone()).await.unwrap_err();
        assert_eq!(refused.reason(), reason, "{who}: {ask:?}");
    }
    // Also when policy would allow it: the state machine keeps a child within its parent.
    world.broker.adopt_policies(policies("permit (principal, action, resource);")).await.unwrap();
    let wider = StartAsk {
        scopes: ["billing-api:invoice:list".parse().unwrap()].into(),
        ..child(parent.id, "ci/other")
    };
    assert_eq!(delegate(&world, "ci/bot", wider).await.unwrap_err().reason(), Reason::ScopeExceedsParent);
    world.clock.advance(Duration::from_secs(3600));
    let late = delegate(&world, "ci/bot", child(parent.id, "ci/other")).await.unwrap_err();
    assert!(matches!(late.reason(), Reason::TaskEnded), "{late:?}");
}

#[tokio::test]
async fn delegation_has_a_depth() {
    let world = world().await;
    world.broker.adopt_policies(policies("permit (principal, action, resource);")).await.unwrap();
    let mut parent = world.task("ci/bot").await;
    for _ in 1..taskpass_types::TaskPath::MAX_DEPTH {
        parent = delegate(&world, "ci/bot", child(parent.id, "ci/bot")).await.unwrap();
    }
    let deeper = delegate(&world, "ci/bot", child(parent.id, "ci/bot")).await.unwrap_err();
    assert_eq!(deeper.reason(), Reason::DepthExceeded);
    assert!(world.broker.issue(world.caller("ci/bot"), issue(parent.id)).await.is_ok());
}
