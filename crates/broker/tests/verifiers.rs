//! Who follows the feed, what each may learn, and what receipts say of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::{sync::Arc, time::Duration};
use support::{
    World, issue,
    meddled::{Lives, Meddled},
    start,
};
use taskpass_broker::{
    Acknowledged, AfterKill, Dead, DenyFeed, Enforcement, FeedMessage, Standing, WatchAsk,
};
use taskpass_types::{
    Clock as _, EndReason, Epoch, HistoryId, Reason, ResourceName, SessionId, TaskId, TenantId,
};

const MAX_STALE: Duration = Duration::from_secs(5);

fn guard(resource: &str, instance: &str) -> WatchAsk {
    WatchAsk {
        resume: None,
        audience: Some(ResourceName::new(resource).unwrap()),
        instance: instance.to_owned(),
        max_stale: Some(MAX_STALE),
    }
}

/// A verifier that has heard all there is, and what it heard.
async fn follow(world: &World, instance: &str) -> (DenyFeed, FeedMessage) {
    let mut feed =
        world.broker.watch_denies(&world.caller("verifier"), guard("billing-api", instance)).unwrap();
    let first = feed.next().await.unwrap();
    (feed, first)
}

/// Says that it enforces what it heard in `first`, up to `epoch`.
fn acknowledge(world: &World, first: &FeedMessage, epoch: Epoch) -> Result<(), Reason> {
    let said = Acknowledged { session: first.session.unwrap(), history: first.history, epoch };
    world.broker.acknowledge_denies(&world.caller("verifier"), said).map_err(|refusal| refusal.reason())
}

async fn complete(world: &World, task: TaskId) -> Dead {
    let done = world.broker.end_task(world.caller("ci/bot"), task, EndReason::Completed, "").await.unwrap();
    Dead::task(&done).unwrap()
}

async fn enforcement(world: &World, dead: &Dead, wait: Duration) -> Enforcement {
    world.broker.enforcement(&TenantId::default(), dead, wait).await
}

#[tokio::test]
async fn a_verifier_learns_only_of_what_it_guards() {
    let world = World::new().await;
    let mail = world.caller("mail-verifier");
    for ask in [WatchAsk::default(), guard("billing-api", "")] {
        let refusal = world.broker.watch_denies(&mail, ask).err().unwrap();
        assert_eq!(refusal.reason(), Reason::NotPermitted);
        assert!(refusal.fix_text().is_some_and(|fix| fix.contains("[[verifiers]]")));
    }
    let mut guards = world.broker.watch_denies(&mail, guard("mail", "")).unwrap();
    let (mut billing, first) = follow(&world, "web-1").await;
    assert_eq!(guards.next().await.unwrap().epoch, Epoch(0));
    let task = world.task("ci/bot").await;
    let dead = complete(&world, task.id).await;
    let (told, other) = (billing.next().await.unwrap(), guards.next().await.unwrap());
    assert_eq!((told.records.len(), told.epoch), (1, Epoch(1)));
    assert_eq!(
        (other.records.len(), other.epoch),
        (0, Epoch(1)),
        "it has everything up to there all the same"
    );
    acknowledge(&world, &first, told.epoch).unwrap();
    let enforcement = enforcement(&world, &dead, Duration::ZERO).await;
    assert_eq!((enforcement.enforced, enforcement.all), (1, 1), "the other one is not concerned");
}

#[tokio::test]
async fn a_receipt_names_who_enforces_an_end_and_who_may_still_accept() {
    let world = World::new().await;
    let (mut prompt, first) = follow(&world, "web-1").await;
    let (mut slow, _) = follow(&world, "web-2").await;
    let (cut, _) = follow(&world, "web-3").await;
    drop(cut);
    world.clock.advance(Duration::from_secs(2));
    let task = world.task("ci/bot").await;
    let dead = complete(&world, task.id).await;
    let ended_at = world.clock.now();
    world.clock.advance(Duration::from_millis(3));
    let told = prompt.next().await.unwrap();
    acknowledge(&world, &first, told.epoch).unwrap();
    slow.next().await.unwrap();
    let enforcement = enforcement(&world, &dead, Duration::ZERO).await;
    let standings: Vec<_> =
        enforcement.verifiers.iter().map(|verifier| (verifier.name.as_str(), verifier.standing)).collect();
    assert_eq!(
        standings,
        [
            ("billing-api/web-2", Standing::Waiting { accepts_until: ended_at.plus(MAX_STALE) }),
            ("billing-api/web-3", Standing::Offline { accepts_until: support::START.plus(MAX_STALE) }),
            ("billing-api/web-1", Standing::Enforces { after: Duration::from_millis(3) }),
        ]
    );
    assert_eq!((enforcement.enforced, enforcement.all), (1, 3));
    assert_eq!(enforcement.accepted_until, Some(ended_at.plus(MAX_STALE)));
}

#[tokio::test]
async fn who_waits_is_told_as_soon_as_everybody_enforces_it() {
    let world = World::new().await;
    let (mut feed, first) = follow(&world, "web-1").await;
    let task = world.task("ci/bot").await;
    let dead = complete(&world, task.id).await;
    let told = feed.next().await.unwrap();
    let waiting = enforcement(&world, &dead, Duration::from_secs(60));
    let (enforcement, ()) = tokio::join!(waiting, async { acknowledge(&world, &first, told.epoch).unwrap() });
    assert!(enforcement.is_complete());
}

