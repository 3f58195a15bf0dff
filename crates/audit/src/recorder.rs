//! The port: what the broker needs of an audit log.

use crate::{Event, LeafHash};
use taskpass_types::Refusal;

/// Proof that an entry is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub seq: u64,
    /// Its hash, which the next entry names.
    pub hash: LeafHash,
}

/// How the log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The number of the newest durable entry.
    pub durable: u64,
    /// What the disk said, while it refuses; nothing is granted as long.
    pub failing: Option<String>,
    /// Notes that did not fit into memory while the disk refused and are not yet reported by an `audit.recover` entry.
    pub lost: u64,
    /// Events that wait to be written.
    pub waiting: usize,
}

impl Health {
    /// Whether events are being written.
    pub fn is_ready(&self) -> bool {
        self.failing.is_none()
    }
}

/// Where events go.
///
/// Whatever one caller recorded or noted first is written first.
#[async_trait::async_trait]
pub trait Recorder: Send + Sync {
    /// Returns when the event is durable. Fails with `AUDIT_UNAVAILABLE` when it cannot be; then it is not in the log
    /// and whatever it announced must not happen. Dropping the future does not take the event back.
    async fn record(&self, event: Event) -> Result<Receipt, Refusal>;

    /// Queues the event: for what must not wait, above all revocation. Never blocks and never fails; what is lost
    /// because the queue is full is counted, shown by [`Self::health`] and written down when the disk works again.
    fn note(&self, event: Event);

    /// How the log is, now.
    fn health(&self) -> Health;
}
