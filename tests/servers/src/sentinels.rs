//! A primary with replicas, watched by three Sentinels that promote a replica when the primary dies.

use crate::{Kind, Options, Reply, Server, free_port, options::listener, until, wait};
use std::collections::HashMap;

const SERVICE: &str = "taskpass";
const SENTINELS: usize = 3;

/// Servers and the Sentinels that watch them. A primary counts as down after 2 s; a failover that got stuck is tried
/// again after 6 s; a primary that comes back is made a replica after about 10 s.
pub struct Sentinels {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts them all and waits until a failover would succeed.
    pub async fn start(kind: Kind, replicas: usize) -> Self {
        let primary = Server::start(kind, Options::default()).await;
        let port = primary.port();
        let mut all = Self { servers: vec![primary], sentinels: Vec::new() };
        for _ in 0..replicas {
            let replica = Server::start(kind, Options { replica_of: Some(port), ..Options::default() }).await;
            all.servers[0].in_sync(&replica).await;
            all.servers.push(replica);
        }
        for _ in 0..SENTINELS {
            let own = free_port();
            let file = listener(own, false) + &watching(port);
            all.sentinels.push(Server::start_sentinel(kind, own, &file).await);
        }
        all.wait_ready().await;
        all
    }

    /// The name under which the Sentinels know the primary.
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// The addresses of the Sentinels.
    pub fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::address).collect()
    }

    /// The Sentinels themselves.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The servers they watch, the first primary first.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The watched server at this port.
    pub fn server(&self, port: u16) -> &Server {
        self.servers.iter().find(|server| server.port() == port).expect("no server has this port")
    }

    /// Waits until another failover would succeed: every running Sentinel knows all servers and all Sentinels and takes
    /// the primary for alive, and every other running server follows it.
    pub async fn wait_ready(&self) {
        wait::until_true("every Sentinel to know the others", || self.know_each_other()).await;
        let primary = self.primary().await.to_string();
        for server in self.servers.iter().filter(|server| server.port().to_string() != primary) {
            let what = format!("port {} to follow the primary at port {primary}", server.port());
            wait::until_true(&what, || async {
                let info = server.info("replication").await;
                let up = info.get("master_link_status").is_some_and(|status| status == "up");
                !server.answers() || up && info.get("master_port") == Some(&primary)
            })
            .await;
        }
    }

    async fn know_each_other(&self) -> bool {
        let (replicas, others) = ((self.servers.len() - 1).to_string(), (SENTINELS - 1).to_string());
        let expected = [("flags", "master"), ("num-slaves", &*replicas), ("num-other-sentinels", &*others)];
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.answers()) {
            let seen = fields(&sentinel.command(&["SENTINEL", "MASTER", SERVICE]).await);
            if !expected.iter().all(|(name, value)| seen.get(*name).is_some_and(|seen| seen == value)) {
                return false;
            }
        }
        true
    }

    /// Waits until every other running server has all that was written to the primary so far.
    pub async fn in_sync(&self) {
        let primary = self.server(self.primary().await);
        for replica in
            self.servers.iter().filter(|server| server.answers() && server.port() != primary.port())
        {
            primary.in_sync(replica).await;
        }
    }

    /// The port of the primary on which all running Sentinels agree; one that just died stays it until the failover.
    pub async fn primary(&self) -> u16 {
        until("the Sentinels to agree on a primary", || self.agreed()).await
    }

    /// Kills the primary with SIGKILL and returns its port.
    pub async fn kill_primary(&self) -> u16 {
        let port = self.primary().await;
        self.server(port).kill();
        port
    }

    /// Waits until all running Sentinels agree on another primary and it takes writes; returns its port.
    pub async fn wait_for_another_primary(&self, old: u16) -> u16 {
        let what = format!("another primary than the one at port {old}");
        let port = until(&what, || async { self.agreed().await.filter(|port| *port != old) }).await;
        self.server(port).is_primary().await;
        port
    }

    async fn agreed(&self) -> Option<u16> {
        let mut agreed = None;
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.answers()) {
            let reply = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await;
            let Reply::List(address) = reply else { return None };
            let port = address.get(1)?.text()?.parse::<u16>().ok()?;
            if *agreed.get_or_insert(port) != port {
                return None;
            }
        }
        agreed
    }
}

/// A Sentinel connects again at most once a second, also to the server that it just made the primary. With less than that
/// it takes a healthy new primary for down and promotes the next one, and so on.
const DOWN_AFTER_MILLISECONDS: u16 = 2000;

fn watching(port: u16) -> String {
    format!(
        "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n\
         sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MILLISECONDS}\n\
         sentinel failover-timeout {SERVICE} 3000\n"
    )
}

/// A list of names and values in turn.
fn fields(reply: &Reply) -> HashMap<String, String> {
    let Reply::List(items) = reply else { return HashMap::new() };
    items.chunks_exact(2).filter_map(|pair| Some((pair[0].text()?, pair[1].text()?))).collect()
}
