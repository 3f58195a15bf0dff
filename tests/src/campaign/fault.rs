//! What strikes.
//!
//! What a power loss takes is told apart. With `appendfsync always`, as every server here runs, it can tear only what was
//! never acknowledged: [`Fault::PowerLost`]. A disk that lied about its syncs, or a server that was set to `everysec`, also
//! loses the end of what was acknowledged: [`Fault::TailLost`], which a fleet cannot prevent but has to find out.

use super::{clock, files, fleet::Fleet, stage::Stage};
use fastrand::Rng;
use std::time::Duration;
use taskpass_servers::Server;
use tokio::time::sleep;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A broker's commands arrive, and it hears no answer.
    AnswersLost,
    /// A broker is killed and started again.
    BrokerKilled,
    /// A broker stands still, longer than its duties last.
    BrokerPaused,
    /// Both brokers are killed at once and started again.
    BrokersKilled,
    /// The server's clients wait (`CLIENT PAUSE`).
    ClientsPaused,
    /// The clock of a broker is wrong, jumps forward and back.
    ClockStepped,
    /// A broker's connections break.
    ConnectionsDropped,
    /// A broker is cut off from the server.
    Cut,
    /// The way to the server becomes slow.
    Delayed,
    /// The ledger is wiped.
    Flushed,
    /// The ledger is wiped while a broker is cut off from it.
    FlushedBehindCut,
    /// The ledger is wiped while a broker stands still.
    FlushedBehindPause,
    /// The ledger is wiped while no broker runs.
    FlushedUnseen,
    /// The server is set back to a copy of itself.
    OlderCopy,
    /// The server is set back to a copy of itself while a broker is cut off from it.
    OlderCopyBehindCut,
    /// The server has no memory left.
    OutOfMemory,
    /// The owner of the ledger's slot stands still until it was replaced, and comes back believing that it still is.
    PrimaryFrozen,
    /// The primary is killed and Sentinels, or the Cluster, promote a replica.
    PrimaryKilled,
    /// The primary is killed while its replica lags behind.
    PrimaryKilledBehindLag,
    /// A replica is promoted while the primary is well.
    PrimaryReplaced,
    /// The server loses power in the middle of a write.
    PowerLost,
    /// A replica is killed and comes back.
    ReplicaKilled,
    /// The server forgets its scripts.
    ScriptsFlushed,
    /// The server is killed and started again.
    ServerKilled,
    /// The server and a broker are killed at once.
    ServerAndBrokerKilled,
    /// The server stands still.
    ServerPaused,
    /// The ledger's slot moves to another node.
    SlotMoved,
    /// The server loses the end of what it had acknowledged.
    TailLost,
}

impl Fault {
    /// Whether what was granted may be gone after it, or lets clocks disagree about it.
    pub(super) fn is_lossy(self) -> bool {
        matches!(
            self,
            Self::ClockStepped
                | Self::Flushed
                | Self::FlushedBehindCut
                | Self::FlushedBehindPause
                | Self::FlushedUnseen
                | Self::OlderCopy
                | Self::OlderCopyBehindCut
                | Self::TailLost
        )
    }

    /// Strikes and heals, while clients work.
    pub(super) async fn strike(self, stage: &mut Stage, fleet: &mut Fleet, random: &mut Rng) {
        let broker = random.usize(..2);
        let span = Duration::from_millis(random.u64(100..1200));
        match self {
            Self::BrokerKilled => fleet.kill_and_start(&[broker], async || {}).await,
            Self::BrokersKilled => fleet.kill_and_start(&[0, 1], async || {}).await,
            Self::BrokerPaused => fleet.paused(broker, async || sleep(span * 3).await).await,
            Self::ClockStepped => clock::step(fleet, broker, random).await,
            Self::FlushedBehindPause => {
                let wiped = async || {
                    flush(stage.server()).await;
                    sleep(span * 3).await;
                };
                fleet.paused(broker, wiped).await;
            }
            Self::FlushedUnseen => fleet.kill_and_start(&[0, 1], async || flush(stage.server()).await).await,
            Self::ServerAndBrokerKilled => {
                stage.server().kill();
                fleet.kill_and_start(&[broker], async || stage.server().restart().await).await;
            }
            Self::PrimaryFrozen
            | Self::PrimaryKilled
            | Self::PrimaryKilledBehindLag
            | Self::PrimaryReplaced
            | Self::ReplicaKilled
            | Self::SlotMoved => stage.strike(self, span, random).await,
            Self::AnswersLost
            | Self::ConnectionsDropped
            | Self::Cut
            | Self::Delayed
            | Self::FlushedBehindCut
            | Self::OlderCopyBehindCut => self.strike_link(stage, broker, span).await,
            _ => self.strike_server(stage.server(), span).await,
        }
    }

    async fn strike_link(self, stage: &Stage, broker: usize, span: Duration) {
        let link = &stage.links[broker];
        match self {
            Self::ConnectionsDropped => return link.drop_connections(),
            Self::Delayed => {
                link.delay(span / 8);
                sleep(span).await;
                return link.delay(Duration::ZERO);
            }
            Self::AnswersLost => link.cut_from_target(),
            _ => link.cut(),
        }
        match self {
            Self::FlushedBehindCut => flush(stage.server()).await,
            Self::OlderCopyBehindCut => set_back(stage.server(), span).await,
            _ => {}
        }
        sleep(span * 2).await;
        link.heal();
    }

    async fn strike_server(self, server: &Server, span: Duration) {
        match self {
            Self::ClientsPaused => {
                server.command(&["CLIENT", "PAUSE", &span.as_millis().to_string(), "ALL"]).await;
                sleep(span).await;
            }
            Self::Flushed => flush(server).await,
            Self::OutOfMemory => {
                server.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
                sleep(span).await;
                server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
            }
            Self::OlderCopy => set_back(server, span).await,
            Self::PowerLost => {
                server.kill();
                files::tear(server.directory());
                server.restart().await;
            }
            Self::TailLost => {
                let synced = files::length(server.directory());
                sleep(span).await;
                server.kill();
                files::cut(server.directory(), synced);
                server.restart().await;
            }
            Self::ScriptsFlushed => drop(server.command(&["SCRIPT", "FLUSH"]).await),
            Self::ServerKilled => {
                server.kill();
                sleep(span).await;
                server.restart().await;
            }
            Self::ServerPaused => {
                server.pause();
                sleep(span * 2).await;
                server.resume();
            }
            other => panic!("{other:?} does not strike a server alone"),
        }
    }
}

async fn flush(server: &Server) {
    server.command(&["FLUSHALL"]).await.accepted();
}

/// Back to how it is now, after others have worked on for a while.
async fn set_back(server: &Server, span: Duration) {
    let copy = tempfile::tempdir().unwrap();
    files::copy(server.directory(), copy.path());
    sleep(span).await;
    server.kill();
    files::copy(copy.path(), server.directory());
    server.restart().await;
}
