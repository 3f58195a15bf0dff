//! Silence and clocks: what is not heard is not trusted, unless that was chosen; and no clock, ours or the broker's, makes
//! old news fresh.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use common::{Broker, MAX_STALE, T0, grant, lease, reached, time};
use std::{sync::Arc, time::Duration};
use taskpass_proto::v1::WatchDeniesResponse;
use taskpass_types::{Grant, ManualClock};
use taskpass_verify::{Rejected, Verifier};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

fn code(result: Result<impl Sized, Rejected>) -> &'static str {
    result.err().map_or("accepted", |rejected| rejected.code())
}

#[tokio::test]
async fn by_choice_what_is_held_counts_until_it_expires() {
    let mut broker = Broker::start();
    let verifier = broker.builder().until_expiry().start().unwrap();
    let (token, gone) = (broker.token(&grant()), grant());
    let session = broker.session().await;
    assert_eq!(session.request.max_stale, None, "the broker is told so");
    assert_eq!(code(verifier.verify_token(&token)), "not_ready", "nothing was heard yet");
    session.say(broker.snapshot(1, vec![lease(1, &gone)])).await;
    verifier.ready().await;
    let granted = verifier.verify_token(&token).unwrap();
    broker.clock.advance(Duration::from_secs(299));
    assert!(verifier.staleness() > Some(MAX_STALE * 4));
    assert!(verifier.verify_token(&token).is_ok() && verifier.recheck(&granted).is_ok());
    assert_eq!(code(verifier.verify_token(&broker.token(&gone))), "denied");
    broker.clock.advance(Duration::from_secs(6));
    assert_eq!(
        (code(verifier.verify_token(&token)), code(verifier.recheck(&granted))),
        ("expired", "expired")
    );
}

#[tokio::test]
async fn whoever_says_nothing_is_strict() {
    let mut broker = Broker::start();
    let audience = Verifier::builder(broker.channel.clone()).audience("billing-api");
    let _verifier = audience.start().unwrap();
    let limit = broker.session().await.request.max_stale.unwrap();
    assert_eq!((limit.seconds, limit.nanos), (5, 0));
}

#[tokio::test]
async fn the_first_request_after_a_minute_of_sleep_is_refused() {
    let mut broker = Broker::start();
    let verifier = broker.builder().max_stale(SECOND * 5).start().unwrap();
    let session = broker.session().await;
    session.say(broker.snapshot(0, vec![])).await;
    verifier.ready().await;
    let gone = grant();
    let granted = verifier.verify_token(&broker.token(&gone)).unwrap();
    broker.clock.advance(SECOND * 60);
    assert_eq!(code(verifier.recheck(&granted)), "feed_stale");
    assert_eq!(code(verifier.verify_token(&broker.token(&grant()))), "feed_stale");
    // Fresh news, read on the old connection: good again, and what ended meanwhile is not.
    session.say(broker.delta(0, vec![lease(1, &gone)])).await;
    reached(&verifier, 1).await;
    assert_eq!(code(verifier.verify_token(&broker.token(&grant()))), "accepted");
    assert_eq!(code(verifier.recheck(&granted)), "denied");
}

/// A verifier whose two clocks go their own ways.
struct Clocks {
    wall: Arc<ManualClock>,
    stopwatch: Arc<ManualClock>,
}

#[tokio::test]
async fn a_wall_clock_that_is_set_changes_expiry_and_not_freshness() {
    let mut broker = Broker::start();
    let clocks = Clocks {
        wall: Arc::new(ManualClock::new(T0)),
        stopwatch: Arc::new(ManualClock::new(T0.minus(HOUR))),
    };
    let verifier = broker.builder().clocks(clocks.wall.clone(), clocks.stopwatch.clone()).start().unwrap();
    let session = broker.session().await;
    let gone = grant();
    session.say(broker.snapshot(1, vec![lease(1, &gone)])).await;
    verifier.ready().await;
    clocks.wall.advance(HOUR);
    assert_eq!(verifier.staleness(), Some(Duration::ZERO));
    assert_eq!(code(verifier.verify_token(&broker.token(&grant()))), "expired");
    let late = Grant { issued_at: T0.plus(HOUR), expires_at: T0.plus(HOUR * 2), ..grant() };
    assert_eq!(code(verifier.verify_token(&broker.token(&late))), "accepted");
    clocks.stopwatch.advance(MAX_STALE + SECOND);
    assert_eq!(code(verifier.verify_token(&broker.token(&late))), "feed_stale");
    assert_eq!(code(verifier.verify_token(&broker.token(&gone))), "expired");
}

#[tokio::test]
async fn news_from_the_future_is_no_fresher_than_now_and_ends_the_session() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    // The broker's clock was set, or another broker's is another: what dates messages no longer holds.
    let ahead = |message| WatchDeniesResponse { send_time: time(T0.plus(HOUR)), ..message };
    session.say(ahead(broker.delta(0, vec![lease(1, &grant())]))).await;
    reached(&verifier, 1).await;
    // Sent at the same time, and read only now.
    let old = ahead(broker.delta(1, vec![lease(2, &grant())]));
    broker.clock.advance(MAX_STALE + SECOND);
    drop(session.answers.send(Ok(old)).await);
    let anew = broker.session().await;
    assert_eq!(code(verifier.verify_token(&broker.token(&grant()))), "feed_stale");
    assert_eq!(anew.request.epoch, 1, "resumed");
    anew.say(ahead(broker.delta(1, vec![]))).await;
    anew.say(ahead(broker.delta(1, vec![lease(2, &grant())]))).await;
    reached(&verifier, 2).await;
    assert_eq!(code(verifier.verify_token(&broker.token(&grant()))), "accepted", "fixed to each other anew");
}

#[tokio::test]
async fn a_brokers_clock_that_is_set_back_makes_nothing_fresher() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    broker.clock.advance(MAX_STALE);
    let behind = |message| WatchDeniesResponse { send_time: time(T0.minus(HOUR)), ..message };
    session.say(behind(broker.delta(0, vec![lease(1, &grant())]))).await;
    reached(&verifier, 1).await;
    assert_eq!(verifier.staleness(), Some(MAX_STALE), "dated from the beginning of the session");
    assert_eq!(broker.session().await.request.epoch, 1, "given up and resumed");
}
