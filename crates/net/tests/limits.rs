//! What a hostile or crowded network can take, and how serving ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use futures::future::join_all;
use std::{net::Ipv4Addr, time::Duration};
use support::{Server, ask, closed, connect_from};
use taskpass_net::{Drained, Limits};
use tokio::time::Instant;

const BOT: &str = "spiffe://acme.test/ci/bot";

#[tokio::test]
async fn silent_connections_end_while_a_good_client_is_served() {
    let limits = Limits { handshake_timeout: Duration::from_secs(2), ..Limits::default() };
    let server = Server::start(limits).await;
    let silent = join_all((0..300).map(|_| connect_from(Ipv4Addr::new(127, 0, 0, 2), server.address))).await;
    let client = server.client(&server.ca.svid(BOT));
    assert_eq!(server.ask(&client).await.unwrap(), BOT);
    join_all(silent.into_iter().map(|stream| async move { closed(&mut stream.unwrap()).await })).await;
}

#[tokio::test]
async fn a_source_gets_no_more_than_its_share() {
    let server = Server::start(Limits { connections_per_source: 2, ..Limits::default() }).await;
    let mut client = server.client(&server.ca.svid(BOT));
    let mut first = client.connect(server.address).await.unwrap();
    let mut second = client.connect(server.address).await.unwrap();
    assert_eq!((ask(&mut first).await.unwrap(), ask(&mut second).await.unwrap()), (BOT.into(), BOT.into()));
    assert!(server.ask(&client).await.is_err(), "a third connection was served");
    client.from = Ipv4Addr::new(127, 0, 0, 2);
    assert_eq!(server.ask(&client).await.unwrap(), BOT, "another source is not affected");
}

#[tokio::test]
async fn connections_are_capped_in_all() {
    let server = Server::start(Limits { connections: 1, ..Limits::default() }).await;
    let mut client = server.client(&server.ca.svid(BOT));
    let mut first = client.connect(server.address).await.unwrap();
    assert_eq!(ask(&mut first).await.unwrap(), BOT);
    client.from = Ipv4Addr::new(127, 0, 0, 2);
    assert!(server.ask(&client).await.is_err());

    // A closed connection gives its place back.
    let peer = server.acceptor.connections().peers().remove(0);
    peer.kill();
    closed(&mut first).await;
    assert_eq!(server.ask(&client).await.unwrap(), BOT);
}

#[tokio::test]
async fn a_kill_ends_a_connection_that_waits_in_a_read() {
    let server = Server::start(Limits::default()).await;
    let client = server.client(&server.ca.svid(BOT));
    let (mut doomed, mut spared) =
        (client.connect(server.address).await.unwrap(), client.connect(server.address).await.unwrap());
    assert_eq!((ask(&mut doomed).await.unwrap(), ask(&mut spared).await.unwrap()), (BOT.into(), BOT.into()));
    let remote = doomed.get_ref().0.local_addr().unwrap().to_string();
    assert_eq!(server.acceptor.connections().kill_where(|peer| peer.remote() == remote), 1);
    closed(&mut doomed).await;
    assert_eq!(ask(&mut spared).await.unwrap(), BOT);
}

#[tokio::test]
async fn age_and_silence_end_connections() {
    const SPAN: Duration = Duration::from_secs(1);
    let ends =
        [Limits { connection_age: SPAN, ..Limits::default() }, Limits { idle: SPAN, ..Limits::default() }]
            .map(async |limits| {
                let server = Server::start(limits).await;
                let mut stream = server.client(&server.ca.svid(BOT)).connect(server.address).await.unwrap();
                closed(&mut stream).await;
            });
    join_all(ends).await;
}

#[tokio::test]
async fn who_talks_is_not_idle() {
    const IDLE: Duration = Duration::from_secs(2);
    let server = Server::start(Limits { idle: IDLE, ..Limits::default() }).await;
    let mut stream = server.client(&server.ca.svid(BOT)).connect(server.address).await.unwrap();
    // Without a pause, for longer than it may be idle.
    let begun = Instant::now();
    while begun.elapsed() < IDLE + IDLE / 2 {
        assert_eq!(ask(&mut stream).await.unwrap(), BOT);
    }
}

#[tokio::test]
async fn a_drain_waits_for_who_is_there_and_lets_nobody_in() {
    let server = Server::start(Limits::default()).await;
    let client = server.client(&server.ca.svid(BOT));
    let mut stream = client.connect(server.address).await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), BOT);
    server.drain.stop();
    assert_eq!(ask(&mut stream).await.unwrap(), BOT, "what is connected goes on");
    let finishing = server.drain.finish(Duration::from_secs(60));
    let leaving = async {
        while connect_from(Ipv4Addr::LOCALHOST, server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        drop(stream);
    };
    let (drained, ()) = tokio::join!(finishing, leaving);
    assert_eq!(drained, Drained::InTime);
}

#[tokio::test]
async fn a_drain_kills_who_does_not_leave() {
    let server = Server::start(Limits::default()).await;
    let mut stream = server.client(&server.ca.svid(BOT)).connect(server.address).await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), BOT);
    assert!(
        matches!(server.drain.finish(Duration::from_millis(50)).await, Drained::Killed(left) if left > 0)
    );
    closed(&mut stream).await;
    assert!(server.acceptor.connections().is_empty());
}

#[tokio::test]
async fn a_drain_does_not_wait_for_handshakes() {
    let server =
        Server::start(Limits { handshake_timeout: Duration::from_secs(3600), ..Limits::default() }).await;
    let mut silent = connect_from(Ipv4Addr::LOCALHOST, server.address).await.unwrap();
    // Who came later is served, so the silent one is in its handshake by now.
    assert_eq!(server.ask(&server.client(&server.ca.svid(BOT))).await.unwrap(), BOT);
    assert_eq!(server.drain.finish(Duration::from_secs(60)).await, Drained::InTime);
    closed(&mut silent).await;
}
