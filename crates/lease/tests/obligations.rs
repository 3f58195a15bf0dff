//! Promises, budgets, tool calls and holds: the edges of each.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod common;
#[path = "common/scene.rs"]
mod scene;
#[path = "model/world.rs"]
mod world;

use common::{AGENT, agent, call, plan, renew, resource, start};
use scene::{NOW, Scene, metadata, reason};
use std::time::Duration;
use taskpass_lease::{CallTool, Event, HoldKey, HoldTask, Outcome, PlanLease, ReleaseHold, RenewLease};
use taskpass_types::{
    ActionName, Confirmation, Counters, CredentialKind, EndReason, LeaseId, Obligations, Reason, Refusal,
    ResourceName, Revocability, TaskId, TenantId, Timestamp,
};

fn after(millis: u64) -> Timestamp {
    NOW.plus(Duration::from_millis(millis))
}

/// A child of the scene's task and a child of that, all of the usual agent.
fn tree(scene: &mut Scene) -> [TaskId; 3] {
    let child = scene.start(start(TaskId::new(), Some(scene.task))).unwrap().id;
    let grandchild = scene.start(start(TaskId::new(), Some(child))).unwrap().id;
    [scene.task, child, grandchild]
}

fn leased(scene: &mut Scene, obligations: Obligations) -> LeaseId {
    scene.plan(PlanLease { obligations, ..plan(LeaseId::new(), scene.task) }).unwrap().id
}

#[test]
fn a_credential_promises_what_policy_wants() {
    let bound = Obligations { bound: true, ..Obligations::default() };
    let at_least = |revocability| Obligations { revocability: Some(revocability), ..Obligations::default() };
    let key = Some(Confirmation::KeyThumbprint("key".to_owned()));
    let cases = [
        (at_least(Revocability::ExpiryOnly), None, None),
        (at_least(Revocability::Bounded), None, None),
        (at_least(Revocability::Immediate), None, Some("revocability")),
        (bound.clone(), None, Some("bound")),
        (bound, key, None),
    ];
    for (obligations, confirmation, unmet) in cases {
        let mut scene = Scene::new();
        let lease = scene.plan(plan(LeaseId::new(), scene.task)).unwrap().id;
        let (renewed, made) = (
            RenewLease {
                obligations: obligations.clone(),
                confirmation: confirmation.clone(),
                ..renew(lease, "more")
            },
            PlanLease { obligations: obligations.clone(), confirmation, ..plan(LeaseId::new(), scene.task) },
        );
        for result in [scene.plan(made), scene.renew(renewed)] {
            match (result, unmet) {
                (Ok(_), None) => {}
                (Err(refusal), Some(which)) => {
                    assert_eq!(refusal.reason(), Reason::ObligationUnmet);
                    assert_eq!(metadata(&refusal, "obligation").as_deref(), Some(which));
                    assert!(refusal.fix_text().is_some());
                }
                (result, unmet) => panic!("{obligations:?} gave {result:?}, expected {unmet:?}"),
            }
        }
    }
}

/// Wherever in the tree they are issued; an end gives nothing back, a renewal takes nothing.
#[test]
fn a_budget_of_credentials_is_for_the_whole_tree() {
    let mut scene = Scene::new();
    let tasks = tree(&mut scene);
    let five = Obligations { max_credentials: Some(5), ..Obligations::default() };
    let one = |task| PlanLease { obligations: five.clone(), ..plan(LeaseId::new(), task) };
    for nth in 0..5 {
        let lease = scene.plan(one(tasks[nth % 3])).unwrap().id;
        scene.renew(RenewLease { obligations: five.clone(), ..renew(lease, "more") }).unwrap();
        let end = taskpass_lease::EndLease {
            tenant: TenantId::default(),
            lease,
            reason: EndReason::Killed,
            by: "operator".to_owned(),
            hold: false,
        };
        scene.apply(Event::EndLease(end)).unwrap();
    }
    for task in tasks {
        let refusal = scene.plan(one(task)).unwrap_err();
        assert_eq!(refusal.reason(), Reason::BudgetExceeded);
        assert_eq!(metadata(&refusal, "budget").as_deref(), Some("max_credentials"));
    }
    let counts = tasks.map(|task| scene.world.tasks[&task].issued);
    assert_eq!(counts, [5, 3, 1], "a task counts for those above it");
    let root = scene.world.tasks[&tasks[0]].clone();
    assert_eq!(scene.world.tasks[&tasks[2]].counters(&root).credentials, 5);
}

