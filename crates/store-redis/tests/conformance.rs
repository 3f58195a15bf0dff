//! Redis and Valkey against the suite: alone, behind Sentinels, as a Cluster, with TLS; each broker after another one, and
//! with the server started anew in between.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::{sync::Arc, time::Duration};
use taskpass_lease::Limits;
use taskpass_servers::{Cluster, Kind, Options, Sentinels, Server};
use taskpass_store::conformance::Home;
use taskpass_store_redis::{
    Address, Durability, OpenError, Place, RedisBackend, RedisStore, Settings, TlsFiles,
};
use taskpass_types::LeaseId;

fn address(address: &str) -> Address {
    let (host, port) = address.rsplit_once(':').unwrap();
    Address { host: host.to_owned(), port: port.parse().unwrap() }
}

/// A ledger of its own in some place, and what has to live as long.
struct Fleet<S> {
    servers: S,
    place: Place,
    tls: Option<TlsFiles>,
    durability: Durability,
    ledger: String,
}

impl<S: Clone> Fleet<S> {
    fn at(servers: &S, place: Place, durability: Durability) -> Self {
        Self { servers: servers.clone(), place, tls: None, durability, ledger: LeaseId::new().to_string() }
    }
}

impl<S> Fleet<S> {
    async fn connect(&self, limits: Limits) -> RedisStore {
        let settings = || Settings {
            place: self.place.clone(),
            ledger: self.ledger.clone(),
            account: None,
            sentinel_account: None,
            tls: self.tls.clone(),
            durability: self.durability,
            patience: Duration::from_secs(2),
        };
        loop {
            match RedisBackend::open(settings(), limits.clone(), None).await {
                Ok(backend) => return RedisStore::new(backend),
                // The server was started anew and reads its file.
                Err(OpenError::Unreachable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

impl<S: Send + Sync + 'static> Home for Fleet<S> {
    type Store = RedisStore;

    fn open(&self, limits: Limits) -> RedisStore {
        wait(self.connect(limits))
    }

    /// Another broker takes over; the first one is gone without a word.
    fn crash(&self, store: RedisStore, limits: Limits) -> RedisStore {
        drop(store);
        self.open(limits)
    }
}

fn single(server: &Arc<Server>) -> Fleet<Arc<Server>> {
    Fleet::at(server, Place::Single(address(&server.address())), Durability::Standard { replicas: 0 })
}

mod redis {
    //! One server per behaviour.
    use super::*;
    taskpass_store::conformance_suite!(single(&Arc::new(
        Server::start(Kind::Redis, Options::default()).await
    )));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey() {
    let server = Arc::new(Server::start(Kind::Valkey, Options::default()).await);
    taskpass_store::conformance_in_turn!(single(&server));
}

/// The server is killed too, and reads its append-only file.
struct Restarted(Fleet<Arc<Server>>);

impl Home for Restarted {
    type Store = RedisStore;

    fn open(&self, limits: Limits) -> RedisStore {
        self.0.open(limits)
    }

    fn crash(&self, store: RedisStore, limits: Limits) -> RedisStore {
        drop(store);
        self.0.servers.kill();
        wait(self.0.servers.restart());
        self.open(limits)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_servers_of_both_kinds() {
    for kind in Kind::ALL {
        let server = Arc::new(Server::start(kind, Options::default()).await);
        let home = || Restarted(single(&server));
        // Not `a_history_outlives_its_process`: a server that was started anew begins another history.
        taskpass_store::conformance_in_turn!(home();
            a_task_starts_and_its_leases_live_under_it,
            the_same_request_gets_the_same_answer,
            a_repeat_after_the_end_says_ended,
            only_the_policies_in_force_count,
            quotas_count_what_runs_and_what_was_issued,
            one_deny_record_ends_a_tree,
            nothing_comes_to_life_under_an_end,
            a_hold_lasts_until_it_is_released,
            epochs_are_contiguous_and_read_in_order,
            standing_sees_every_kind_of_end,
            deadlines_and_silence_end_tasks,
            records_go_after_their_retention,
            an_approval_survives_and_is_found,
            calls_are_counted_and_survive,
            cuts_come_due_and_deny,
            the_history_of_policies_is_in_order_and_whole,
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_sentinels_and_durable() {
    let servers = Arc::new(Sentinels::start(Kind::Redis, 1).await);
    servers.wait_ready().await;
    let sentinels: Vec<Address> = servers.addresses().iter().map(|one| address(one)).collect();
    let place = || Place::Sentinel { service: servers.service().to_owned(), sentinels: sentinels.clone() };
    taskpass_store::conformance_in_turn!(Fleet::at(&servers, place(), Durability::Durable { replicas: 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_cluster_and_durable() {
    let servers = Arc::new(Cluster::start(Kind::Valkey, 3, 1).await);
    let nodes: Vec<Address> = servers.addresses().iter().map(|one| address(one)).collect();
    let place = || Place::Cluster(nodes.clone());
    taskpass_store::conformance_in_turn!(Fleet::at(&servers, place(), Durability::Durable { replicas: 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls() {
    let server = Arc::new(Server::start(Kind::Redis, Options { tls: true, ..Options::default() }).await);
    let tls = TlsFiles { ca: server.ca_pem_path(), client: None };
    let home = || Fleet { tls: Some(tls.clone()), ..single(&server) };
    taskpass_store::conformance_in_turn!(home());
}