#[tokio::test]
async fn a_verifier_that_claims_more_than_it_was_sent_is_unproven() {
    let world = World::new().await;
    let (mut feed, first) = follow(&world, "web-1").await;
    let task = world.task("ci/bot").await;
    // Before the record can have been sent.
    assert_eq!(acknowledge(&world, &first, Epoch(1)), Err(Reason::FieldInvalid));
    let dead = complete(&world, task.id).await;
    let told = feed.next().await.unwrap();
    acknowledge(&world, &first, told.epoch).unwrap();
    let report = enforcement(&world, &dead, Duration::ZERO).await;
    assert!(matches!(report.verifiers[0].standing, Standing::Unproven { .. }), "{report:?}");
    assert_eq!((report.enforced, report.all), (0, 1));

    // Of another life of the store, or on a stream of nobody.
    let (_, second) = follow(&world, "web-2").await;
    let other = FeedMessage { history: HistoryId([9; 16]), ..second.clone() };
    assert_eq!(acknowledge(&world, &other, Epoch(1)), Err(Reason::FieldInvalid));
    let nobody = FeedMessage { session: Some(SessionId::new()), ..second };
    assert_eq!(acknowledge(&world, &nobody, Epoch(1)), Err(Reason::FieldInvalid));
}

#[tokio::test]
async fn a_verifier_is_remembered_for_as_long_as_it_may_accept() {
    let world = World::new().await;
    let (feed, _) = follow(&world, "web-1").await;
    drop(feed);
    let task = world.task("ci/bot").await;
    let dead = complete(&world, task.id).await;
    assert_eq!(enforcement(&world, &dead, Duration::ZERO).await.all, 1);
    // It comes back: one verifier, not two.
    let (feed, first) = follow(&world, "web-1").await;
    acknowledge(&world, &first, first.epoch).unwrap();
    let report = enforcement(&world, &dead, Duration::ZERO).await;
    assert_eq!((report.enforced, report.all), (1, 1));
    drop(feed);
    world.clock.advance(MAX_STALE + Duration::from_millis(1));
    assert_eq!(enforcement(&world, &dead, Duration::ZERO).await.all, 0);
}

#[tokio::test]
async fn one_that_comes_back_for_a_moment_and_hears_nothing_is_not_forgotten() {
    let world = World::new().await;
    let (feed, _) = follow(&world, "web-1").await;
    drop(feed);
    let verifier = world.caller("verifier");
    drop(world.broker.watch_denies(&verifier, guard("billing-api", "web-1")).unwrap());
    let task = world.task("ci/bot").await;
    let dead = complete(&world, task.id).await;
    let report = enforcement(&world, &dead, Duration::ZERO).await;
    let accepts_until = support::START.plus(MAX_STALE);
    assert_eq!(report.verifiers[0].standing, Standing::Offline { accepts_until }, "{report:?}");
}

#[tokio::test]
async fn a_lease_s_end_concerns_its_resource_alone() {
    let world = World::new().await;
    let task = world.broker.start_task(world.caller("ci/bot"), start()).await.unwrap();
    let lease = world.broker.issue(world.caller("ci/bot"), issue(task.id)).await.unwrap().lease;
    let (_feed, first) = follow(&world, "web-1").await;
    let _mail = world.broker.watch_denies(&world.caller("mail-verifier"), guard("mail", "")).unwrap();
    let killed =
        world.broker.kill_lease(world.caller("operator"), lease.id, AfterKill::Reissue, "").await.unwrap();
    let report = enforcement(&world, &Dead::lease(&killed).unwrap(), Duration::ZERO).await;
    assert_eq!((report.enforced, report.all), (0, 1));
    assert!(acknowledge(&world, &first, Epoch(0)).is_ok());
}

/// A world whose store can begin another life, and a verifier that follows it.
async fn mortal() -> (World, Arc<Lives>, DenyFeed) {
    let lives = Arc::new(Lives::default());
    let own = lives.clone();
    let world = World::with(move |store| Meddled::reborn(store, own)).await;
    let (feed, _) = follow(&world, "web-1").await;
    (world, lives, feed)
}

#[tokio::test]
async fn what_was_read_while_the_store_began_another_life_is_not_told() {
    let (world, lives, mut feed) = mortal().await;
    let task = world.task("ci/bot").await;
    complete(&world, task.id).await;
    *lives.next.lock() = Some(HistoryId([9; 16]));
    let refused = feed.next().await.unwrap_err();
    assert_eq!(refused.reason(), Reason::StoreUnavailable);
}

#[tokio::test]
async fn news_are_of_the_life_in_which_they_came_and_not_of_the_one_in_which_they_were_waited_for() {
    let (world, lives, mut feed) = mortal().await;
    let other = HistoryId([9; 16]);
    let task = world.task("ci/bot").await;
    let dies = async {
        // The feed waits by now: nothing else is to be done.
        tokio::task::yield_now().await;
        *lives.now.lock() = Some(other);
        complete(&world, task.id).await;
    };
    let (message, ()) = tokio::join!(feed.next(), dies);
    assert_eq!(message.unwrap().history, other);
}
