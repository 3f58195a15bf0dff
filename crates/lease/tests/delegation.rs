//! Delegation: a child is narrower in everything, on every tree; and one write ends a subtree and nothing beside it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;
#[path = "common/scene.rs"]
mod scene;
#[path = "model/world.rs"]
mod world;

use common::{agent, call, fence, plan, policies, scope, secs, start};
use proptest::prelude::*;
use scene::{Scene, reason};
use std::collections::BTreeSet;
use taskpass_lease::{Event, Outcome, PlanLease, StartTask, Task};
use taskpass_types::{DecisionId, LeaseId, Reason, Refusal, Scope, TaskId, TaskPath, TenantId};

fn to(name: &str, parent: TaskId) -> StartTask {
    StartTask { agent: agent(name), ..start(TaskId::new(), Some(parent)) }
}

#[test]
fn a_child_says_how_it_came_to_be() {
    let mut scene = Scene::new();
    let decision = DecisionId::new();
    let begun = StartTask {
        sensitivity: Some("confidential".to_owned()),
        decision: Some(decision),
        fence: Some(fence("r1")),
        max_ttl: Some(secs(60)),
        ..to("ci/other", scene.task)
    };
    let child = scene.start(begun).unwrap();
    assert_eq!((child.decision, child.policy_revision), (Some(decision), Some(common::revision("r1"))));
    assert_eq!(child.deadline.since(child.created_at).as_secs(), 60, "policy's limit");
    let grandchild = scene.start(to("ci/third", child.id)).unwrap();
    assert_eq!(grandchild.sensitivity.as_deref(), Some("confidential"), "inherited");
    let named = StartTask { sensitivity: Some("public".to_owned()), ..to("ci/fourth", child.id) };
    assert_eq!(scene.start(named).unwrap().sensitivity.as_deref(), Some("public"));
    for word in [String::new(), "x".repeat(129)] {
        let bad = StartTask { sensitivity: Some(word), ..to("ci/fifth", child.id) };
        assert_eq!(reason(scene.start(bad)), Reason::FieldInvalid);
    }
}

#[test]
fn a_delegation_is_decided_by_the_policies_in_force() {
    let mut scene = Scene::new();
    let begun = StartTask { fence: Some(fence("r1")), ..to("ci/other", scene.task) };
    scene.start(begun.clone()).unwrap();
    scene.apply(Event::SetPolicies(Box::new(policies("r2")))).unwrap();
    assert_eq!(reason(scene.start(begun)), Reason::PolicyChanged, "also a repeat");
    let anew = StartTask { fence: Some(fence("r1")), ..to("ci/other", scene.task) };
    assert_eq!(reason(scene.start(anew)), Reason::PolicyChanged);
}

#[test]
fn nobody_gets_back_what_they_handed_on() {
    let mut scene = Scene::new();
    let own = scene.start(to(common::AGENT, scene.task)).unwrap().id;
    let second = scene.start(to("ci/b", own)).unwrap().id;
    let third = scene.start(to("ci/c", second)).unwrap().id;
    for (parent, name) in [(second, common::AGENT), (third, common::AGENT), (third, "ci/b")] {
        let refusal: Refusal = scene.start(to(name, parent)).unwrap_err();
        assert_eq!(refusal.reason(), Reason::DelegationCycle);
        assert!(refusal.fix_text().is_some());
    }
    scene.start(to("ci/c", third)).expect("narrowing oneself is no detour");
    scene.start(to("ci/c", own)).expect("siblings may meet the same agent");
}

#[test]
fn a_chain_is_only_so_long() {
    let mut scene = Scene::new();
    let mut parent = scene.task;
    for _ in 1..TaskPath::MAX_DEPTH {
        parent = scene.start(to(common::AGENT, parent)).unwrap().id;
    }
    assert_eq!(reason(scene.start(to(common::AGENT, parent))), Reason::DepthExceeded);
}

#[test]
fn what_is_wider_than_the_parent_is_refused() {
    let mut scene = Scene::new();
    let narrow = StartTask { scopes: [scope("read")].into(), ..to("ci/b", scene.task) };
    let narrow = scene.start(narrow).unwrap().id;
    let wide = to("ci/c", narrow);
    assert_eq!(reason(scene.start(wide)), Reason::ScopeExceedsParent);
    let long = StartTask { scopes: [scope("read")].into(), ttl: secs(7200), ..to("ci/c", narrow) };
    let child = scene.start(long).unwrap();
    assert_eq!(child.deadline, scene.world.tasks[&narrow].deadline, "shortened to the parent's");
}

