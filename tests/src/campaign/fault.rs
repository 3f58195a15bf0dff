//! What strikes.

use super::{fleet::Fleet, scene::Stage};
use std::{fs, path::Path, time::Duration};
use taskpass_servers::Server;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A broker is killed and started again.
    BrokerKilled,
    /// A broker stands still, longer than its duties last.
    BrokerPaused,
    /// The server's clients wait (`CLIENT PAUSE`).
    ClientsPaused,
    /// A broker's connections break.
    ConnectionsDropped,
    /// A broker is cut off from the server.
    Cut,
    /// The way to the server becomes slow.
    Delayed,
    /// The ledger is wiped.
    Flushed,
    /// The server has no memory left.
    OutOfMemory,
    /// The server is set back to a copy of itself.
    OlderCopy,
    /// The server loses power and with it the end of its append-only file.
    PowerLost,
    /// The primary is killed and Sentinels, or the Cluster, promote a replica.
    PrimaryKilled,
    /// The server forgets its scripts.
    ScriptsFlushed,
    /// The server is killed and started again.
    ServerKilled,
    /// The server stands still.
    ServerPaused,
    /// The ledger's slot moves to another node.
    SlotMoved,
}

impl Fault {
    /// Whether acknowledged writes are gone after it.
    pub(super) fn loses(self) -> bool {
        matches!(self, Self::Flushed | Self::OlderCopy | Self::PowerLost)
    }

    /// Strikes and heals, while clients work.
    pub(super) async fn strike(self, stage: &mut Stage, fleet: &mut Fleet, random: &mut fastrand::Rng) {
        let broker = random.usize(..2);
        let span = Duration::from_millis(random.u64(100..1200));
        match self {
            Self::BrokerKilled => fleet.kill_and_start(broker).await,
            Self::BrokerPaused => {
                fleet.pause(broker, true);
                tokio::time::sleep(span * 3).await;
                fleet.pause(broker, false);
            }
            Self::ConnectionsDropped => stage.links[broker].drop_connections(),
            Self::Cut => {
                stage.links[broker].cut();
                tokio::time::sleep(span * 2).await;
                stage.links[broker].heal();
            }
            Self::Delayed => {
                stage.links[broker].delay(Duration::from_millis(random.u64(20..150)));
                tokio::time::sleep(span).await;
                stage.links[broker].delay(Duration::ZERO);
            }
            Self::PrimaryKilled => stage.kill_primary().await,
            Self::SlotMoved => stage.move_slot(random).await,
            _ => self.strike_server(stage.server(), span).await,
        }
    }

    async fn strike_server(self, server: &Server, span: Duration) {
        match self {
            Self::ClientsPaused => {
                let millis = span.as_millis().to_string();
                server.command(&["CLIENT", "PAUSE", &millis, "ALL"]).await;
                tokio::time::sleep(span).await;
            }
            Self::Flushed => drop(server.command(&["FLUSHALL"]).await),
            Self::OutOfMemory => {
                server.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
                tokio::time::sleep(span).await;
                server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
            }
            Self::OlderCopy => {
                let copy = tempfile::tempdir().unwrap();
                copy_aof(server.directory(), copy.path());
                tokio::time::sleep(span).await;
                server.kill();
                copy_aof(copy.path(), server.directory());
                server.restart().await;
            }
            Self::PowerLost => {
                let (file, synced) = newest_aof(server.directory());
                tokio::time::sleep(span).await;
                server.kill();
                fs::File::options().write(true).open(file).unwrap().set_len(synced).unwrap();
                server.restart().await;
            }
            Self::ScriptsFlushed => drop(server.command(&["SCRIPT", "FLUSH"]).await),
            Self::ServerKilled => {
                server.kill();
                tokio::time::sleep(span).await;
                server.restart().await;
            }
            Self::ServerPaused => {
                server.pause();
                tokio::time::sleep(span * 2).await;
                server.resume();
            }
            other => panic!("{other:?} does not strike a server alone"),
        }
    }
}

fn copy_aof(from: &Path, to: &Path) {
    let (from, to) = (from.join("appendonlydir"), to.join("appendonlydir"));
    fs::remove_dir_all(&to).ok();
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The append-only file that grows, and how long it is now.
fn newest_aof(directory: &Path) -> (std::path::PathBuf, u64) {
    let files = fs::read_dir(directory.join("appendonlydir")).unwrap();
    let mut increments: Vec<_> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .collect();
    increments.sort();
    let newest = increments.pop().unwrap();
    let synced = fs::metadata(&newest).unwrap().len();
    (newest, synced)
}
