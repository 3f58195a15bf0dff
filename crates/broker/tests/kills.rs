//! Ending many leases at once: what is meant, looking first, holding off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::{collections::BTreeMap, time::Duration};
use support::{World, issue, start, token};
use taskpass_broker::{AfterKill, KillAsk, KillSelector, KillWhat, Killed, StartAsk, WatchAsk};
use taskpass_lease::Wide;
use taskpass_types::{
    AgentId, DenySubject, EndReason, Epoch, LeaseId, Owner, PlanId, Reason, Refusal, ResourceName, TaskId,
    Ttl,
};

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

fn of_agent(name: &str) -> KillSelector {
    KillSelector { agent: Some(agent(name)), ..KillSelector::default() }
}

fn ask(what: KillWhat) -> KillAsk {
    let (why, after) = ("odd reads".to_owned(), AfterKill::Hold);
    KillAsk { what, expect: None, confirm: String::new(), why, after }
}

async fn kill(world: &World, ask: KillAsk) -> Result<Killed, Refusal> {
    world.broker.kill_leases(world.caller("operator"), ask).await
}

async fn lease(world: &World, who: &str, task: TaskId) -> LeaseId {
    world.issue(who, task).await.unwrap().lease.id
}

async fn lives(world: &World, lease: LeaseId) -> bool {
    world.broker.lease(&world.caller("operator"), lease).await.unwrap().end().is_none()
}

/// What a selector means, without its order.
async fn meant(world: &World, selector: KillSelector) -> Vec<LeaseId> {
    let plan = world.broker.plan_kill(world.caller("operator"), selector).await.unwrap();
    let mut ids: Vec<_> = plan.leases.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_selector_means_what_matches_all_of_it() {
    let world = World::new().await;
    let month = |month: &str| StartAsk {
        labels: BTreeMap::from([("month".to_owned(), month.to_owned())]),
        ..start()
    };
    let task = world.broker.start_task(world.caller("ci/bot"), month("nov")).await.unwrap().id;
    world
        .broker
        .adopt_policies(support::policies(&format!(
            "{}\n@id(\"hand-on\") permit (principal, action == Action::\"delegate\", resource);",
            support::POLICY
        )))
        .await
        .unwrap();
    let old = lease(&world, "ci/bot", task).await;
    world.clock.advance(Duration::from_secs(60));
    let child = StartAsk {
        parent: Some(task),
        agent: Some(agent("ci/other")),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ttl: Some(Ttl::from_secs(600).unwrap()),
        ..month("dec")
    };
    let child = world.broker.start_task(world.caller("ci/bot"), child).await.unwrap().id;
    let below = lease(&world, "ci/other", child).await;
    let alone = world.task("ci/other").await.id;
    let beside = lease(&world, "ci/other", alone).await;
    let nothing = KillSelector::default;
    let label = |month: &str| BTreeMap::from([("month".to_owned(), month.to_owned())]);
    for (selector, expected) in [
        (of_agent("ci/bot"), vec![old, below]),
        (of_agent("ci/other"), vec![below, beside]),
        (
            KillSelector { owner: Some(Owner::new("maya@acme.test").unwrap()), ..nothing() },
            vec![old, below, beside],
        ),
        (KillSelector { owner: Some(Owner::new("noor@acme.test").unwrap()), ..nothing() }, vec![]),
        (
            KillSelector { resource: Some(ResourceName::new("billing-api").unwrap()), ..nothing() },
            vec![old, below, beside],
        ),
        (KillSelector { resource: Some(ResourceName::new("mail").unwrap()), ..nothing() }, vec![]),
        (KillSelector { task: Some(task), ..nothing() }, vec![old]),
        (KillSelector { tree: Some(task), ..nothing() }, vec![old, below]),
        (KillSelector { tree: Some(child), ..nothing() }, vec![below]),
        (KillSelector { policy: Some("read".to_owned()), ..nothing() }, vec![old, below, beside]),
        (KillSelector { policy: Some("hand-on".to_owned()), ..nothing() }, vec![]),
        (KillSelector { older_than: Some(Duration::from_secs(60)), ..nothing() }, vec![old]),
        (KillSelector { older_than: Some(Duration::from_secs(61)), ..nothing() }, vec![]),
        (KillSelector { labels: label("dec"), ..nothing() }, vec![below]),
        (KillSelector { labels: label("nov"), ..of_agent("ci/bot") }, vec![old]),
        (KillSelector { labels: label("nov"), ..of_agent("ci/other") }, vec![]),
        (KillSelector { all: true, ..nothing() }, vec![old, below, beside]),
    ] {
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(meant(&world, selector.clone()).await, expected, "{selector:?}");
    }
    for id in [old, below, beside] {
        assert!(lives(&world, id).await, "a look ends nothing");
    }
}

#[tokio::test]
async fn a_selector_that_says_nothing_or_contradicts_itself_is_refused() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    for selector in [
        KillSelector::default(),
        KillSelector { all: true, ..of_agent("ci/bot") },
        KillSelector { task: Some(task), tree: Some(task), ..KillSelector::default() },
    ] {
        let refused = world.broker.plan_kill(world.caller("operator"), selector.clone()).await;
        assert_eq!(refused.unwrap_err().reason(), Reason::FieldInvalid, "{selector:?}");
        let what = KillWhat::Selected(selector.clone());
        let ask = KillAsk { confirm: "default".to_owned(), ..ask(what) };
        assert_eq!(kill(&world, ask).await.unwrap_err().reason(), Reason::FieldInvalid, "{selector:?}");
    }
    let unknown = KillSelector { tree: Some(TaskId::new()), ..KillSelector::default() };
    let refused = world.broker.plan_kill(world.caller("operator"), unknown).await;
    assert_eq!(refused.unwrap_err().reason(), Reason::TaskNotFound);
    let silent = KillAsk { why: " ".to_owned(), ..ask(KillWhat::Selected(of_agent("ci/bot"))) };
    assert_eq!(kill(&world, silent).await.unwrap_err().reason(), Reason::FieldInvalid);
}

