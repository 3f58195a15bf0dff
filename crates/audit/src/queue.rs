//! What waits to be written, in order. While the disk refuses it is also the spool: notes stay, records are refused.

use crate::{Receipt, event::Body};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use taskpass_types::{Refusal, Timestamp};
use tokio::sync::oneshot;

/// Records are refused when this much waits, so that the rest is left for notes.
const RECORDS_BYTES: usize = 16 << 20;
/// Notes are lost when this much waits.
const NOTES_BYTES: usize = 64 << 20;
/// At most this much is written at once, so that the first of a crowd does not wait for the last.
const BATCH_BYTES: usize = 1 << 20;
/// How long a failing disk is left alone when nobody asks for it.
const RETRY: Duration = Duration::from_millis(250);
/// How long notes wait for a record whose sync they can share; nobody waits for them.
const COMPANY: Duration = Duration::from_millis(2);
/// After a batch with at least so many records, as many are likely to come at once; so long they are waited for. One
/// sync of a larger batch costs less than two of smaller ones, and the wait is a fraction of either.
const CROWD: usize = 8;
const LINGER: Duration = Duration::from_micros(500);

/// An event on its way to the disk.
pub(crate) struct Item {
    pub(crate) body: Body,
    pub(crate) time: Timestamp,
    /// Who waits for it; nobody for a note.
    pub(crate) waiter: Option<oneshot::Sender<Result<Receipt, Refusal>>>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    records: usize,
    lost: u64,
    failing: Option<String>,
    closed: bool,
    /// How many records the last batch had.
    answered: usize,
    awaited: Awaited,
}

/// What the writer is to be woken for; waking it for less costs more than writing it.
#[derive(Clone, Copy, Debug, Default)]
enum Awaited {
    Anything,
    #[default]
    Nothing,
    Records(usize),
}

impl State {
    fn has_awaited(&self) -> bool {
        match self.awaited {
            Awaited::Anything => !self.items.is_empty(),
            Awaited::Nothing => false,
            Awaited::Records(count) => self.records >= count,
        }
    }

    fn add(&mut self, item: &Item) {
        self.bytes += item.body.bytes.len();
        self.records += usize::from(item.waiter.is_some());
    }

    fn subtract(&mut self, item: &Item) {
        self.bytes -= item.body.bytes.len();
        self.records -= usize::from(item.waiter.is_some());
    }
}

/// What the writer is to write next.
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    /// Whether nothing is left behind it.
    pub(crate) last: bool,
    /// How many notes were lost so far.
    pub(crate) lost: u64,
}

