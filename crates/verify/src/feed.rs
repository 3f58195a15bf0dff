//! The deny feed as a state machine: messages in, a set and a position out. No I/O, no clock.
//!
//! Invariants: the held epoch never says more than was applied; nothing held is lost except to a newer snapshot or to
//! its own end; a message that does not follow from what is held changes nothing.

use crate::{
    denies::{Denies, Record, TooMany},
    wire::Message,
};
use parking_lot::RwLock;
use std::{mem, sync::Arc};
use taskpass_types::{Epoch, HistoryId, Timestamp};

/// Up to where everything is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which life of the store.
    pub history: HistoryId,
    /// The number of the newest record that is enforced.
    pub epoch: Epoch,
}

/// Why a message was not applied. Every one means: start anew with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Resync {
    /// The message follows another epoch than the held one: something was missed.
    #[error("the message follows epoch {after}, epoch {held} is held")]
    Gap {
        /// What it follows.
        after: Epoch,
        /// What is held.
        held: Epoch,
    },
    /// The message counts in another life of the store, or nothing is held yet, and it is no snapshot.
    #[error("the message is of another history and no snapshot")]
    History,
    /// A record is not within what the message says it covers, or not in order.
    #[error("record {0} is not within its message, or out of order")]
    Order(Epoch),
    /// The set would grow beyond its bound.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// A snapshot of this history that is older than what is held: the broker's store went back.
    #[error("a snapshot at epoch {snapshot} is older than the held epoch {held}")]
    WentBack {
        /// What the snapshot reaches.
        snapshot: Epoch,
        /// What is held.
        held: Epoch,
    },
}

/// What is held of one tenant's feed.
#[derive(Debug)]
pub struct Feed {
    held: Option<Position>,
    /// Shared with those who ask; the feed alone writes.
    denies: Arc<RwLock<Denies>>,
    max_records: usize,
}

impl Feed {
    /// Holds nothing yet, and never more than `max_records`.
    pub fn new(max_records: usize) -> Self {
        Self { held: None, denies: Arc::default(), max_records }
    }

    /// The set, to ask.
    pub fn denies(&self) -> Arc<RwLock<Denies>> {
        Arc::clone(&self.denies)
    }

    /// Up to where everything is held; `None` before the first snapshot.
    pub fn position(&self) -> Option<Position> {
        self.held
    }

    /// Applies one message whole, or nothing of it. Records that ended by `horizon` are forgotten.
    ///
    /// `Ok(false)`: a repeat of what is held already; it says nothing about how fresh the feed is.
    pub fn apply(&mut self, message: Message, horizon: Timestamp) -> Result<bool, Resync> {
        let start = if message.snapshot { Epoch(0) } else { message.after };
        in_order(&message.records, start, message.epoch)?;
        if message.snapshot { self.replace(message, horizon) } else { self.follow(message, horizon) }
    }

    fn replace(&mut self, message: Message, horizon: Timestamp) -> Result<bool, Resync> {
        if let Some(held) = self.held.filter(|held| held.history == message.history)
            && message.epoch < held.epoch
        {
            return Err(Resync::WentBack { snapshot: message.epoch, held: held.epoch });
        }
        // Built and dropped outside the lock: those who ask wait for a swap only.
        let mut denies = Denies::default();
        denies.extend(message.records, horizon, self.max_records)?;
        let old = mem::replace(&mut *self.denies.write(), denies);
        drop(old);
        self.held = Some(Position { history: message.history, epoch: message.epoch });
        Ok(true)
    }

    fn follow(&mut self, message: Message, horizon: Timestamp) -> Result<bool, Resync> {
        let held = self.held.filter(|held| held.history == message.history).ok_or(Resync::History)?;
        if message.after != held.epoch {
            if message.epoch <= held.epoch {
                return Ok(false);
            }
            return Err(Resync::Gap { after: message.after, held: held.epoch });
        }
        self.denies.write().extend(message.records, horizon, self.max_records)?;
        self.held = Some(Position { epoch: message.epoch, ..held });
        Ok(true)
    }
}

/// Whether every record is after `start`, after the one before it and at most at `end`.
fn in_order(records: &[Record], start: Epoch, end: Epoch) -> Result<(), Resync> {
    let mut last = start;
    for record in records {
        if record.epoch <= last || record.epoch > end {
            return Err(Resync::Order(record.epoch));
        }
        last = record.epoch;
    }
    if end < start { Err(Resync::Order(end)) } else { Ok(()) }
}