#[tokio::test]
async fn all_of_an_agent_ends_by_one_record_and_stays_held() {
    let world = World::new().await;
    let mut feed = world.broker.watch_denies(&world.caller("verifier"), WatchAsk::default()).unwrap();
    feed.next().await.unwrap();
    let (task, other) = (world.task("ci/bot").await.id, world.task("ci/other").await.id);
    let before = world.issue("ci/bot", task).await.unwrap();
    let second = lease(&world, "ci/bot", task).await;
    let spared = lease(&world, "ci/other", other).await;
    let killed = kill(&world, ask(KillWhat::Selected(of_agent("ci/bot")))).await.unwrap();
    assert_eq!((killed.count, killed.wide), (2, Some(Wide::Agent(agent("ci/bot")))));
    assert!(killed.dead.is_some());
    let message = feed.next().await.unwrap();
    let subjects: Vec<_> = message.records.into_iter().map(|record| record.subject).collect();
    assert_eq!((message.epoch, subjects), (Epoch(1), vec![DenySubject::Agent(agent("ci/bot"))]));
    for id in [before.lease.id, second] {
        assert!(!lives(&world, id).await);
        assert_eq!(world.renew("ci/bot", id).await.err().unwrap().reason(), Reason::LeaseEnded);
    }
    assert!(lives(&world, spared).await);
    // Whatever it does now is refused: a new task too.
    assert_eq!(world.issue("ci/bot", task).await.err().unwrap().reason(), Reason::HeldAfterKill);
    let again = world.broker.start_task(world.caller("ci/bot"), start()).await;
    assert_eq!(again.unwrap_err().reason(), Reason::HeldAfterKill);
    let operator = world.caller("operator");
    let held = world.broker.wide_holds(&operator).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!((&held[0].0, held[0].1.by.as_str()), (&Wide::Agent(agent("ci/bot")), "operator/maya"));
    // Lifted, it may ask again; what comes is good, and what was is not.
    let wide = Wide::Agent(agent("ci/bot"));
    assert!(world.broker.lift_hold(operator.clone(), wide.clone()).await.unwrap());
    assert!(!world.broker.lift_hold(operator.clone(), wide).await.unwrap());
    let after = world.issue("ci/bot", task).await.unwrap();
    let good = async |issued| {
        world.broker.introspect(&world.caller("operator"), &token(issued)).await.unwrap().is_some()
    };
    assert!(good(&after).await);
    assert!(!good(&before).await);
}

