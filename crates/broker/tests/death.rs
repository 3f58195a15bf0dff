//! How things end: declared, by time, by silence, by drift, by kill; and that the feed tells all of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::time::Duration;
use support::{World, issue, meddled::Meddled, policies, start};
use taskpass_broker::{AfterKill, Held, Resume, StartAsk, WatchAsk};
use taskpass_lease::Lease;
use taskpass_types::{DenySubject, EndReason, Epoch, HistoryId, LeaseId, Reason, TenantId, Ttl};

async fn reason(world: &World, lease: LeaseId) -> Option<EndReason> {
    let lease = world.store.lease(&TenantId::default(), lease).await.unwrap().unwrap();
    lease.end().map(|end| end.reason)
}

#[tokio::test]
async fn completing_is_one_deny_record_whatever_is_below() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let mut leases: Vec<Lease> = Vec::new();
    for _ in 0..300 {
        leases.push(world.issue("ci/bot", task.id).await.unwrap().lease);
    }
    let ended =
        world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    assert_eq!(ended.end().unwrap().epoch, Some(Epoch(1)));
    let denies = world.store.denies_after(&TenantId::default(), Epoch(0), 10).await.unwrap();
    assert_eq!(denies.records.len(), 1);
    assert_eq!(denies.records[0].subject, DenySubject::Task(task.id));
    // Nothing is marked yet, and everything is dead already, and shown so.
    assert_eq!(reason(&world, leases[0].id).await, None);
    let shown = world.broker.lease(&world.caller("ci/bot"), leases[0].id).await.unwrap();
    assert_eq!(shown.end(), ended.end());
    let live = taskpass_store::LeaseQuery { active: true, ..Default::default() };
    assert!(world.broker.leases(&world.caller("ci/bot"), live).await.unwrap().items.is_empty());
    assert_eq!(world.renew("ci/bot", leases[0].id).await.err().unwrap().reason(), Reason::TaskEnded);
    assert_eq!(world.issue("ci/bot", task.id).await.err().unwrap().reason(), Reason::TaskEnded);
    // The reconciler marks it, in slices, and writes down each.
    world.broker.work_off_schedule().await.unwrap();
    for lease in &leases {
        assert_eq!(reason(&world, lease.id).await, Some(EndReason::Completed));
    }
    let settled = world.entries().await.iter().filter(|entry| entry.code == "TP204S").count();
    assert_eq!(settled, leases.len());
    // Repeating is harmless, and later ends change nothing.
    let again =
        world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    assert_eq!(again.end(), ended.end());
    let killed =
        world.broker.end_task(world.caller("operator"), task.id, EndReason::Cancelled, "").await.unwrap();
    assert_eq!(killed.end(), ended.end());
}

#[tokio::test]
async fn a_deadline_ends_a_task_and_it_cannot_be_called_complete_afterwards() {
    let world = World::new().await;
    let ask = StartAsk { ttl: Some(Ttl::from_secs(60).unwrap()), ..start() };
    let task = world.broker.start_task(world.caller("ci/bot"), ask).await.unwrap();
    let lease = world.issue("ci/bot", task.id).await.unwrap().lease.id;
    world.clock.advance(Duration::from_secs(59));
    world.broker.work_off_schedule().await.unwrap();
    assert!(world.broker.task(&world.caller("ci/bot"), task.id).await.unwrap().end().is_none());
    world.clock.advance(Duration::from_secs(1));
    // Also before any reconciler came by.
    assert_eq!(world.issue("ci/bot", task.id).await.err().unwrap().reason(), Reason::TaskEnded);
    world.broker.work_off_schedule().await.unwrap();
    let ended = world.broker.task(&world.caller("ci/bot"), task.id).await.unwrap();
    assert_eq!(ended.end().unwrap().reason, EndReason::TimedOut);
    assert!(reason(&world, lease).await.is_some());
    let late =
        world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap_err();
    assert_eq!(late.reason(), Reason::TaskEnded);
    let codes: Vec<_> = world.entries().await.into_iter().map(|entry| (entry.code, entry.reason)).collect();
    for code in ["TP103I", "TP103S"] {
        assert!(codes.contains(&(code.to_owned(), Some("timed_out".to_owned()))), "{code}: {codes:?}");
    }
}

