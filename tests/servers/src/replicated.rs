//! A primary with replicas, each behind a cable of its own.

use crate::{Kind, Options, Proxy, Server};

/// A primary and replicas that follow it. Nobody watches them: who is promoted is the test's decision.
pub struct Replicated {
    primary: Server,
    replicas: Vec<Server>,
    links: Vec<Proxy>,
}

impl Replicated {
    /// Starts them with these further configuration lines, and waits until the replicas have what the primary has.
    pub async fn start(kind: Kind, replicas: usize, lines: &[&str]) -> Self {
        let options =
            Options { lines: lines.iter().map(|line| (*line).to_owned()).collect(), ..Options::default() };
        let primary = Server::start(kind, options.clone()).await;
        let mut all = Self { primary, replicas: Vec::new(), links: Vec::new() };
        for _ in 0..replicas {
            let link = Proxy::start(all.primary.port()).await;
            let options = Options { replica_of: Some(link.port()), ..options.clone() };
            all.replicas.push(Server::start(kind, options).await);
            all.links.push(link);
        }
        all.in_sync().await;
        all
    }

    /// The server that was the primary at the start.
    pub fn primary(&self) -> &Server {
        &self.primary
    }

    /// A server that was a replica at the start, counted from 0.
    pub fn replica(&self, index: usize) -> &Server {
        &self.replicas[index]
    }

    /// The cable between that replica and the primary.
    pub fn link(&self, index: usize) -> &Proxy {
        &self.links[index]
    }

    /// Waits until every replica has all that was written so far.
    pub async fn in_sync(&self) {
        for replica in &self.replicas {
            self.primary.in_sync(replica).await;
        }
    }

    /// Makes that replica a primary of its own, also after its restart; the others stay what they are.
    pub async fn promote(&self, index: usize) {
        let replica = self.replica(index);
        replica.command(&["REPLICAOF", "NO", "ONE"]).await.accepted();
        replica.command(&["CONFIG", "REWRITE"]).await.accepted();
        replica.is_primary().await;
    }

    /// Lets no more byte pass between that replica and the primary. Neither notices before its time-out.
    pub fn cut(&self, index: usize) {
        self.link(index).cut();
    }

    /// Undoes [`cut`](Self::cut).
    pub fn heal(&self, index: usize) {
        self.link(index).heal();
    }
}