#[tokio::test]
async fn a_plan_ends_what_it_showed_and_nothing_else() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let (shown, ended) = (lease(&world, "ci/bot", task).await, lease(&world, "ci/bot", task).await);
    let selector = KillSelector { task: Some(task), ..KillSelector::default() };
    let operator = world.caller("operator");
    let plan = world.broker.plan_kill(operator.clone(), selector).await.unwrap();
    world.broker.kill_lease(operator, ended, AfterKill::Reissue, "").await.unwrap();
    let late = lease(&world, "ci/bot", task).await;
    let killed = kill(&world, ask(KillWhat::Planned(plan.id))).await.unwrap();
    assert_eq!((killed.count, killed.ended_before, killed.wide), (1, 1, None));
    assert_eq!((lives(&world, shown).await, lives(&world, late).await), (false, true));
    assert_eq!(world.issue("ci/bot", task).await.err().unwrap().reason(), Reason::HeldAfterKill);
}

#[tokio::test]
async fn more_than_was_looked_at_is_not_ended() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let first = lease(&world, "ci/bot", task).await;
    let plan = world.broker.plan_kill(world.caller("operator"), of_agent("ci/bot")).await.unwrap();
    assert!(plan.wide.is_some());
    let late = lease(&world, "ci/bot", task).await;
    let expecting = |expect| KillAsk { expect: Some(expect), ..ask(KillWhat::Selected(of_agent("ci/bot"))) };
    for refused in [kill(&world, ask(KillWhat::Planned(plan.id))).await, kill(&world, expecting(1)).await] {
        assert_eq!(refused.unwrap_err().reason(), Reason::PlanGrew);
    }
    assert!(lives(&world, first).await && lives(&world, late).await);
    assert_eq!(kill(&world, expecting(2)).await.unwrap().count, 2);
    // A plan is of one broker, and of the last ten minutes.
    let unknown = kill(&world, ask(KillWhat::Planned(PlanId::new()))).await;
    assert_eq!(unknown.unwrap_err().reason(), Reason::PlanNotFound);
    world.clock.advance(Duration::from_secs(600));
    let old = kill(&world, ask(KillWhat::Planned(plan.id))).await;
    assert_eq!(old.unwrap_err().reason(), Reason::PlanNotFound);
}

#[tokio::test]
async fn a_large_kill_says_the_tenants_name() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let first = lease(&world, "ci/bot", task).await;
    let all = || KillWhat::Selected(KillSelector { all: true, ..KillSelector::default() });
    for confirm in ["", "globex", "DEFAULT"] {
        let ask = KillAsk { confirm: confirm.to_owned(), ..ask(all()) };
        assert_eq!(kill(&world, ask).await.unwrap_err().reason(), Reason::FieldInvalid, "`{confirm}`");
    }
    for _ in 0..50 {
        lease(&world, "ci/bot", task).await;
    }
    let under = || KillWhat::Selected(KillSelector { task: Some(task), ..KillSelector::default() });
    assert_eq!(kill(&world, ask(under())).await.unwrap_err().reason(), Reason::FieldInvalid, "51 of them");
    assert!(lives(&world, first).await);
    let confirmed = |what| KillAsk { confirm: "default".to_owned(), ..ask(what) };
    assert_eq!(kill(&world, confirmed(under())).await.unwrap().count, 51);
    assert_eq!(kill(&world, confirmed(all())).await.unwrap().wide, Some(Wide::Tenant));
    // Frozen: nobody gets anything.
    let other = world.broker.start_task(world.caller("ci/other"), start()).await;
    assert_eq!(other.unwrap_err().reason(), Reason::HeldAfterKill);
}

#[tokio::test]
async fn a_quarantine_holds_the_whole_agent_for_its_time() {
    let world = World::new().await;
    let (task, second) = (world.task("ci/bot").await.id, world.task("ci/bot").await.id);
    let killed = lease(&world, "ci/bot", task).await;
    let for_minutes = AfterKill::Quarantine(Duration::from_secs(120));
    let operator = world.caller("operator");
    world.broker.kill_lease(operator, killed, for_minutes, "look at it").await.unwrap();
    assert_eq!(world.issue("ci/bot", second).await.err().unwrap().reason(), Reason::HeldAfterKill);
    let other = world.task("ci/other").await.id;
    let spared = lease(&world, "ci/other", other).await;
    world.clock.advance(Duration::from_secs(120));
    world.issue("ci/bot", task).await.unwrap();
    // Selected, with others: each agent is held.
    let what =
        KillWhat::Selected(KillSelector { policy: Some("read".to_owned()), ..KillSelector::default() });
    let done = kill(&world, KillAsk { after: for_minutes, ..ask(what) }).await.unwrap();
    assert_eq!((done.count, done.wide.is_none(), done.held_until.is_some()), (2, true, true));
    assert!(!lives(&world, spared).await);
    for (who, task) in [("ci/bot", second), ("ci/other", other)] {
        assert_eq!(world.issue(who, task).await.err().unwrap().reason(), Reason::HeldAfterKill, "{who}");
    }
    for span in [Duration::ZERO, Duration::from_secs(31 * 24 * 3600)] {
        let ask =
            KillAsk { after: AfterKill::Quarantine(span), ..ask(KillWhat::Selected(of_agent("ci/bot"))) };
        assert_eq!(kill(&world, ask).await.unwrap_err().reason(), Reason::FieldInvalid, "{span:?}");
    }
}

