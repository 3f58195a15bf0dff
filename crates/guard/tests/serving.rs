//! Connections: how many, how long, and how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

mod support;

use std::time::Duration;
use support::Running;
use taskpass_guard::Limits;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(30);
const ALIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: guard\r\n\r\n";

/// One answer on a connection that stays open.
async fn alive(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> String {
    stream.write_all(ALIVE).await.unwrap();
    let mut said = vec![0; 4096];
    let length = timeout(PATIENCE, stream.read(&mut said)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(said.get(..length).unwrap()).into_owned()
}

#[tokio::test]
async fn there_are_only_so_many_connections_and_a_place_is_given_back() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let running = Running::deaf(limits).await;
    let mut first = running.local().await;
    assert!(alive(&mut first).await.contains("200 OK"));
    let mut second = running.local().await;
    {
        let waiting = alive(&mut second);
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            said = &mut waiting => panic!("{said}"),
            said = alive(&mut first) => assert!(said.contains("200 OK"), "the one that has the place is served"),
        }
        drop(first);
        assert!(waiting.await.contains("200 OK"));
    }
}

#[tokio::test]
async fn a_drain_ends_idle_connections_and_listens_no_more() {
    let (running, _session) = Running::start().await;
    let mut idle = running.local().await;
    assert!(alive(&mut idle).await.contains("200 OK"));
    running.stop.cancel();
    timeout(PATIENCE, running.work.wait()).await.expect("the end");
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap_or(0), 0, "it was closed");
    assert!(tokio::net::UnixStream::connect(&running.socket).await.is_err());
    assert!(tokio::net::TcpStream::connect(running.open).await.is_err());
}