/// One node: under which earlier one, by whom, what it asks for.
#[derive(Clone, Debug)]
struct Node {
    parent: usize,
    agent: u8,
    scopes: BTreeSet<u8>,
    ttl: u64,
    max_ttl: Option<u64>,
}

fn any_node() -> impl Strategy<Value = Node> {
    let scopes = prop::collection::btree_set(0..6_u8, 1..4);
    (0..12_usize, 0..6_u8, scopes, 1..5_000_u64, prop::option::of(1..5_000_u64))
        .prop_map(|(parent, agent, scopes, ttl, max_ttl)| Node { parent, agent, scopes, ttl, max_ttl })
}

fn some_scope(nth: u8) -> Scope {
    scope(&format!("a{nth}"))
}

/// All tasks that came to be, the root first; each with a lease.
fn grow(scene: &mut Scene, nodes: &[Node]) -> Vec<(Task, LeaseId)> {
    let all: BTreeSet<Scope> = (0..6).map(some_scope).collect();
    let root = scene.start(StartTask { scopes: all, ..start(TaskId::new(), None) }).unwrap();
    let mut tasks = vec![root];
    for node in nodes {
        let parent = tasks[node.parent % tasks.len()].clone();
        let begun = StartTask {
            scopes: node.scopes.iter().copied().map(some_scope).collect(),
            ttl: secs(node.ttl),
            max_ttl: node.max_ttl.map(secs),
            ..to(&format!("ci/a{}", node.agent), parent.id)
        };
        match scene.start(begun.clone()) {
            Ok(child) => {
                assert!(child.scopes.is_subset(&parent.scopes) && child.deadline <= parent.deadline);
                assert!(child.path.depth() == parent.path.depth() + 1 && child.path.contains(parent.id));
                tasks.push(child);
            }
            Err(refusal) => assert!(
                match refusal.reason() {
                    Reason::ScopeExceedsParent => !begun.scopes.is_subset(&parent.scopes),
                    Reason::DelegationCycle => parent.agents.contains(&begun.agent),
                    Reason::DepthExceeded => parent.path.depth() + 1 == TaskPath::MAX_DEPTH,
                    _ => false,
                },
                "{refusal:?}"
            ),
        }
    }
    tasks
        .into_iter()
        .map(|task| {
            let action = task.scopes.first().unwrap().action.clone();
            let made = PlanLease {
                agent: task.agent().unwrap().clone(),
                actions: [action].into(),
                ..plan(LeaseId::new(), task.id)
            };
            let lease = scene.plan(made).map_or(LeaseId::from_bytes([0; 16]), |lease| lease.id);
            (task, lease)
        })
        .collect()
}

proptest! {
    #[test]
    fn one_write_ends_a_subtree_and_siblings_live(
        nodes in prop::collection::vec(any_node(), 0..16),
        chosen in 0..16_usize,
    ) {
        let mut scene = Scene::new();
        let tree = grow(&mut scene, &nodes);
        let ended = tree[chosen % tree.len()].0.id;
        let epoch = scene.world.epoch;
        scene.end(ended);
        prop_assert_eq!(scene.world.epoch, epoch.next(), "one deny record, whatever is below");
        for (task, _) in &tree {
            let mut used = call(task.id, None);
            used.agent = task.agent().unwrap().clone();
            used.action = task.scopes.first().unwrap().action.clone();
            let called = scene.call(used);
            prop_assert_eq!(called.is_err(), task.path.contains(ended), "{:?}", called);
        }
        // Marking what is below writes no further record, and reaches exactly the subtree.
        let mut due = vec![ended];
        while let Some(task) = due.pop() {
            let effects = scene.apply(Event::SettleTask(TenantId::default(), task, 100)).unwrap();
            if let Outcome::Settled(settled) = effects.outcome {
                due.extend(settled.tasks.iter().map(|task| task.id));
            }
        }
        prop_assert_eq!(scene.world.epoch, epoch.next());
        for (task, lease) in &tree {
            let under = task.path.contains(ended);
            prop_assert_eq!(scene.world.tasks[&task.id].end().is_some(), under);
            if let Some(lease) = scene.world.leases.get(lease) {
                prop_assert_eq!(lease.end().is_some(), under);
            }
        }
    }
}