#[tokio::test]
async fn agents_may_ask_again_at_once_if_that_is_said() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let before = lease(&world, "ci/bot", task).await;
    let again = KillAsk { after: AfterKill::Reissue, ..ask(KillWhat::Selected(of_agent("ci/bot"))) };
    assert_eq!(kill(&world, again).await.unwrap().count, 1);
    let after = lease(&world, "ci/bot", task).await;
    assert_eq!((lives(&world, before).await, lives(&world, after).await), (false, true));
    assert!(world.broker.wide_holds(&world.caller("operator")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_frozen_tenant_keeps_what_is_out_and_gives_nothing() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let issued = world.issue("ci/bot", task).await.unwrap();
    let operator = world.caller("operator");
    let why = world.broker.hold_wide(operator.clone(), Wide::Tenant, None, "").await;
    assert_eq!(why.unwrap_err().reason(), Reason::FieldInvalid);
    world.broker.hold_wide(operator.clone(), Wide::Tenant, None, "incident 42").await.unwrap();
    assert!(lives(&world, issued.lease.id).await);
    assert_eq!(world.renew("ci/bot", issued.lease.id).await.err().unwrap().reason(), Reason::HeldAfterKill);
    assert_eq!(
        world.broker.issue(world.caller("ci/bot"), issue(task)).await.err().unwrap().reason(),
        Reason::HeldAfterKill
    );
    assert!(world.broker.lift_hold(operator, Wide::Tenant).await.unwrap());
    world.renew("ci/bot", issued.lease.id).await.unwrap();
}

#[tokio::test]
async fn only_an_operator_ends_many_or_holds_off() {
    let world = World::new().await;
    let wide = || Wide::Agent(agent("ci/other"));
    for who in ["ci/bot", "orchestrator", "verifier"] {
        let caller = || world.caller(who);
        let what = KillWhat::Selected(of_agent("ci/other"));
        let refusals = [
            world.broker.plan_kill(caller(), of_agent("ci/other")).await.err(),
            world.broker.kill_leases(caller(), ask(what)).await.err(),
            world.broker.hold_wide(caller(), wide(), None, "why").await.err(),
            world.broker.lift_hold(caller(), wide()).await.err(),
            world.broker.wide_holds(&caller()).await.err(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.unwrap().reason(), Reason::NotPermitted, "{who}");
        }
        let refused = world.entries().await.into_iter().filter(|entry| entry.code == "TP602F").count();
        assert!(refused >= 5, "{who}: it is written down");
    }
}

#[tokio::test]
async fn a_kill_does_not_wait_for_the_audit_log() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let lease = lease(&world, "ci/bot", task).await;
    world.audit.fail_next(100);
    assert_eq!(kill(&world, ask(KillWhat::Selected(of_agent("ci/bot")))).await.unwrap().count, 1);
    assert!(!lives(&world, lease).await);
}

#[tokio::test]
async fn a_workload_ends_its_own_tasks_and_no_other() {
    let world = World::new().await;
    let (own, foreign) = (world.task("ci/bot").await.id, world.task("ci/other").await.id);
    let lease = lease(&world, "ci/other", foreign).await;
    for reason in [EndReason::Completed, EndReason::Cancelled] {
        let refused = world.broker.end_task(world.caller("ci/bot"), foreign, reason, "mine").await;
        assert_eq!(refused.unwrap_err().reason(), Reason::TaskNotFound, "{reason}");
        let refused = world.broker.end_task(world.caller("verifier"), foreign, reason, "mine").await;
        assert_eq!(refused.unwrap_err().reason(), Reason::TaskNotFound, "{reason}");
    }
    assert!(lives(&world, lease).await);
    world.broker.end_task(world.caller("ci/bot"), own, EndReason::Completed, "").await.unwrap();
    world.broker.end_task(world.caller("orchestrator"), foreign, EndReason::Cancelled, "late").await.unwrap();
    assert!(!lives(&world, lease).await);
}
