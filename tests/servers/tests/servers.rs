//! The harness really starts, kills and joins what it says, with each make of server.

use std::{io, time::Duration};
use taskpass_servers::{Cluster, Kind, Options, Proxy, Replicated, Reply, Sentinels, Server, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn set(server: &Server, value: &str) {
    server.command(&["SET", "k", value]).await.accepted();
}

/// The value, or nothing.
async fn get(server: &Server) -> String {
    server.command(&["GET", "k"]).await.accepted().text().unwrap_or_default()
}

#[tokio::test]
async fn a_restart_after_a_kill_keeps_what_was_acknowledged() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Options::default()).await;
        set(&server, "v").await;
        let killed = server.pid();
        server.kill();
        assert!(server.try_command(&["PING"]).await.is_err() && !server.answers());
        server.restart().await;
        assert_ne!(server.pid(), killed);
        assert_eq!(server.command(&["GET", "k"]).await, Reply::Bytes(b"v".to_vec()));
        server.stop().await;
        server.restart().await;
        assert_eq!(server.command(&["LRANGE", "none", "0", "1"]).await, Reply::List(vec![]));
        assert_eq!(server.command(&["GET", "none"]).await, Reply::Nil);
    }
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_file() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Options::default()).await;
        let (directory, process) = (server.directory().to_owned(), format!("/proc/{}", server.pid()));
        assert!(directory.exists() && std::path::Path::new(&process).exists());
        drop(server);
        assert!(!directory.exists() && !std::path::Path::new(&process).exists());
    }
}

#[tokio::test]
async fn a_paused_server_keeps_its_connections_and_is_silent() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Options::default()).await;
        server.pause();
        let mut client = TcpStream::connect(server.address()).await.unwrap();
        client.write_all(b"PING\r\n").await.unwrap();
        let mut answer = [0; 7];
        assert!(!server.answers());
        assert_eq!(client.try_read(&mut answer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        server.resume();
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
        server.pause();
        server.stop().await;
    }
}

#[tokio::test]
async fn users_are_those_of_the_acl_file() {
    for kind in Kind::ALL {
        let users =
            "user default off\nuser admin on >secret ~* &* +@all\nuser reader on >other ~* -@all +get\n";
        let login = Some(("admin".to_owned(), "secret".to_owned()));
        let options = Options { users_acl: Some(users.to_owned()), login, ..Options::default() };
        let server = Server::start(kind, options).await;
        set(&server, "v").await;
        assert_eq!(server.command_as("reader", "other", &["GET", "k"]).await, Reply::Bytes(b"v".to_vec()));
        let refused = [
            server.command_as("reader", "other", &["DEL", "k"]).await,
            server.command_as("reader", "wrong", &["GET", "k"]).await,
        ];
        assert!(refused.iter().all(|reply| matches!(reply, Reply::Error(_))), "{refused:?}");
    }
}

/// Only Redis: the build of Valkey that is fetched has no TLS.
#[tokio::test]
async fn a_server_with_tls_speaks_nothing_else() {
    let server = Server::start(Kind::Redis, Options { tls: true, ..Options::default() }).await;
    assert!(std::fs::read_to_string(server.ca_pem_path()).unwrap().contains("BEGIN CERTIFICATE"));
    let mut client = TcpStream::connect(server.address()).await.unwrap();
    client.write_all(b"PING\r\n").await.unwrap();
    let mut answer = Vec::new();
    // It may reset the connection in place of an alert.
    let _ = client.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"+PONG"));
    set(&server, "v").await;
}

#[tokio::test]
async fn nothing_passes_a_cut_cable_and_all_of_it_arrives_after_healing() {
    let server = Server::start(Kind::Redis, Options::default()).await;
    let proxy = Proxy::start(server.port()).await;
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let mut answer = [0; 7];
    proxy.delay(Duration::from_millis(1));
    client.write_all(b"PING\r\n").await.unwrap();
    client.read_exact(&mut answer).await.unwrap();

    proxy.cut();
    client.write_all(b"SET k v\r\n").await.unwrap();
    let mut late = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    late.write_all(b"PING\r\n").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(100), client.read(&mut answer)).await;
    assert!(silence.is_err() && get(&server).await.is_empty());
    proxy.heal();
    client.read_exact(&mut answer[..5]).await.unwrap();
    assert_eq!(&answer[..5], b"+OK\r\n");
    late.read_exact(&mut answer).await.unwrap();
    assert_eq!(get(&server).await, "v");

    proxy.drop_connections();
    assert!(matches!(client.read(&mut answer).await, Ok(0) | Err(_)));
    let mut next = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    next.write_all(b"PING\r\n").await.unwrap();
    next.read_exact(&mut answer).await.unwrap();
}