/// A bounded queue with one reader.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// Adds an item; gives a record back when there is no room, and counts a note as lost.
    pub(crate) fn push(&self, item: Item) -> Result<(), Item> {
        let mut state = self.state.lock();
        let limit = if item.waiter.is_some() { RECORDS_BYTES } else { NOTES_BYTES };
        if state.closed || state.bytes + item.body.bytes.len() > limit {
            state.lost += u64::from(item.waiter.is_none());
            return Err(item);
        }
        state.add(&item);
        state.items.push_back(item);
        let wake = state.has_awaited();
        drop(state);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for something to write; `None` when closed and empty. While failing it waits for a record or a while, and
    /// may return an empty batch, which asks the writer to try the disk.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if state.closed && state.items.is_empty() {
                return None;
            }
            if state.failing.is_some() && state.records == 0 && !state.closed {
                state.awaited = Awaited::Records(1);
                if self.changed.wait_for(&mut state, RETRY).timed_out() {
                    break;
                }
            } else if state.items.is_empty() {
                state.awaited = Awaited::Anything;
                self.changed.wait(&mut state);
            } else {
                break;
            }
        }
        self.linger(&mut state);
        state.awaited = Awaited::Nothing;
        let before = state.records;
        let mut items = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(item) = state.items.pop_front()
        {
            bytes += item.body.bytes.len();
            state.subtract(&item);
            items.push(item);
        }
        state.answered = before - state.records;
        Some(Batch { items, last: state.items.is_empty(), lost: state.lost })
    }

    /// Waits a moment for those who can share the sync.
    fn linger(&self, state: &mut MutexGuard<'_, State>) {
        if state.records == 0 {
            self.wait_for_records(state, 1, COMPANY);
        }
        if state.answered >= CROWD {
            self.wait_for_records(state, state.answered, LINGER);
        }
    }

    fn wait_for_records(&self, state: &mut MutexGuard<'_, State>, count: usize, patience: Duration) {
        state.awaited = Awaited::Records(count);
        #[expect(clippy::disallowed_methods, reason = "bounds a wait; no decision rests on it")]
        let end = Instant::now() + patience;
        while state.failing.is_none() && !state.closed && !state.has_awaited() {
            if self.changed.wait_until(state, end).timed_out() {
                break;
            }
        }
    }

    /// The batch is durable, and with it the news of `reported` lost notes.
    pub(crate) fn succeed(&self, reported: u64) {
        let mut state = self.state.lock();
        state.failing = None;
        state.lost -= reported;
    }

    /// The batch could not be written: its notes go back to the front; returns every waiter of the batch and the queue.
    pub(crate) fn fail(
        &self,
        batch: Vec<Item>,
        error: String,
    ) -> Vec<oneshot::Sender<Result<Receipt, Refusal>>> {
        let mut state = self.state.lock();
        state.failing = Some(error);
        let mut waiters = Vec::new();
        let mut notes = VecDeque::new();
        for mut item in batch.into_iter().chain(std::mem::take(&mut state.items)) {
            match item.waiter.take() {
                Some(waiter) => waiters.push(waiter),
                None => notes.push_back(item),
            }
        }
        state.bytes = notes.iter().map(|item| item.body.bytes.len()).sum();
        state.records = 0;
        state.items = notes;
        waiters
    }

    /// Nothing more is accepted; what waits is still written.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Whether [`Self::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// How many wait, how many were lost, and what the disk said if it is failing.
    pub(crate) fn status(&self) -> (usize, u64, Option<String>) {
        let state = self.state.lock();
        (state.items.len(), state.lost, state.failing.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(waiter: Option<oneshot::Sender<Result<Receipt, Refusal>>>) -> Item {
        let body = Body { bytes: vec![b'{', b'}'], prev: 1, seq: 1, time: 1 };
        Item { body, time: Timestamp::default(), waiter }
    }

    fn queue(notes: usize, records: usize) -> Queue {
        let queue = Queue::default();
        for _ in 0..notes {
            assert!(queue.push(item(None)).is_ok());
        }
        for _ in 0..records {
            assert!(queue.push(item(Some(oneshot::channel().0))).is_ok());
        }
        queue
    }

    #[test]
    fn one_batch_takes_all_that_waits() {
        for (notes, records) in [(1, 0), (3, 1), (2, CROWD), (0, 2 * CROWD)] {
            let queue = queue(notes, records);
            assert_eq!(
                queue.take().unwrap().items.len(),
                notes + records,
                "{notes} notes, {records} records"
            );
            assert_eq!(queue.state.lock().answered, records, "nobody waits for notes");
        }
    }

    #[test]
    fn the_writer_is_woken_for_what_it_awaits_only() {
        for (awaited, notes, records, woken) in [
            (Awaited::Anything, 0, 0, false),
            (Awaited::Anything, 1, 0, true),
            (Awaited::Nothing, 1, 1, false),
            (Awaited::Records(2), 5, 1, false),
            (Awaited::Records(2), 0, 2, true),
        ] {
            let queue = queue(notes, records);
            let mut state = queue.state.lock();
            state.awaited = awaited;
            assert_eq!(state.has_awaited(), woken, "{awaited:?}, {notes} notes, {records} records");
        }
    }

    #[test]
    fn a_crowd_that_does_not_come_again_is_not_waited_for_for_long() {
        let queue = queue(0, CROWD);
        queue.take();
        assert!(queue.push(item(None)).is_ok());
        assert_eq!(queue.take().unwrap().items.len(), 1);
    }
}
