//! What a receipt says of each lease, by what verifiers said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::time::Duration;
use support::{World, start};
use taskpass_broker::{
    Acknowledged, AfterKill, Closure, Dead, DenyFeed, FeedMessage, Probed, StartAsk, WatchAsk,
};
use taskpass_crypto::{TokenKeys, jws::ClosedOutcome};
use taskpass_types::{AgentId, Clock as _, EndReason, Epoch, LeaseId, Reason, ResourceName, TaskId, Ttl};
use tokio::task::JoinSet;

const MAX_STALE: Duration = Duration::from_secs(5);

/// A verifier of `billing-api` on its stream.
struct Guard {
    feed: DenyFeed,
    first: FeedMessage,
}

impl Guard {
    async fn new(world: &World, name: &str) -> Self {
        let ask = WatchAsk {
            audience: Some(ResourceName::new("billing-api").unwrap()),
            instance: name.to_owned(),
            max_stale: Some(MAX_STALE),
            ..WatchAsk::default()
        };
        let mut feed = world.broker.watch_denies(&world.caller("verifier"), ask).unwrap();
        let first = feed.next().await.unwrap();
        Self { feed, first }
    }

    /// Reads on until it has this record.
    async fn hear(&mut self, epoch: u64) {
        while self.feed.next().await.unwrap().epoch < Epoch(epoch) {}
    }

    fn say(&self, world: &World, epoch: u64) -> Result<(), Reason> {
        let said = Acknowledged {
            session: self.first.session.unwrap(),
            history: self.first.history,
            epoch: Epoch(epoch),
        };
        let said = world.broker.acknowledge_denies(&world.caller("verifier"), said);
        said.map_err(|refusal| refusal.reason())
    }

    /// Enforces it, and answers what it is asked meanwhile.
    async fn answer(&mut self, world: &World, epoch: u64, refused: bool) -> Vec<LeaseId> {
        loop {
            let message = self.feed.next().await.unwrap();
            if message.probes.is_empty() {
                continue;
            }
            assert!(message.epoch >= Epoch(epoch), "it was sent the end before");
            self.say(world, message.epoch.0).unwrap();
            let asked: Vec<_> = message.probes.iter().map(|marker| marker.lease).collect();
            let answers: Vec<_> = asked.iter().map(|lease| Probed { lease: *lease, refused }).collect();
            let session = self.first.session.unwrap();
            world.broker.answer_probes(&world.caller("verifier"), session, &answers).unwrap();
            return asked;
        }
    }

    async fn enforce(&mut self, world: &World, epoch: u64) {
        self.hear(epoch).await;
        self.say(world, epoch).unwrap();
    }
}

async fn lease(world: &World, who: &str, task: TaskId) -> LeaseId {
    world.issue(who, task).await.unwrap().lease.id
}

async fn complete(world: &World, task: TaskId) {
    world.broker.end_task(world.caller("ci/bot"), task, EndReason::Completed, "").await.unwrap();
}

async fn close(world: &World, task: TaskId) -> Closure {
    world.broker.close_task(world.caller("ci/bot"), task, Duration::ZERO).await.unwrap()
}

/// Of the only lease.
fn outcome(closure: &Closure) -> ClosedOutcome {
    assert_eq!(closure.receipt.leases.len(), 1, "{:?}", closure.receipt);
    closure.receipt.leases[0].outcome
}

#[tokio::test]
async fn each_outcome_is_what_verifiers_said() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let lease = lease(&world, "ci/bot", task).await;
    complete(&world, task).await;
    // Nobody who could refuse it is known.
    let closure = close(&world, task).await;
    assert_eq!(outcome(&closure), ClosedOutcome::ExpiresBy);
    let expires = closure.receipt.leases[0].expires_at;
    assert!(closure.receipt.leases[0].until.unwrap() >= expires);

    let (mut one, two) = (Guard::new(&world, "web-1").await, Guard::new(&world, "web-2").await);
    assert_eq!(outcome(&close(&world, task).await), ClosedOutcome::Retrying, "they follow, and say nothing");
    one.say(&world, 1).unwrap();
    assert_eq!(outcome(&close(&world, task).await), ClosedOutcome::Retrying, "one of two");
    two.say(&world, 1).unwrap();
    let closure = close(&world, task).await;
    assert_eq!(outcome(&closure), ClosedOutcome::DeadUnprobed);
    assert_eq!((closure.receipt.leases[0].id, closure.receipt.leases[0].until), (lease, None));
    assert_eq!(closure.receipt.open_until(), None);

    // Who is gone may accept for as long as it said that it does.
    let next = world.task("ci/bot").await.id;
    self::lease(&world, "ci/bot", next).await;
    drop(two.feed);
    complete(&world, next).await;
    one.enforce(&world, 2).await;
    let closure = close(&world, next).await;
    assert_eq!(outcome(&closure), ClosedOutcome::ExpiresBy);
    let until = closure.receipt.leases[0].until.unwrap();
    assert!(until <= world.clock.now().plus(MAX_STALE), "{until}");

    // Who claims what it was not sent is believed nothing.
    assert_eq!(one.say(&world, 99), Err(Reason::FieldInvalid));
    assert_eq!(outcome(&close(&world, next).await), ClosedOutcome::Stuck);
}

