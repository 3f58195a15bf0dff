//! Where rounds are played: servers, and what can strike there.

use super::{Fault, Report, fleet::Fleet, history::History};
use fastrand::Rng;
use std::{io::Write as _, time::Duration};
use taskpass_servers::{Cluster, Kind, Options, Proxy, Sentinels, Server};

/// One set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// One server, reached through a proxy for each broker; `standard`.
    Alone(Kind),
    /// A Cluster of three primaries and three replicas; `durable`.
    Cluster,
    /// A primary and a replica watched by three Sentinels; `durable`.
    Sentinels,
}

/// The servers of a scene.
pub(super) struct Stage {
    server: Option<Server>,
    pub(super) links: Vec<Proxy>,
    sentinels: Option<Sentinels>,
    cluster: Option<Cluster>,
}

/// The key that decides in which slot a ledger is.
const SLOT_KEY: &str = "{taskpass}:control";

impl Scene {
    pub(super) const ALL: [Self; 4] =
        [Self::Alone(Kind::Redis), Self::Alone(Kind::Valkey), Self::Sentinels, Self::Cluster];

    /// How many of all rounds are played here, in parts.
    pub(super) fn weight(self) -> usize {
        match self {
            Self::Alone(_) => 5,
            Self::Cluster | Self::Sentinels => 1,
        }
    }

    fn faults(self) -> &'static [Fault] {
        match self {
            Self::Alone(_) => &[
                Fault::BrokerKilled,
                Fault::ServerKilled,
                Fault::Cut,
                Fault::Flushed,
                Fault::ConnectionsDropped,
                Fault::ServerPaused,
                Fault::OlderCopy,
                Fault::BrokerPaused,
                Fault::ScriptsFlushed,
                Fault::PowerLost,
                Fault::ClientsPaused,
                Fault::OutOfMemory,
                Fault::Delayed,
            ],
            Self::Cluster => &[Fault::SlotMoved, Fault::PrimaryKilled, Fault::BrokerKilled],
            Self::Sentinels => &[Fault::PrimaryKilled, Fault::BrokerKilled],
        }
    }

    /// Plays `rounds` rounds. Every fault comes once before any comes again.
    pub(super) async fn play(self, rounds: usize, random: &mut Rng, report: &mut Report) {
        if rounds == 0 {
            return;
        }
        let (mut stage, ledgers) = self.set().await;
        let mut fleet = Fleet::start(&ledgers).await;
        fleet.recovers().await;
        let mut deck = Vec::new();
        for round in 0..rounds {
            if deck.is_empty() {
                deck = self.faults().to_vec();
                random.shuffle(&mut deck);
            }
            let Some(fault) = deck.pop() else { continue };
            let history = History::default();
            let strike = async |fleet: &mut Fleet| fault.strike(&mut stage, fleet, random).await;
            fleet.under_load(&history, round, strike).await;
            let recovery = fleet.recovers().await;
            fleet.check(&history, fault.loses()).await;
            note(report, self, fault, round, recovery, &history);
        }
        fleet.stop().await;
    }

    /// The servers, and each broker's table about its ledger.
    async fn set(self) -> (Stage, Vec<String>) {
        let mut stage = Stage { server: None, links: Vec::new(), sentinels: None, cluster: None };
        let ledger = |place: &str, more: &str| format!("[store.redis]\n{place}\n{more}\n");
        let listed = |addresses: &[String]| {
            addresses.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ")
        };
        let durable = "durability = \"durable\"\nreplicas = 1";
        let ledgers = match self {
            Self::Alone(kind) => {
                let server = Server::start(kind, Options::default()).await;
                let mut ledgers = Vec::new();
                for _ in 0..2 {
                    let link = Proxy::start(server.port()).await;
                    ledgers.push(ledger(&format!("address = \"127.0.0.1:{}\"", link.port()), ""));
                    stage.links.push(link);
                }
                stage.server = Some(server);
                ledgers
            }
            Self::Cluster => {
                let cluster = Cluster::start(Kind::Valkey, 3, 1).await;
                let place = format!("cluster = [{}]", listed(&cluster.addresses()));
                stage.cluster = Some(cluster);
                vec![ledger(&place, durable); 2]
            }
            Self::Sentinels => {
                let sentinels = Sentinels::start(Kind::Redis, 1).await;
                sentinels.wait_ready().await;
                let place = format!(
                    "sentinel = {{ service = \"{}\", addresses = [{}] }}",
                    sentinels.service(),
                    listed(&sentinels.addresses())
                );
                stage.sentinels = Some(sentinels);
                vec![ledger(&place, durable); 2]
            }
        };
        (stage, ledgers)
    }
}

fn note(
    report: &mut Report,
    scene: Scene,
    fault: Fault,
    round: usize,
    recovery: Duration,
    history: &History,
) {
    let (answered, unanswered, broken) = history.counts();
    report.rounds += 1;
    *report.faults.entry(format!("{scene:?} {fault:?}")).or_default() += 1;
    report.answered += answered;
    report.unanswered += unanswered;
    report.ended += history.ends();
    report.broken.extend(broken.into_iter().map(|what| format!("{scene:?} {fault:?} round {round}: {what}")));
    report.longest_recovery = report.longest_recovery.max(recovery);
    let line = format!(
        "{scene:?} {fault:?}: {answered} answered, {} ended, granting after {:.2} s",
        history.ends(),
        recovery.as_secs_f64()
    );
    // A campaign without a terminal is as good.
    drop(writeln!(std::io::stderr(), "{line}"));
}

impl Stage {
    pub(super) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Kills the primary of the ledger, waits for another and brings the first back as its replica.
    pub(super) async fn kill_primary(&mut self) {
        if let Some(sentinels) = &self.sentinels {
            sentinels.in_sync().await;
            let old = sentinels.kill_primary().await;
            sentinels.wait_for_another_primary(old).await;
            sentinels.server(old).restart().await;
            sentinels.wait_ready().await;
        }
        if let Some(cluster) = &self.cluster {
            let slot = cluster.slot_of(SLOT_KEY).await;
            let owner = cluster.owner(slot).await;
            cluster.node(owner).in_sync(cluster.replica_of(owner).await).await;
            let old = cluster.kill_owner(slot).await;
            cluster.wait_for_another_owner(slot, old).await;
            cluster.node(old).restart().await;
        }
    }

    /// Moves the slot of the ledger to another primary, while brokers use it.
    pub(super) async fn move_slot(&mut self, random: &mut Rng) {
        let cluster = self.cluster.as_ref().unwrap();
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
}