#[test]
fn a_minute_of_calls_begins_with_the_first() {
    let mut scene = Scene::new();
    let tasks = tree(&mut scene);
    let one = |task| CallTool {
        obligations: Obligations { max_calls_per_minute: Some(3), ..Obligations::default() },
        ..call(task, None)
    };
    scene.now = after(500);
    for task in tasks {
        scene.call(one(task)).unwrap();
    }
    for (at, left) in [(500, "60"), (20_499, "41"), (20_500, "40"), (60_499, "1")] {
        scene.now = after(at);
        let refusal = scene.call(one(tasks[2])).unwrap_err();
        assert_eq!(refusal.reason(), Reason::BudgetExceeded);
        assert_eq!(metadata(&refusal, "retry_after_secs").as_deref(), Some(left), "{at} ms");
    }
    // What has no limit of its own still counts for what has.
    scene.now = after(60_500);
    for _ in 0..3 {
        scene.call(call(tasks[1], None)).unwrap();
    }
    assert_eq!(reason(scene.call(one(tasks[0]))), Reason::BudgetExceeded);
    assert_eq!(tasks.map(|task| scene.world.tasks[&task].calls), [6, 5, 1]);
}

#[test]
fn a_lease_is_used_so_often_all_renewals_together() {
    let mut scene = Scene::new();
    let uses = |max_uses| Obligations { max_uses, ..Obligations::default() };
    let lease = leased(&mut scene, uses(Some(3)));
    let task = scene.task;
    let one = |max| CallTool { obligations: uses(max), ..call(task, Some(lease)) };
    scene.call(one(None)).unwrap();
    assert_eq!(reason(scene.call(one(Some(1)))), Reason::BudgetExceeded, "the lower one");
    scene.call(one(Some(9))).unwrap();
    for (wanted, stored) in [(Some(9), Some(3)), (None, Some(3)), (Some(2), Some(2))] {
        let renewed = RenewLease {
            obligations: uses(wanted),
            ..renew(lease, &format!("{wanted:?}").replace(['(', ')'], "-"))
        };
        let renewed = scene.renew(renewed).unwrap();
        assert_eq!((renewed.uses, renewed.max_uses), (2, stored));
    }
    let refusal = scene.call(one(None)).unwrap_err();
    assert_eq!(metadata(&refusal, "budget").as_deref(), Some("max_uses"));
    // Whoever leaves out the lease leaves out no budget.
    let without = CallTool { lease: None, ..one(Some(3)) };
    assert_eq!(reason(scene.call(without)), Reason::ObligationUnmet);
}

#[test]
fn a_call_is_within_its_task_and_lease_and_never_under_an_end_or_a_hold() {
    let mut scene = Scene::new();
    let lease = leased(&mut scene, Obligations::default());
    let other = scene.start(start(TaskId::new(), None)).unwrap().id;
    let (task, good) = (scene.task, call(scene.task, Some(lease)));
    let write = ActionName::new("write").unwrap();
    let cases = [
        (CallTool { agent: agent("ci/other"), ..good.clone() }, Reason::TaskNotFound),
        (CallTool { task: TaskId::new(), ..good.clone() }, Reason::TaskNotFound),
        (CallTool { lease: Some(LeaseId::new()), ..good.clone() }, Reason::LeaseNotFound),
        (CallTool { task: other, ..good.clone() }, Reason::LeaseNotFound),
        (CallTool { action: write.clone(), ..good.clone() }, Reason::ScopeExceedsTask),
        (CallTool { action: ActionName::new("drop").unwrap(), ..call(task, None) }, Reason::ScopeExceedsTask),
        (
            CallTool { resource: ResourceName::new("payroll").unwrap(), ..call(task, None) },
            Reason::ScopeExceedsTask,
        ),
        (CallTool { fence: common::fence("r0"), ..good.clone() }, Reason::PolicyChanged),
    ];
    for (call, expected) in cases {
        assert_eq!(reason(scene.call(call.clone())), expected, "{call:?}");
    }
    scene.call(CallTool { action: write, ..call(task, None) }).unwrap();
    scene.call(good.clone()).unwrap();
    assert_eq!(
        (scene.world.leases[&lease].uses, scene.world.tasks[&task].calls),
        (1, 2),
        "refusals do not count"
    );

    scene.now = after(299_999);
    scene.call(good.clone()).unwrap();
    scene.now = after(300_000);
    assert_eq!(reason(scene.call(good)), Reason::LeaseEnded, "also before it is marked");
    hold(&mut scene, None).unwrap();
    assert_eq!(reason(scene.call(call(task, None))), Reason::HeldAfterKill);
    scene.end(task);
    assert_eq!(reason(scene.call(call(task, None))), Reason::TaskEnded);
}