#[tokio::test]
async fn who_hears_and_does_nothing_is_stuck_after_its_bound() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let mut guard = Guard::new(&world, "web-1").await;
    lease(&world, "ci/bot", task).await;
    complete(&world, task).await;
    guard.hear(1).await;
    assert_eq!(outcome(&close(&world, task).await), ClosedOutcome::Retrying);
    world.clock.advance(MAX_STALE + Duration::from_secs(1));
    assert_eq!(outcome(&close(&world, task).await), ClosedOutcome::Stuck);
    // Everything under it expires by itself all the same.
    world.clock.advance(Duration::from_secs(600));
    let closure = close(&world, task).await;
    assert_eq!(outcome(&closure), ClosedOutcome::ExpiresBy);
    assert!(closure.receipt.open_until().unwrap() <= world.clock.now());
}

#[tokio::test]
async fn a_receipt_has_the_whole_tree_and_earlier_ends_and_is_signed() {
    let world = World::new().await;
    let hand_on = r#"permit (principal, action == Action::"delegate", resource);"#;
    world.broker.adopt_policies(support::policies(&format!("{}{hand_on}", support::POLICY))).await.unwrap();
    let task = world.task("ci/bot").await.id;
    let killed = lease(&world, "ci/bot", task).await;
    world.broker.kill_lease(world.caller("operator"), killed, AfterKill::Reissue, "").await.unwrap();
    let own = lease(&world, "ci/bot", task).await;
    let child = StartAsk {
        parent: Some(task),
        agent: Some(AgentId::new("ci/other").unwrap()),
        scopes: ["billing-api:invoice:read".parse().unwrap()].into(),
        ttl: Some(Ttl::from_secs(600).unwrap()),
        ..start()
    };
    let child = world.broker.start_task(world.caller("ci/bot"), child).await.unwrap().id;
    let below = lease(&world, "ci/other", child).await;
    let refused = world.broker.close_task(world.caller("ci/bot"), task, Duration::ZERO).await;
    assert_eq!(refused.unwrap_err().reason(), Reason::TaskRunning);
    complete(&world, task).await;

    // Marked by the reconciler or not.
    for _ in 0..2 {
        let Closure { receipt, signed, jwks } = close(&world, task).await;
        let mut ids: Vec<_> = receipt.leases.iter().map(|lease| lease.id).collect();
        ids.sort_unstable();
        let mut expected = vec![killed, own, below];
        expected.sort_unstable();
        assert_eq!((ids, receipt.leases_total, receipt.tasks_below), (expected, 3, 1));
        assert_eq!((receipt.task.reason, receipt.task.epoch), (EndReason::Completed, Some(Epoch(2))));
        let keys = TokenKeys::parse(jwks.as_bytes()).unwrap();
        assert_eq!(keys.verify_closure(&signed).unwrap(), receipt);
        let entries = world.entries().await;
        let (seq, hash) = receipt.audit.split_once(':').unwrap();
        let entry = entries.iter().find(|entry| entry.seq.to_string() == seq).unwrap();
        assert_eq!((entry.code.as_str(), entry.task.as_deref()), ("TP105I", Some(task.to_string().as_str())));
        assert_eq!(hash.len(), 64);
        world.broker.work_off_schedule().await.unwrap();
    }
}

#[tokio::test]
async fn who_may_not_see_the_task_gets_no_receipt_and_nothing_is_signed_that_is_not_written_down() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    complete(&world, task).await;
    for who in ["ci/other", "verifier"] {
        let refused = world.broker.close_task(world.caller(who), task, Duration::ZERO).await;
        assert_eq!(refused.unwrap_err().reason(), Reason::TaskNotFound, "{who}");
    }
    for who in ["orchestrator", "operator"] {
        world.broker.close_task(world.caller(who), task, Duration::ZERO).await.unwrap();
    }
    world.audit.fail_next(1);
    let refused = world.broker.close_task(world.caller("ci/bot"), task, Duration::ZERO).await;
    assert_eq!(refused.unwrap_err().reason(), Reason::AuditUnavailable);
}

