//! A Cluster: primaries that share the slots, replicas that take over, slots that move while in use.
//!
//! What the nodes think of each other converges in its own time, so every question here is answered by what all
//! running nodes agree on, and every change returns when they agree on it.

mod nodes;

use crate::{Kind, Options, Reply, Server, free_port, until, wait};
use nodes::Node;

const SLOTS: usize = 16_384;

/// The nodes of a Cluster, with a node time-out of 1 s.
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts the nodes, joins them, and waits until all agree and the replicas have what their primaries have.
    pub async fn start(kind: Kind, primaries: usize, replicas_each: usize) -> Self {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..primaries * (1 + replicas_each) {
            let bus = free_port();
            nodes.push(Server::start(kind, options(bus)).await);
            buses.push(bus);
        }
        let cluster = Self { nodes };
        cluster.share_slots(primaries).await;
        cluster.meet(&buses).await;
        for (index, replica) in cluster.nodes.iter().enumerate().skip(primaries) {
            let primary = &cluster.nodes[index % primaries];
            let id = cluster.id(primary).await;
            replica.command(&["CLUSTER", "REPLICATE", &id]).await.accepted();
            primary.in_sync(replica).await;
        }
        cluster.wait_ready(primaries).await;
        cluster
    }

    /// Gives each primary its slots, and an epoch of its own so that no two claims are of equal rank.
    async fn share_slots(&self, primaries: usize) {
        for (index, node) in self.nodes.iter().enumerate() {
            let epoch = (index + 1).to_string();
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await.accepted();
            if index < primaries {
                let first = (index * SLOTS / primaries).to_string();
                let last = ((index + 1) * SLOTS / primaries - 1).to_string();
                node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await.accepted();
            }
        }
    }

    async fn meet(&self, buses: &[u16]) {
        for (node, bus) in self.nodes.iter().zip(buses).skip(1) {
            let (port, bus) = (node.port().to_string(), bus.to_string());
            self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await.accepted();
        }
        wait::until_true("every node to know every other", || async {
            let joined = |seen: &Vec<Node>| seen.len() == buses.len() && seen.iter().all(|node| node.joined);
            self.views().await.iter().all(joined)
        })
        .await;
    }

    async fn wait_ready(&self, primaries: usize) {
        wait::until_true("every node to know who is whose replica", || async {
            let shared =
                |seen: &Vec<Node>| seen.iter().filter(|node| node.primary.is_none()).count() == primaries;
            self.views().await.iter().all(shared) && self.serves().await
        })
        .await;
    }

    /// The addresses of all nodes, first those that were primaries at the start.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(Server::address).collect()
    }

    /// All nodes, in the order of [`addresses`](Self::addresses).
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The node at this port.
    pub fn node(&self, port: u16) -> &Server {
        self.nodes.iter().find(|node| node.port() == port).expect("no node has this port")
    }

    /// The slot of a key.
    pub async fn slot_of(&self, key: &str) -> u16 {
        let node = self.running().next().expect("no node is running");
        match node.command(&["CLUSTER", "KEYSLOT", key]).await {
            Reply::Int(slot) => u16::try_from(slot).unwrap(),
            other => panic!("not a slot: {other:?}"),
        }
    }

    /// The port of the owner of a slot; one that just died stays it until its replica took over.
    pub async fn owner(&self, slot: u16) -> u16 {
        let what = format!("all nodes to agree on the owner of slot {slot}");
        until(&what, || self.agreed(slot)).await
    }

    /// Waits until the owner is another and all running nodes take commands; returns its port.
    pub async fn wait_for_another_owner(&self, slot: u16, old: u16) -> u16 {
        let what = format!("slot {slot} to have another owner than port {old}");
        until(&what, || async {
            let port = self.agreed(slot).await.filter(|port| *port != old)?;
            self.serves().await.then_some(port)
        })
        .await
    }

    /// Kills the owner of a slot with SIGKILL and returns its port. A replica takes over after the node time-out.
    pub async fn kill_owner(&self, slot: u16) -> u16 {
        let port = self.owner(slot).await;
        self.node(port).kill();
        port
    }

    /// Lets a replica take a slot's owner's place at once and without asking, as after a partition: what the replica
    /// did not have is lost. Returns the port of the new owner.
    pub async fn failover(&self, slot: u16) -> u16 {
        let old = self.owner(slot).await;
        let replica = self.replica_of(old).await;
        replica.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await.accepted();
        self.wait_for_another_owner(slot, old).await
    }

    /// Moves a slot with its keys to another primary, while clients go on.
    pub async fn migrate(&self, slot: u16, to_port: u16) {
        let from_port = self.begin_migration(slot, to_port).await;
        self.move_keys(slot, from_port, to_port).await;
        self.end_migration(slot, from_port, to_port).await;
    }

    /// The first part of [`migrate`](Self::migrate), after which clients are sent on with `ASK` for keys that are not at
    /// the old owner. Returns the port of the old owner.
    pub async fn begin_migration(&self, slot: u16, to_port: u16) -> u16 {
        let from_port = self.owner(slot).await;
        let (from, to) = (self.node(from_port), self.node(to_port));
        let number = slot.to_string();
        to.command(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &self.id(from).await]).await.accepted();
        from.command(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &self.id(to).await]).await.accepted();
        from_port
    }

    /// The second part of [`migrate`](Self::migrate): moves the keys that there are.
    pub async fn move_keys(&self, slot: u16, from_port: u16, to_port: u16) {
        let (from, slot, port) = (self.node(from_port), slot.to_string(), to_port.to_string());
        loop {
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await.accepted();
            let Reply::List(keys) = keys else { panic!("not a list of keys: {keys:?}") };
            if keys.is_empty() {
                return;
            }
            let mut command: Vec<Vec<u8>> =
                ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"].map(|word| word.into()).into();
            command.extend(keys.into_iter().filter_map(|key| match key {
                Reply::Bytes(key) => Some(key),
                _ => None,
            }));
            from.command(&command).await.accepted();
        }
    }

    /// The last part of [`migrate`](Self::migrate): all primaries learn of the new owner, the two concerned first so that
    /// nobody is sent in a circle.
    pub async fn end_migration(&self, slot: u16, from_port: u16, to_port: u16) {
        let (number, id) = (slot.to_string(), self.id(self.node(to_port)).await);
        let mut primaries = vec![to_port, from_port];
        for node in view(self.node(to_port)).await {
            if node.primary.is_none() && self.node(node.port).answers() && !primaries.contains(&node.port) {
                primaries.push(node.port);
            }
        }
        for port in primaries {
            self.node(port).command(&["CLUSTER", "SETSLOT", &number, "NODE", &id]).await.accepted();
        }
        self.wait_for_another_owner(slot, from_port).await;
    }

    async fn id(&self, node: &Server) -> String {
        node.command(&["CLUSTER", "MYID"]).await.text().expect("not an identifier")
    }

    /// A running replica of the primary at this port.
    pub async fn replica_of(&self, port: u16) -> &Server {
        let what = format!("the primary at port {port} to have a running replica");
        until(&what, || async {
            let seen = view(self.running().next()?).await;
            let primary = seen.iter().find(|node| node.port == port)?;
            let replicas = seen.iter().filter(|node| node.primary.as_ref() == Some(&primary.id));
            let mut replicas = replicas.map(|node| self.node(node.port));
            replicas.find(|node| node.answers())
        })
        .await
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().filter(|node| node.answers())
    }

    /// How each running node sees the Cluster.
    async fn views(&self) -> Vec<Vec<Node>> {
        let mut views = Vec::new();
        for node in self.running() {
            views.push(view(node).await);
        }
        views
    }

    /// Whether all running nodes take commands.
    async fn serves(&self) -> bool {
        for node in self.running() {
            let info = node.command(&["CLUSTER", "INFO"]).await.text();
            if !info.is_some_and(|text| text.lines().any(|line| line == "cluster_state:ok")) {
                return false;
            }
        }
        true
    }

    /// The port of the owner of a slot, when all running nodes name the same.
    async fn agreed(&self, slot: u16) -> Option<u16> {
        let mut agreed = None;
        for seen in self.views().await {
            let port = seen.iter().find(|node| node.owns(slot))?.port;
            if *agreed.get_or_insert(port) != port {
                return None;
            }
        }
        agreed
    }
}

fn options(bus: u16) -> Options {
    let lines = [
        "cluster-enabled yes",
        "cluster-node-timeout 1000",
        // Replicas stay where the test put them, and take over however old their data is.
        "cluster-allow-replica-migration no",
        "cluster-replica-validity-factor 0",
    ];
    let lines = lines.map(str::to_owned).into_iter().chain([format!("cluster-port {bus}")]);
    Options { lines: lines.collect(), ..Options::default() }
}

async fn view(node: &Server) -> Vec<Node> {
    let text = node.command(&["CLUSTER", "NODES"]).await.text().expect("not a list of nodes");
    nodes::parse(&text)
}
