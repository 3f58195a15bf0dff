//! The harness really starts, kills and joins what it says, with each make of server.

use taskpass_servers::{Kind, Options, Reply, Server};

#[tokio::test]
async fn a_restart_after_a_kill_keeps_what_was_acknowledged() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Options::default()).await;
        server.command(&["SET", "k", "v"]).await.accepted();
        let killed = server.pid();
        server.kill();
        assert!(server.try_command(&["PING"]).await.is_err() && !server.answers());
        server.restart().await;
        assert_ne!(server.pid(), killed);
        assert_eq!(server.command(&["GET", "k"]).await, Reply::Bytes(b"v".to_vec()));
        assert_eq!(server.command(&["LRANGE", "none", "0", "1"]).await, Reply::List(vec![]));
    }
}
