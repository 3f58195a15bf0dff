//! Servers that answer, and say no.

use crate::world::{Fleet, answer, kill, open, plan, said_why, server, settings, why_not};
use std::{path::PathBuf, time::Duration};
use taskpass_lease::Outcome;
use taskpass_servers::{Kind, Options, Replicated, Server, until};
use taskpass_store::Store as _;
use taskpass_store_redis::{Account, Settings, TlsFiles};
use taskpass_types::{Reason, Secret, TenantId};

async fn set(server: &Server, name: &str, value: &str) {
    server.command(&["CONFIG", "SET", name, value]).await.accepted();
}

/// What is set makes the server refuse writes; nothing is granted, nothing ended, and soon nothing told: whoever cannot write
/// cannot know whether others write elsewhere.
async fn takes_no_writes(fleet: &Fleet, server: &Server, name: &str, [bad, good]: [&str; 2], says: &str) {
    set(server, name, bad).await;
    fleet.refuses().await;
    let said = why_not(settings(server.port())).await;
    assert!(said.contains(says), "{said}");
    for _ in 0..20 {
        for store in &fleet.brokers {
            let look = store.task(&TenantId::default(), fleet.task).await;
            assert_eq!(look.unwrap_err().reason(), Reason::StoreUnavailable);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    set(server, name, good).await;
    fleet.serves_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_memory_or_without_its_replicas() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Options::default()).await;
        let fleet = Fleet::at(&server).await;
        takes_no_writes(&fleet, &server, "maxmemory", ["1", "0"], "OOM").await;
        takes_no_writes(&fleet, &server, "min-replicas-to-write", ["1", "0"], "NOREPLICAS").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_becomes_a_replica() {
    let servers = Replicated::start(Kind::Redis, 1, &[]).await;
    let fleet = Fleet::at(servers.primary()).await;
    servers.in_sync().await;
    let said = why_not(settings(servers.replica(0).port())).await;
    assert!(said.contains("no primary"), "{said}");
    let nobody = taskpass_servers::free_port().to_string();
    servers.primary().command(&["REPLICAOF", "127.0.0.1", &nobody]).await.accepted();
    fleet.refuses().await;
    servers.primary().command(&["REPLICAOF", "NO", "ONE"]).await.accepted();
    fleet.serves_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes() {
    let server = server(&[]).await;
    let password = async |password: &str| {
        let user = ["ACL", "SETUSER", "broker", "on", "resetpass", password, "~*", "&*", "+@all"];
        server.command(&user).await.accepted();
        // Who is in stays in.
        server.command(&["CLIENT", "KILL", "USER", "broker"]).await.accepted();
    };
    let mine = || {
        let (user, password) = (Some("broker".to_owned()), Secret::new("hunter2".to_owned()));
        Settings { account: Some(Account { user, password }), ..settings(server.port()) }
    };
    let said = why_not(mine()).await;
    assert!(!said.contains("hunter2"), "{said}");
    password(">hunter2").await;
    let fleet = Fleet::open(mine).await;
    password(">another").await;
    fleet.refuses().await;
    password(">hunter2").await;
    fleet.serves_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_somebody_else() {
    let tls = || Options { tls: true, ..Options::default() };
    let (server, other) = (Server::start(Kind::Redis, tls()).await, Server::start(Kind::Redis, tls()).await);
    let believing = |authority: PathBuf| {
        let tls = Some(TlsFiles { ca: authority, client: None });
        Settings { tls, ..settings(server.port()) }
    };
    let said = why_not(believing(other.ca_pem_path())).await;
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    let said = why_not(believing(server.directory().join("nothing.pem"))).await;
    assert!(said.contains("nothing.pem"), "{said}");
    why_not(settings(server.port())).await;
    Fleet::open(|| believing(server.ca_pem_path())).await;
}

/// Scripts are lost when an operator flushes them and when a server is started anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_the_scripts() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Options::default()).await;
        let fleet = Fleet::at(&server).await;
        for _ in 0..3 {
            let lease = plan(&fleet.brokers[0], fleet.task).await.unwrap();
            server.command(&["SCRIPT", "FLUSH", "SYNC"]).await.accepted();
            // Nobody who ends something has to ask again because of that.
            for store in &fleet.brokers {
                let ended = answer(kill(store, lease)).await.unwrap();
                assert!(matches!(ended, Outcome::LeaseEnded(_) | Outcome::AlreadyEnded(_)), "{ended:?}");
            }
            fleet.serves_again().await;
        }
        server.restart().await;
        fleet.serves_again().await;
    }
}

/// While it reads its file it answers, but not us.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_loading() {
    let slow = ["key-load-delay 2000", "loading-process-events-interval-bytes 1024"];
    let server = server(&slow).await;
    let fleet = Fleet::at(&server).await;
    for number in 0..1000 {
        server.command(&["SET", &format!("other:{number}"), "theirs"]).await.accepted();
    }
    server.command(&["BGREWRITEAOF"]).await.accepted();
    until("the file is one that loads slowly", || async {
        (server.info("persistence").await.get("aof_rewrite_in_progress")? == "0").then_some(())
    })
    .await;
    let seen = async {
        until("it says that it is loading", || async {
            let error = open(settings(server.port())).await.err()?.to_string();
            error.to_uppercase().contains("LOADING").then_some(())
        })
        .await;
        for store in &fleet.brokers {
            said_why(&plan(store, fleet.task).await.unwrap_err());
        }
    };
    server.stop().await;
    tokio::join!(server.restart(), seen);
    fleet.serves_again().await;
}
