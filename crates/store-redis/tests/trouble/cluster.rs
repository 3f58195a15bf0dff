//! A Cluster whose slots move, or are nobody's.

use crate::world::{Fleet, address, at, has_ended, kill, plan, plan_as, said_why, why_not};
use taskpass_servers::{Cluster, Kind, until};
use taskpass_store_redis::{Place, Settings};
use taskpass_types::LeaseId;

fn settings(cluster: &Cluster) -> Settings {
    at(Place::Cluster(cluster.nodes().iter().map(|node| address(node.port())).collect()))
}

/// The slot of the ledger and the ports of two primaries: who has it, and who has not.
async fn slot(cluster: &Cluster) -> (u16, u16, u16) {
    let slot = cluster.slot_of("{taskpass}:control").await;
    let owner = cluster.owner(slot).await;
    let other =
        cluster.nodes().iter().map(taskpass_servers::Server::port).find(|port| *port != owner).unwrap();
    (slot, owner, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_under_load() {
    for kind in Kind::ALL {
        let cluster = Cluster::start(kind, 2, 0).await;
        let fleet = Fleet::open(|| settings(&cluster)).await;
        let (slot, mut from, mut to) = slot(&cluster).await;
        for _ in 0..2 {
            let mut granted = Vec::new();
            let stop = tokio_util::sync::CancellationToken::new();
            let working = async {
                while !stop.is_cancelled() {
                    for store in &fleet.brokers {
                        match plan(store, fleet.task).await {
                            Ok(lease) => granted.push(lease),
                            Err(refusal) => said_why(&refusal),
                        }
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            let moving = async {
                cluster.migrate(slot, to).await;
                fleet.serves_again().await;
                stop.cancel();
            };
            tokio::join!(working, moving);
            assert!(!granted.is_empty());
            for lease in granted {
                for store in &fleet.brokers {
                    assert!(!has_ended(store, lease).await.unwrap(), "what was granted is there");
                }
            }
            std::mem::swap(&mut from, &mut to);
        }
    }
}

/// Half of the keys are here, half there: who needs both is told to try again, who needs what is gone to ask elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_half_way() {
    let cluster = Cluster::start(Kind::Redis, 2, 0).await;
    let fleet = Fleet::open(|| settings(&cluster)).await;
    let (slot, _, to) = slot(&cluster).await;
    let lease = plan(&fleet.brokers[0], fleet.task).await.unwrap();
    let from = cluster.begin_migration(slot, to).await;
    // New pages would have to be made there, which nobody does while the others are here.
    let asked = LeaseId::new();
    said_why(&plan_as(&fleet.brokers[0], fleet.task, asked).await.unwrap_err());
    cluster.move_keys(slot, from, to).await;
    fleet.refuses().await;
    let said = why_not(settings(&cluster)).await;
    assert!(said.contains("Ask"), "{said}");
    cluster.end_migration(slot, from, to).await;
    fleet.serves_again().await;
    for store in &fleet.brokers {
        assert!(!has_ended(store, lease).await.unwrap());
    }
    assert!(!plan_as(&fleet.brokers[1], fleet.task, asked).await.unwrap().replayed());
    fleet.has_one(asked).await;
    kill(&fleet.brokers[0], lease).await.unwrap();
}

/// While some slot has no server the whole Cluster refuses, also where the ledger is.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_down() {
    let cluster = Cluster::start(Kind::Redis, 3, 0).await;
    let fleet = Fleet::open(|| settings(&cluster)).await;
    let (_, owner, other) = slot(&cluster).await;
    cluster.node(other).kill();
    until("it is down", || async {
        let state = cluster.node(owner).command(&["CLUSTER", "INFO"]).await.text()?;
        state.contains("cluster_state:fail").then_some(())
    })
    .await;
    fleet.refuses().await;
    let said = why_not(settings(&cluster)).await;
    assert!(said.contains("ClusterDown"), "{said}");
    cluster.node(other).restart().await;
    until("it is up", || async {
        let state = cluster.node(owner).command(&["CLUSTER", "INFO"]).await.text()?;
        state.contains("cluster_state:ok").then_some(())
    })
    .await;
    fleet.serves_again().await;
}
