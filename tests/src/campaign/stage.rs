//! The servers of a scene, and what strikes them where there is more than one.

use super::{Fault, Scene, files};
use crate::until;
use fastrand::Rng;
use std::time::Duration;
use taskpass_servers::{Cluster, Options, Proxy, Reply, Sentinels, Server};
use tokio::time::sleep;

/// The key that decides in which slot a ledger is.
const SLOT_KEY: &str = "{taskpass}:control";

/// The servers of a scene.
pub(super) struct Stage {
    servers: Servers,
    /// The way of each broker to a server that is alone.
    pub(super) links: Vec<Proxy>,
}

enum Servers {
    Alone(Box<Server>),
    Cluster(Cluster),
    Sentinels(Sentinels),
}

impl Stage {
    /// Starts the servers; gives each broker's table about its ledger.
    pub(super) async fn set(scene: Scene) -> (Self, Vec<String>) {
        let ledger = |place: &str| format!("[store.redis]\n{place}\n");
        let durable = "durability = \"durable\"\nreplicas = 1";
        match scene {
            Scene::Alone(kind) => {
                let options = Options { lines: vec![files::ONE_FILE.to_owned()], ..Options::default() };
                let server = Server::start(kind, options).await;
                let links = [Proxy::start(server.port()).await, Proxy::start(server.port()).await];
                let place = |link: &Proxy| ledger(&format!("address = \"127.0.0.1:{}\"", link.port()));
                let ledgers = links.iter().map(place).collect();
                (Self { servers: Servers::Alone(Box::new(server)), links: links.into() }, ledgers)
            }
            Scene::Cluster(kind) => {
                let cluster = Cluster::start(kind, 3, 1).await;
                let place = format!("cluster = [{}]\n{durable}", listed(&cluster.addresses()));
                (Self { servers: Servers::Cluster(cluster), links: Vec::new() }, vec![ledger(&place); 2])
            }
            Scene::Sentinels(kind) => {
                let sentinels = Sentinels::start(kind, 1).await;
                let (service, addresses) = (sentinels.service(), listed(&sentinels.addresses()));
                let place =
                    format!("sentinel = {{ service = \"{service}\", addresses = [{addresses}] }}\n{durable}");
                (Self { servers: Servers::Sentinels(sentinels), links: Vec::new() }, vec![ledger(&place); 2])
            }
        }
    }

    /// The server that is alone.
    pub(super) fn server(&self) -> &Server {
        match &self.servers {
            Servers::Alone(server) => server,
            _ => panic!("there are several servers"),
        }
    }

    /// Strikes, and waits until there is a primary with a replica again.
    pub(super) async fn strike(&self, fault: Fault, span: Duration, random: &mut Rng) {
        match &self.servers {
            Servers::Sentinels(sentinels) => strike_sentinels(sentinels, fault, span).await,
            Servers::Cluster(cluster) if fault == Fault::SlotMoved => move_slot(cluster, random).await,
            Servers::Cluster(cluster) => strike_cluster(cluster, fault, span).await,
            Servers::Alone(_) => panic!("{fault:?} needs several servers"),
        }
    }
}

fn listed(addresses: &[String]) -> String {
    addresses.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ")
}

async fn strike_sentinels(sentinels: &Sentinels, fault: Fault, span: Duration) {
    sentinels.in_sync().await;
    let old = sentinels.primary().await;
    let primary = sentinels.server(old);
    let replica = sentinels.servers().iter().find(|server| server.port() != old).unwrap();
    match fault {
        Fault::ReplicaKilled => {
            replica.kill();
            sleep(span).await;
            replica.restart().await;
            return sentinels.wait_ready().await;
        }
        Fault::PrimaryReplaced => {
            let ask = ["SENTINEL", "FAILOVER", sentinels.service()];
            // Refused until it has looked at the replica again.
            let asked = async || match sentinels.sentinels()[0].command(&ask).await {
                Reply::Error(_) => None,
                _ => Some(()),
            };
            until("the Sentinel to promote the replica", asked).await;
        }
        Fault::PrimaryFrozen => primary.pause(),
        Fault::PrimaryKilledBehindLag => {
            replica.pause();
            sleep(span).await;
            primary.kill();
            replica.resume();
        }
        _ => primary.kill(),
    }
    sentinels.wait_for_another_primary(old).await;
    match fault {
        Fault::PrimaryFrozen => primary.resume(),
        Fault::PrimaryReplaced => {}
        _ => primary.restart().await,
    }
    sentinels.wait_ready().await;
}

async fn strike_cluster(cluster: &Cluster, fault: Fault, span: Duration) {
    let slot = cluster.slot_of(SLOT_KEY).await;
    let old = cluster.owner(slot).await;
    let (primary, replica) = (cluster.node(old), cluster.replica_of(old).await);
    primary.in_sync(replica).await;
    match fault {
        Fault::ReplicaKilled => {
            replica.kill();
            sleep(span).await;
            replica.restart().await;
            return primary.in_sync(replica).await;
        }
        Fault::PrimaryReplaced => drop(cluster.failover(slot).await),
        Fault::PrimaryFrozen => primary.pause(),
        Fault::PrimaryKilledBehindLag => {
            replica.pause();
            sleep(span / 2).await;
            primary.kill();
            replica.resume();
        }
        _ => primary.kill(),
    }
    let new = cluster.wait_for_another_owner(slot, old).await;
    match fault {
        Fault::PrimaryFrozen => primary.resume(),
        Fault::PrimaryReplaced => {}
        _ => primary.restart().await,
    }
    cluster.node(new).in_sync(primary).await;
}

/// Moves the slot of the ledger to another primary, while brokers use it.
async fn move_slot(cluster: &Cluster, random: &mut Rng) {
    let slot = cluster.slot_of(SLOT_KEY).await;
    let owner = cluster.owner(slot).await;
    let mut others = Vec::new();
    for probe in ["{a}", "{b}", "{c}", "{d}", "{e}", "{f}"] {
        let other = cluster.owner(cluster.slot_of(probe).await).await;
        if other != owner && !others.contains(&other) {
            others.push(other);
        }
    }
    let to = others[random.usize(..others.len())];
    cluster.migrate(slot, to).await;
}