fn hold(scene: &mut Scene, lease: Option<LeaseId>) -> Result<Outcome, Refusal> {
    let hold = HoldTask {
        tenant: TenantId::default(),
        agent: agent(AGENT),
        task: scene.task,
        resource: resource(),
        by: "broker/drift".to_owned(),
        lease,
    };
    scene.apply(Event::HoldTask(hold)).map(|effects| effects.outcome)
}

#[test]
fn a_hold_ends_nothing_and_says_how_to_lift_it() {
    for lease in [None, Some(LeaseId::new())] {
        let mut scene = Scene::new();
        let living = leased(&mut scene, Obligations::default());
        assert!(matches!(hold(&mut scene, lease), Ok(Outcome::Held(_))));
        assert_eq!(scene.world.leases[&living].end(), None);
        assert_eq!(scene.world.epoch.0, 0);
        let refusal = scene.plan(plan(LeaseId::new(), scene.task)).unwrap_err();
        assert_eq!(refusal.reason(), Reason::HeldAfterKill);
        let named = lease.map_or(scene.task.to_string(), |lease| lease.to_string());
        assert!(refusal.fix_text().unwrap().contains(&named), "{:?}", refusal.fix_text());
        assert_eq!(reason(scene.renew(renew(living, "more"))), Reason::HeldAfterKill);
        let first = scene.now;
        scene.pass(1);
        let Ok(Outcome::Held(again)) = hold(&mut scene, None) else { panic!("it is held") };
        assert_eq!((again.at, again.lease), (first, lease), "the first one stays");
        let key = HoldKey {
            tenant: TenantId::default(),
            agent: agent(AGENT),
            task: scene.task,
            resource: resource(),
        };
        scene.apply(Event::ReleaseHold(ReleaseHold { key })).unwrap();
        scene.plan(plan(LeaseId::new(), scene.task)).unwrap();
    }
}

/// Whatever a caller asks for, there are no more holds than a task has resources.
#[test]
fn what_a_task_does_not_declare_is_not_held() {
    let mut scene = Scene::new();
    let hold = |agent, task, resource: &str| {
        Event::HoldTask(HoldTask {
            tenant: TenantId::default(),
            agent,
            task,
            resource: ResourceName::new(resource).unwrap(),
            by: "operator".to_owned(),
            lease: None,
        })
    };
    let task = scene.task;
    assert_eq!(reason(scene.apply(hold(agent(AGENT), task, "payroll"))), Reason::ScopeExceedsTask);
    assert_eq!(reason(scene.apply(hold(agent("ci/other"), task, "billing-api"))), Reason::TaskNotFound);
    assert!(scene.world.holds.is_empty());
    scene.end(task);
    let ended = scene.apply(hold(agent(AGENT), task, "billing-api")).unwrap();
    assert!(matches!(ended.outcome, Outcome::AlreadyEnded(_)));
}

/// What a decision saw is kept with what it allowed.
#[test]
fn a_lease_remembers_its_decision() {
    let mut scene = Scene::new();
    let counters = Counters { credentials: 3, live: 2, tool_calls: 1 };
    let seen = PlanLease {
        attested: vec!["unix:uid:7".to_owned()],
        attestation_age_secs: 9,
        counters,
        kind: CredentialKind::X509,
        ..plan(LeaseId::new(), scene.task)
    };
    let lease = scene.plan(seen).unwrap();
    assert_eq!(
        (lease.attested[0].as_str(), lease.attestation_age_secs, lease.counters),
        ("unix:uid:7", 9, counters)
    );
    let renewed = scene.renew(renew(lease.id, "more")).unwrap();
    assert_eq!((renewed.attested[0].as_str(), renewed.attestation_age_secs), ("unix:user:ci", 0));
    assert_eq!(renewed.counters, Counters::default());
}