#[tokio::test]
async fn half_a_cut_loses_only_the_answer_or_only_the_command() {
    let server = Server::start(Kind::Redis, Options::default()).await;
    let proxy = Proxy::start(server.port()).await;
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let mut answer = [0; 5];

    proxy.cut_from_target();
    client.write_all(b"SET k v\r\n").await.unwrap();
    until("the command to arrive", || async { (get(&server).await == "v").then_some(()) }).await;
    let silence = tokio::time::timeout(Duration::from_millis(100), client.read(&mut answer)).await;
    assert!(silence.is_err(), "an answer passed");
    proxy.heal();
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n");

    // What the target has before the cut it answers after it.
    client.write_all(b"BLPOP list 0\r\n").await.unwrap();
    until("the client to wait", || async {
        (server.info("clients").await["blocked_clients"] == "1").then_some(())
    })
    .await;
    proxy.cut_to_target();
    server.command(&["RPUSH", "list", "x"]).await.accepted();
    let mut popped = [0; 21];
    client.read_exact(&mut popped).await.unwrap();
    assert_eq!(&popped, b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    client.write_all(b"SET k w\r\n").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(100), client.read(&mut answer)).await;
    assert!(silence.is_err() && get(&server).await == "v");
    proxy.heal();
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(get(&server).await, "w");
}

#[tokio::test]
async fn a_replica_follows_unless_cut_and_is_promoted() {
    for kind in Kind::ALL {
        let servers = Replicated::start(kind, 2, &["maxmemory 50mb"]).await;
        let (primary, replica) = (servers.primary(), servers.replica(1));
        set(primary, "first").await;
        servers.in_sync().await;
        assert_eq!(get(replica).await, "first");

        servers.cut(1);
        set(primary, "second").await;
        primary.in_sync(servers.replica(0)).await;
        assert_eq!(get(replica).await, "first");
        servers.heal(1);
        primary.in_sync(replica).await;
        assert_eq!(get(replica).await, "second");

        servers.promote(1).await;
        set(replica, "third").await;
        replica.restart().await;
        assert_eq!(get(replica).await, "third");
        assert_eq!(replica.info("replication").await["role"], "master");
        assert_eq!(get(primary).await, "second");
    }
}

async fn a_replica_takes_over(kind: Kind) -> (Sentinels, u16) {
    let servers = Sentinels::start(kind, 2).await;
    assert_eq!((servers.addresses().len(), servers.service()), (3, "taskpass"));
    set(servers.server(servers.primary().await), "v").await;
    servers.in_sync().await;
    let old = servers.kill_primary().await;
    let new = servers.wait_for_another_primary(old).await;
    assert_eq!(servers.primary().await, new);
    assert_eq!(get(servers.server(new)).await, "v");
    set(servers.server(new), "w").await;
    servers.wait_ready().await;
    assert_eq!(servers.primary().await, new);
    (servers, old)
}

#[tokio::test]
async fn sentinels_of_redis_replace_a_killed_primary() {
    a_replica_takes_over(Kind::Redis).await;
}

#[tokio::test]
async fn sentinels_of_valkey_replace_a_killed_primary_that_comes_back_as_a_replica() {
    let (servers, old) = a_replica_takes_over(Kind::Valkey).await;
    servers.server(old).restart().await;
    servers.wait_ready().await;
    servers.in_sync().await;
    assert_eq!(get(servers.server(old)).await, "w");
}

async fn slots_move(kind: Kind) {
    let cluster = Cluster::start(kind, 3, 1).await;
    let slot = cluster.slot_of("k").await;
    let (first, second) = (cluster.owner(slot).await, cluster.owner((slot + 8192) % 16384).await);
    assert_ne!(first, second);
    set(cluster.node(first), "v").await;
    cluster.migrate(slot, second).await;
    assert_eq!(cluster.owner(slot).await, second);
    assert_eq!(get(cluster.node(second)).await, "v");
    let moved = cluster.node(first).command(&["GET", "k"]).await;
    assert_eq!(moved, Reply::Error(format!("MOVED {slot} 127.0.0.1:{second}")));

    cluster.node(second).in_sync(cluster.replica_of(second).await).await;
    let third = cluster.failover(slot).await;
    assert_eq!(get(cluster.node(third)).await, "v");
    until("the old owner to follow the new", || async {
        let info = cluster.node(second).info("replication").await;
        (info.get("master_port") == Some(&third.to_string())).then_some(())
    })
    .await;
    cluster.node(third).in_sync(cluster.node(second)).await;
    let killed = cluster.kill_owner(slot).await;
    assert_eq!(killed, third);
    assert_eq!(cluster.wait_for_another_owner(slot, killed).await, second);
    assert_eq!(get(cluster.node(second)).await, "v");
}

#[tokio::test]
async fn slots_of_a_redis_cluster_move() {
    slots_move(Kind::Redis).await;
}

#[tokio::test]
async fn slots_of_a_valkey_cluster_move() {
    slots_move(Kind::Valkey).await;
}

/// A campaign spawns what it does to the servers, so all of it can move between threads.
#[test]
fn what_is_waited_for_may_be_spawned() {
    fn sent<T: Send>(_: impl FnOnce() -> T) {}
    sent(|| Server::start(Kind::Redis, Options::default()));
    sent(|| async {
        let servers = Sentinels::start(Kind::Redis, 1).await;
        let old = servers.kill_primary().await;
        servers.wait_for_another_primary(old).await;
        servers.server(old).restart().await;
    });
    sent(|| async {
        let cluster = Cluster::start(Kind::Redis, 3, 1).await;
        cluster.migrate(1, cluster.failover(9000).await).await;
        cluster.kill_owner(1).await;
    });
    sent(|| async { Replicated::start(Kind::Redis, 1, &[]).await.promote(0).await });
}
