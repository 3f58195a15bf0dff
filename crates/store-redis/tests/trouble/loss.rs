//! A ledger that lost something, while the server is in trouble too: what was lost stays known until it was dealt with.

use crate::world::{Fleet, RECOVERY, plan, said_why, server};
use std::time::Duration;
use taskpass_servers::Reply;
use taskpass_store::Store as _;

/// A first try to begin anew fails; the next must not take the empty ledger for a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_not_forgotten_when_it_cannot_be_written_down_at_once() {
    let server = server(&[]).await;
    let fleet = Fleet::at(&server).await;
    // No room: nothing can be begun.
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.accepted();
    server.command(&["FLUSHALL"]).await.accepted();
    // Long enough for several tries.
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.accepted();
    let begun = async {
        let asked = ["HEXISTS", "{taskpass}:control", "generation"];
        while server.command(&asked).await != Reply::Int(1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(RECOVERY, begun).await.expect("it begins anew");
    let mending = server.command(&["HGET", "{taskpass}:control", "mending"]).await.text();
    assert_eq!(mending.as_deref(), Some("1"), "what was signed before has to be cut off first");
    for store in &fleet.brokers {
        let mut mending = store.mending();
        let told = mending.wait_for(|mending| *mending);
        tokio::time::timeout(RECOVERY, told).await.expect("every broker is told").unwrap();
        said_why(&plan(store, fleet.task).await.unwrap_err());
    }
}