#[tokio::test]
async fn silence_ends_a_task_and_a_heartbeat_keeps_it() {
    let world = World::new().await;
    let ask = StartAsk { heartbeat: Some(Ttl::from_secs(10).unwrap()), ..start() };
    let task = world.broker.start_task(world.caller("ci/bot"), ask).await.unwrap();
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(20));
        world.broker.work_off_schedule().await.unwrap();
        world.broker.heartbeat(world.caller("ci/bot"), task.id).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(30));
    world.broker.work_off_schedule().await.unwrap();
    let ended = world.broker.task(&world.caller("ci/bot"), task.id).await.unwrap();
    assert_eq!(ended.end().unwrap().reason, EndReason::Silent);
    let late = world.broker.heartbeat(world.caller("ci/bot"), task.id).await.unwrap_err();
    assert_eq!(late.reason(), Reason::TaskEnded);
    assert!(world.entries().await.iter().any(|entry| entry.code == "TP102S"));
}

#[tokio::test]
async fn other_policies_end_what_they_no_longer_allow_and_nothing_else() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let lease = world.issue("ci/bot", task.id).await.unwrap().lease.id;
    world.broker.adopt_policies(policies(&format!("{}\n// the same\n", support::POLICY))).await.unwrap();
    assert_eq!(world.broker.decide_anew().await.unwrap(), 0);
    world
        .broker
        .adopt_policies(policies("permit (principal == Agent::\"ci/other\", action, resource);"))
        .await
        .unwrap();
    assert_eq!(world.broker.decide_anew().await.unwrap(), 1);
    assert_eq!(reason(&world, lease).await, Some(EndReason::Drifted));
    assert_eq!(world.issue("ci/bot", task.id).await.err().unwrap().reason(), Reason::PolicyDenied);
    assert!(world.broker.task(&world.caller("ci/bot"), task.id).await.unwrap().end().is_none());
    assert_eq!(world.broker.decide_anew().await.unwrap(), 0, "what has ended is not ended again");
    let drifted =
        world.entries().await.into_iter().filter(|entry| entry.reason.as_deref() == Some("drifted"));
    assert_eq!(drifted.map(|entry| entry.code).collect::<Vec<_>>(), ["TP203I", "TP203S"]);
}

#[tokio::test]
async fn a_killed_agent_is_held_until_released() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let operator = world.caller("operator");
    let lease = world.issue("ci/bot", task.id).await.unwrap().lease.id;
    world.broker.kill_lease(operator.clone(), lease, AfterKill::Hold, "odd reads").await.unwrap();
    assert_eq!(world.renew("ci/bot", lease).await.err().unwrap().reason(), Reason::LeaseEnded);
    assert_eq!(world.issue("ci/bot", task.id).await.err().unwrap().reason(), Reason::HeldAfterKill);
    assert!(world.broker.release_hold(operator.clone(), Held::Lease(lease)).await.unwrap());
    assert!(!world.broker.release_hold(operator.clone(), Held::Lease(lease)).await.unwrap());
    let second = world.issue("ci/bot", task.id).await.unwrap().lease.id;
    world.broker.kill_lease(operator, second, AfterKill::Reissue, "rotate").await.unwrap();
    assert!(world.issue("ci/bot", task.id).await.is_ok(), "without a hold it may ask again");
}

#[tokio::test]
async fn who_may_not_kill_or_release_is_written_down() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let lease = world.issue("ci/bot", task.id).await.unwrap().lease.id;
    let unknown = LeaseId::new();
    for (who, id, reason) in [
        ("ci/bot", lease, Reason::NotPermitted),
        ("ci/other", lease, Reason::NotPermitted),
        ("orchestrator", lease, Reason::NotPermitted),
        ("verifier", lease, Reason::NotPermitted),
        ("operator", unknown, Reason::LeaseNotFound),
    ] {
        let before = world.entries().await.len();
        let killed = world.broker.kill_lease(world.caller(who), id, AfterKill::Hold, "").await.unwrap_err();
        let released = world.broker.release_hold(world.caller(who), Held::Lease(id)).await.unwrap_err();
        assert_eq!((killed.reason(), released.reason()), (reason, reason), "{who}");
        let written: Vec<_> = world.entries().await.split_off(before);
        let refusals: Vec<_> = written.iter().filter(|entry| entry.code == "TP602F").collect();
        assert_eq!(refusals.len(), 2, "{who}: {written:?}");
        for refusal in refusals {
            assert_eq!(refusal.refusal.as_deref(), Some(reason.code()), "{who}");
            assert_eq!(refusal.lease, Some(id.to_string()), "{who}");
        }
    }
    assert_eq!(reason(&world, lease).await, None);
}

