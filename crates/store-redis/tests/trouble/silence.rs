//! Servers that do not answer, or not in time, and cables that lose an answer.

use crate::world::{Fleet, answer, has_ended, kill, plan, plan_as, said_why, server, settings, why_not};
use std::time::Duration;
use taskpass_lease::Outcome;
use taskpass_servers::{Proxy, until};
use taskpass_store::Store as _;
use taskpass_types::{LeaseId, Reason, TenantId};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    server.kill();
    fleet.refuses().await;
    let look = fleet.brokers[0].task(&TenantId::default(), fleet.task).await;
    assert_eq!(look.unwrap_err().reason(), Reason::StoreUnavailable, "nor is anything told from memory");
    assert!(why_not(settings(server.port())).await.contains("refused"));
    server.restart().await;
    fleet.serves_again().await;
}

/// Whoever ends something while the server is away for a moment need not ask again.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_waits_for_a_server_that_comes_back_soon() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    let [one, two] = &fleet.brokers;
    let lease = plan(one, fleet.task).await.unwrap();
    server.kill();
    // Both know by now that it is gone.
    for store in &fleet.brokers {
        until("it knows", || async { plan(store, fleet.task).await.err() }).await;
    }
    let (ended, ()) = tokio::join!(answer(kill(one, lease)), server.restart());
    assert!(matches!(ended.unwrap(), Outcome::LeaseEnded(_)));
    fleet.serves_again().await;
    assert!(has_ended(two, lease).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    server.pause();
    fleet.refuses().await;
    why_not(settings(server.port())).await;
    server.resume();
    fleet.serves_again().await;
}

/// It answers, and holds what writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_clients_wait() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    server.command(&["CLIENT", "PAUSE", "600000", "WRITE"]).await.accepted();
    fleet.refuses().await;
    server.command(&["CLIENT", "UNPAUSE"]).await.accepted();
    fleet.serves_again().await;
}

/// What is sent into a cable that was cut arrives when it is healed: it happens once, or the caller was not told no.
#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_is_cut() {
    let server = server(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let fleet = Fleet::of([settings(proxy.port()), settings(server.port())]).await;
    proxy.cut();
    let lease = LeaseId::new();
    let granted = answer(plan_as(&fleet.brokers[0], fleet.task, lease)).await;
    said_why(&granted.unwrap_err());
    let look = fleet.brokers[0].lease(&TenantId::default(), lease).await;
    assert_eq!(look.unwrap_err().reason(), Reason::StoreUnavailable);
    plan(&fleet.brokers[1], fleet.task).await.unwrap();
    proxy.heal();
    fleet.serves_again().await;
    plan_as(&fleet.brokers[0], fleet.task, lease).await.unwrap();
    fleet.has_one(lease).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_is_slow() {
    let server = server(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let fleet = Fleet::open(|| settings(proxy.port())).await;
    // Each way; an answer takes twice as long.
    proxy.delay(Duration::from_millis(50));
    fleet.serves_again().await;
    proxy.delay(Duration::from_millis(400));
    fleet.refuses().await;
    proxy.delay(Duration::ZERO);
    fleet.serves_again().await;
}

/// Loses the answer to a write: the cable breaks when the others see what was written, while the answer is on its way.
async fn unheard<T>(proxy: &Proxy, write: impl Future<Output = T>, seen: impl AsyncFn() -> bool) -> T {
    proxy.delay(Duration::from_millis(100));
    let lose = async {
        until("others see it", || async { seen().await.then_some(()) }).await;
        proxy.delay(Duration::ZERO);
        proxy.drop_connections();
    };
    tokio::join!(answer(write), lose).0
}

/// It is found out what became of it, under the same operation id.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost() {
    let server = server(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let fleet = Fleet::of([settings(proxy.port()), settings(server.port())]).await;
    let [one, two] = &fleet.brokers;
    for _ in 0..4 {
        let lease = LeaseId::new();
        let seen = async || two.lease(&TenantId::default(), lease).await.unwrap().is_some();
        let granted = unheard(&proxy, plan_as(one, fleet.task, lease), seen).await.unwrap();
        assert!(!granted.replayed(), "it was done when it was asked for, not again");
        fleet.has_one(lease).await;
        let ended = unheard(&proxy, kill(one, lease), async || has_ended(two, lease).await.unwrap()).await;
        assert!(matches!(ended.unwrap(), Outcome::LeaseEnded(_)));
    }
    // And when it cannot be found out in time, that is what is said.
    let lease = LeaseId::new();
    let seen = async || {
        two.lease(&TenantId::default(), lease).await.unwrap().is_some_and(|_| {
            proxy.cut();
            true
        })
    };
    let refusal = unheard(&proxy, plan_as(one, fleet.task, lease), seen).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::OutcomeUnknown);
    proxy.heal();
    fleet.serves_again().await;
    assert!(plan_as(one, fleet.task, lease).await.unwrap().replayed());
    fleet.has_one(lease).await;
}
