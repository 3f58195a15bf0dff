//! A ledger that lost something, while the server is in trouble too: what was lost stays known until it was dealt with.

use crate::world::{Fleet, RECOVERY, at, plan, said_why, server};
use std::time::Duration;
use taskpass_servers::{Kind, Proxy, Replicated, Reply, until};
use taskpass_store::Store as _;
use taskpass_store_redis::{Address, Durability, Place, Settings};

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

/// Brokers see a write that no replica confirmed, and find a primary without it: nobody was told of it, so nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_confirmed_is_no_loss() {
    let servers = Replicated::start(Kind::Redis, 1, &[]).await;
    let address = Proxy::start(servers.primary().port()).await;
    let fleet = Fleet::open(|| durable(address.port())).await;
    let replica = servers.replica(0);
    servers.primary().in_sync(replica).await;
    servers.cut(0);
    let sequence = async |server: &taskpass_servers::Server| {
        server.command(&["HGET", "{taskpass}:control", "sequence"]).await.text().unwrap()
    };
    said_why(&plan(&fleet.brokers[0], fleet.task).await.expect_err("nobody confirms it"));
    // Both look for the ledger anew and find it where it was, with that write.
    let looked = until("both looked", async || {
        let log = servers.primary().command(&["INFO", "stats"]).await.text().unwrap();
        let of = |log: &str| {
            log.lines().find_map(|line| line.strip_prefix("total_connections_received:")?.parse::<u64>().ok())
        };
        of(&log).filter(|connections| *connections > 40)
    });
    tokio::time::timeout(RECOVERY, looked).await.expect("they look again and again");
    assert!(sequence(servers.primary()).await != sequence(replica).await);
    servers.promote(0).await;
    servers.primary().command(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]).await.accepted();
    replica.in_sync(servers.primary()).await;
    address.lead_to(replica.port());
    fleet.serves_again().await;
    let mended = replica.command(&["HEXISTS", "{taskpass}:control", "mended"]).await;
    assert_eq!(mended, Reply::Int(0), "nothing was lost");
}

fn durable(port: u16) -> Settings {
    let place = Place::Single(Address { host: "127.0.0.1".to_owned(), port });
    let patience = Duration::from_secs(2);
    Settings { durability: Durability::Durable { replicas: 1 }, patience, ..at(place) }
}