#[tokio::test]
async fn the_feed_tells_every_end_once_and_resumes_where_a_verifier_was() {
    let world = World::new().await;
    let verifier = world.caller("verifier");
    assert_eq!(
        world.broker.watch_denies(&world.caller("ci/bot"), WatchAsk::default()).err().unwrap().reason(),
        Reason::NotPermitted
    );
    let mut feed = world.broker.watch_denies(&verifier, WatchAsk::default()).unwrap();
    let first = feed.next().await.unwrap();
    assert!(first.snapshot && first.records.is_empty());
    assert!(first.keys.is_some_and(|keys| keys.jwks.contains("ES256") && keys.ca_certificates.len() == 1));

    let task = world.task("ci/bot").await;
    let lease = world.broker.issue(world.caller("ci/bot"), issue(task.id)).await.unwrap().lease.id;
    world.broker.kill_lease(world.caller("operator"), lease, AfterKill::Reissue, "").await.unwrap();
    world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    let (mut reached, mut subjects) = (first.epoch, Vec::new());
    while reached < Epoch(2) {
        let message = feed.next().await.unwrap();
        assert_eq!((message.after, message.snapshot), (reached, false));
        reached = message.epoch;
        subjects.extend(message.records.into_iter().map(|record| record.subject));
    }
    assert_eq!(subjects, [DenySubject::Lease(lease), DenySubject::Task(task.id)]);
    let heartbeat = feed.next().await.unwrap();
    assert!(heartbeat.records.is_empty() && heartbeat.epoch == Epoch(2) && heartbeat.keys.is_none());

    let resume = |history, epoch| WatchAsk {
        resume: Some(Resume { history, epoch: Epoch(epoch) }),
        ..WatchAsk::default()
    };
    let mut resumed = world.broker.watch_denies(&verifier, resume(first.history, 1)).unwrap();
    let message = resumed.next().await.unwrap();
    assert_eq!((message.snapshot, message.after, message.records.len()), (false, Epoch(1), 1));
    for stranger in [resume(HistoryId([7; 16]), 1), resume(first.history, 99)] {
        let mut feed = world.broker.watch_denies(&verifier, stranger).unwrap();
        let (message, then) = (feed.next().await.unwrap(), feed.next().await.unwrap());
        assert!(message.snapshot, "another history, or a future of this one, begins anew");
        assert_eq!(message.records.len() + then.records.len(), 2);
    }
}

#[tokio::test]
async fn deny_records_are_forgotten_when_what_they_deny_has_expired() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    let lease = world.issue("ci/bot", task.id).await.unwrap().lease;
    world.broker.kill_lease(world.caller("operator"), lease.id, AfterKill::Reissue, "").await.unwrap();
    let count =
        async || world.store.denies_after(&TenantId::default(), Epoch(0), 10).await.unwrap().records.len();
    world.clock.advance(lease.expires_at.since(support::START));
    world.broker.work_off_schedule().await.unwrap();
    assert_eq!(count().await, 1, "a verifier's leeway may still accept it");
    world.clock.advance(Duration::from_secs(6));
    world.broker.work_off_schedule().await.unwrap();
    assert_eq!(count().await, 0);
    let forgotten = world.entries().await.into_iter().filter(|entry| entry.code == "TP302S");
    assert_eq!(forgotten.map(|entry| entry.count).collect::<Vec<_>>(), [Some(1)]);
}

#[tokio::test]
async fn what_cannot_be_ended_holds_up_nothing_that_comes_behind_it() {
    let world = World::with(|store| Meddled::late(store, 1)).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(world.task("ci/bot").await);
    }
    world.clock.advance(tasks[2].deadline.since(support::START));
    assert_eq!(world.broker.work_off_schedule().await.unwrap_err().reason(), Reason::StoreUnavailable);
    let ended = async || {
        let mut ended = 0;
        for task in &tasks {
            let found = world.store.task(&TenantId::default(), task.id).await.unwrap().unwrap();
            ended += usize::from(found.end().is_some());
        }
        ended
    };
    assert_eq!(ended().await, 2);
    world.broker.work_off_schedule().await.unwrap();
    assert_eq!(ended().await, 3);
}
