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

/// What a message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is applied or kept for later, but the rest of it has not come: how fresh the feed is remains unknown.
    Part,
    /// It was known already, and says nothing about how fresh the feed is.
    Repeat,
    /// Everything that the broker had when it sent the message is held.
    Whole,
}

/// What is held of one tenant's feed.
#[derive(Debug)]
pub struct Feed {
    held: Option<Position>,
    /// Shared with those who ask; the feed alone writes.
    denies: Arc<RwLock<Denies>>,
    /// The pages of a snapshot that is not complete. Until it is, what was held before stays in force.
    staged: Option<(Position, Denies)>,
    max_records: usize,
}

impl Feed {
    /// Holds nothing yet, and never more than `max_records`.
    pub fn new(max_records: usize) -> Self {
        Self { held: None, denies: Arc::default(), staged: None, max_records }
    }

    /// An empty one with the same bound.
    pub(crate) fn like(&self) -> Self {
        Self::new(self.max_records)
    }

    /// Holds what `other` holds, from now on, and nothing else.
    pub(crate) fn take(&mut self, other: Self) {
        *self.denies.write() = mem::take(&mut *other.denies.write());
        self.held = other.held;
        self.staged = None;
    }

    /// The set, to ask.
    pub fn denies(&self) -> Arc<RwLock<Denies>> {
        Arc::clone(&self.denies)
    }

    /// Up to where everything is held; `None` before the first snapshot.
    pub fn position(&self) -> Option<Position> {
        self.held
    }

    /// Forgets the beginning of a snapshot: the rest of it does not come in another session.
    pub fn begin(&mut self) {
        self.staged = None;
    }

    /// Applies one message whole, or nothing of it. Records that ended by `horizon` are forgotten.
    pub fn apply(&mut self, message: Message, horizon: Timestamp) -> Result<Applied, Resync> {
        let start = if message.snapshot { Epoch(0) } else { message.after };
        in_order(&message.records, start, message.epoch)?;
        let whole = !message.more;
        let staged = self.staged.take();
        match staged {
            _ if message.snapshot => {
                let position = Position { history: message.history, epoch: message.epoch };
                self.stage(position, Denies::default(), message.records, horizon)?;
            }
            Some((position, denies)) => {
                let position = follow(position, &message)?;
                self.stage(position, denies, message.records, horizon)?;
            }
            None => return self.extend(message, horizon, whole),
        }
        if whole { self.commit() } else { Ok(Applied::Part) }
    }

    fn stage(
        &mut self,
        position: Position,
        mut denies: Denies,
        records: Vec<Record>,
        horizon: Timestamp,
    ) -> Result<(), Resync> {
        denies.extend(records, horizon, self.max_records)?;
        self.staged = Some((position, denies));
        Ok(())
    }

    /// Puts a complete snapshot in force. It was built, and the old set is dropped, outside the lock.
    fn commit(&mut self) -> Result<Applied, Resync> {
        let (new, denies) = self.staged.take().ok_or(Resync::History)?;
        if let Some(held) = self.held.filter(|held| held.history == new.history && held.epoch > new.epoch) {
            return Err(Resync::WentBack { snapshot: new.epoch, held: held.epoch });
        }
        let old = mem::replace(&mut *self.denies.write(), denies);
        drop(old);
        self.held = Some(new);
        Ok(Applied::Whole)
    }

    fn extend(&mut self, message: Message, horizon: Timestamp, whole: bool) -> Result<Applied, Resync> {
        let held = self.held.ok_or(Resync::History)?;
        if held.history == message.history && message.after != held.epoch && message.epoch <= held.epoch {
            return Ok(Applied::Repeat);
        }
        let position = follow(held, &message)?;
        self.denies.write().extend(message.records, horizon, self.max_records)?;
        self.held = Some(position);
        Ok(if whole { Applied::Whole } else { Applied::Part })
    }
}

/// Where `message` leads from `held`, if it follows it directly.
fn follow(held: Position, message: &Message) -> Result<Position, Resync> {
    if held.history != message.history {
        return Err(Resync::History);
    }
    if held.epoch != message.after {
        return Err(Resync::Gap { after: message.after, held: held.epoch });
    }
    Ok(Position { epoch: message.epoch, ..held })
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
