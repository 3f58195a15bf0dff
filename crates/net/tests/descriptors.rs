//! No file descriptors left: the accept loop pauses and comes back. Alone in its process, because the limit is the
//! process's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use support::{Server, ask};
use taskpass_net::Limits;

const BOT: &str = "spiffe://acme.test/ci/bot";

#[tokio::test]
async fn the_accept_loop_survives_without_descriptors() {
    let server = Server::start(Limits::default()).await;
    let client = server.client(&server.ca.svid(BOT));
    assert_eq!(server.ask(&client).await.unwrap(), BOT);
    // Its descriptor must not come back in the middle of the test.
    while !server.acceptor.connections().is_empty() {
        tokio::task::yield_now().await;
    }

    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(1000).collect();
    assert!(taken.len() < 64);
    // One descriptor for the client's end; none is left for the server's.
    taken.pop();
    let connecting = client.connect(server.address);
    tokio::pin!(connecting);
    let refused = tokio::time::timeout(std::time::Duration::from_millis(100), &mut connecting).await;
    assert!(refused.is_err(), "without a descriptor nobody is accepted");
    drop(taken);
    let mut stream = connecting.await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), BOT);
}