#[tokio::test]
async fn a_lease_is_confirmed_dead_once_who_was_asked_refuses_it() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let lease = lease(&world, "ci/bot", task).await;
    let mut guard = Guard::new(&world, "web-1").await;
    complete(&world, task).await;
    let close = world.broker.close_task(world.caller("ci/bot"), task, Duration::from_secs(60));
    let (closure, asked) = tokio::join!(close, guard.answer(&world, 1, true));
    assert_eq!((outcome(&closure.unwrap()), asked), (ClosedOutcome::DeadConfirmed, vec![lease]));
    // Asked once is enough.
    assert_eq!(outcome(&self::close(&world, task).await), ClosedOutcome::DeadConfirmed);
}

#[tokio::test]
async fn who_accepts_what_it_was_told_is_dead_is_believed_nothing() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    lease(&world, "ci/bot", task).await;
    let mut guard = Guard::new(&world, "web-1").await;
    complete(&world, task).await;
    let close = world.broker.close_task(world.caller("ci/bot"), task, Duration::from_millis(200));
    let (closure, _) = tokio::join!(close, guard.answer(&world, 1, false));
    let closure = closure.unwrap();
    assert_eq!(outcome(&closure), ClosedOutcome::Stuck);
    assert_eq!(closure.receipt.verifiers[0].state, "unproven");
}

#[tokio::test]
async fn nobody_answers_what_it_was_not_asked() {
    let world = World::new().await;
    let guard = Guard::new(&world, "web-1").await;
    let answer = [Probed { lease: LeaseId::new(), refused: true }];
    let session = guard.first.session.unwrap();
    let unasked = world.broker.answer_probes(&world.caller("verifier"), session, &answer);
    assert_eq!(unasked.unwrap_err().reason(), Reason::FieldInvalid);
    let foreign = world.broker.answer_probes(&world.caller("ci/bot"), session, &answer);
    assert_eq!(foreign.unwrap_err().reason(), Reason::NotPermitted);
    drop(guard.feed);
    let gone = world.broker.answer_probes(&world.caller("verifier"), session, &[]);
    assert_eq!(gone.unwrap_err().reason(), Reason::FieldInvalid);
}

/// A verifier forgets why it refuses what has expired; to ask it all the same would be to accuse it.
#[tokio::test]
async fn nobody_is_asked_about_a_lease_that_has_expired() {
    let world = World::new().await;
    let task = world.task("ci/bot").await.id;
    let lease = lease(&world, "ci/bot", task).await;
    let operator = world.caller("operator");
    world.broker.kill_lease(operator.clone(), lease, AfterKill::Reissue, "").await.unwrap();
    world.clock.advance(Duration::from_secs(301));
    let mut guard = Guard::new(&world, "web-1").await;
    guard.say(&world, 1).unwrap();
    // Killed once more, long after.
    let again = world.broker.kill_lease(operator, lease, AfterKill::Reissue, "").await.unwrap();
    let dead = Dead::lease(&again).unwrap();
    let known = world.broker.enforcement(&again.tenant, &dead, Duration::from_secs(60)).await;
    assert_eq!((known.probed.asked, known.is_complete()), (0, true));
    complete(&world, task).await;
    assert!(guard.feed.next().await.unwrap().probes.is_empty());
}

/// Each has all leases of a task in memory.
#[tokio::test]
async fn only_so_many_receipts_are_made_at_a_time() {
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    world.issue("ci/bot", task.id).await.unwrap();
    world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    world.audit.hold(true);
    let mut closing = JoinSet::new();
    for _ in 0..40 {
        let (broker, caller) = (world.broker.clone(), world.caller("ci/bot"));
        closing.spawn(async move { broker.close_task(caller, task.id, Duration::ZERO).await.is_ok() });
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
        assert!(world.audit.waiting() <= 16);
    }
    assert_eq!(world.audit.waiting(), 16);
    world.audit.hold(false);
    assert_eq!(closing.join_all().await, [true; 40]);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_verifier_is_in_nobodys_way() {
    const WAIT: Duration = Duration::from_secs(60);
    let world = World::new().await;
    let task = world.task("ci/bot").await;
    world.issue("ci/bot", task.id).await.unwrap();
    // It never says anything, so every receipt waits for it to the end.
    let _silent = Guard::new(&world, "silent").await;
    world.broker.end_task(world.caller("ci/bot"), task.id, EndReason::Completed, "").await.unwrap();
    let began = tokio::time::Instant::now();
    let closing = (0..40).map(|_| world.broker.close_task(world.caller("ci/bot"), task.id, WAIT));
    let closed = futures::future::join_all(closing).await;
    assert!(closed.iter().all(Result::is_ok));
    assert!((WAIT..2 * WAIT).contains(&began.elapsed()), "{:?}", began.elapsed());
}
