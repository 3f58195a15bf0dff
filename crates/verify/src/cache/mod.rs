//! What a verifier keeps on disk, so that it need not wait for the broker when it starts: deny records, position, keys, and
//! when they were heard.
//!
//! A cache is the feed once more: the same messages, read by the same code. Invariants: what was acknowledged as enforced
//! is in the cache, or there is none; a cache makes nothing look fresher than it was, whatever the clocks do; one that is
//! damaged, foreign, too open, or from the future is not used.

mod file;
mod save;

use file::CacheFile;
pub(crate) use save::Saver;

use crate::{
    denies::Record,
    feed::{Applied, Feed, Position, Resync},
    keys::Keys,
    shared::Shared,
    wire::{Malformed, Message},
};
use prost::Message as _;
use std::{convert::Infallible, io, path::Path, sync::Arc, time::Duration};
use taskpass_crypto::Leeway;
use taskpass_proto::v1::{VerificationKeys, WatchDeniesResponse};
use taskpass_types::Timestamp;

/// How many records go into one message of a snapshot.
const PAGE: usize = 512;

/// Why a cache is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("{0}")]
    Foreign(&'static str),
    #[error("it is from the future: the clock was set back")]
    Future,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("others may read or write it, or own it: `chmod 600` it, or remove it")]
    Open,
    #[error("the broker was last heard {} s ago", .0.as_secs())]
    Old(Duration),
    #[error(transparent)]
    Resync(#[from] Resync),
}

/// When a message was heard, by both of our clocks, and how old it was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) wall: Timestamp,
    pub(crate) stopwatch: Timestamp,
    pub(crate) age: Duration,
}

impl Heard {
    const BYTES: usize = 24;

    /// How old it is now: by the clock that says more. The stopwatch begins anew with the machine, and says less or too
    /// much then; the wall clock may have been set.
    fn age(self, wall: Timestamp, stopwatch: Timestamp) -> Result<Duration, Unusable> {
        if self.wall > wall {
            return Err(Unusable::Future);
        }
        Ok(wall.since(self.wall).max(stopwatch.since(self.stopwatch)).saturating_add(self.age))
    }

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let age = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        let mut bytes = [0; Self::BYTES];
        let numbers = [self.wall.as_millis(), self.stopwatch.as_millis(), age];
        bytes.chunks_mut(8).zip(numbers).for_each(|(to, number)| to.copy_from_slice(&number.to_le_bytes()));
        bytes
    }

    fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let [wall, stopwatch, age] = [0, 8, 16].map(|start| {
            let number = bytes.iter().skip(start).take(8).rev();
            number.fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
        });
        let at = Timestamp::from_millis;
        Self { wall: at(wall), stopwatch: at(stopwatch), age: Duration::from_millis(age) }
    }
}

/// A message of the feed as it is kept.
pub(crate) fn frame(heard: Heard, message: &WatchDeniesResponse) -> Vec<u8> {
    let mut bytes = heard.to_bytes().to_vec();
    bytes.extend(message.encode_to_vec());
    bytes
}

/// All that is held, as the messages of a snapshot.
pub(crate) struct Everything {
    pub(crate) position: Position,
    pub(crate) records: Vec<Record>,
    pub(crate) keys: Option<VerificationKeys>,
    pub(crate) heard: Heard,
}

impl Everything {
    fn frames(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let last = self.records.len().div_ceil(PAGE).max(1) - 1;
        let mut after = 0;
        (0..=last).map(move |number| {
            let records: Vec<_> =
                self.records.iter().skip(number * PAGE).take(PAGE).map(Into::into).collect();
            let reached =
                records.last().map_or(after, |record: &taskpass_proto::v1::DenyRecord| record.epoch);
            let message = WatchDeniesResponse {
                history_id: self.position.history.to_string(),
                after_epoch: after,
                epoch: if number == last { self.position.epoch.0 } else { reached },
                snapshot: number == 0,
                records,
                // When it was sent is in the frame, by our clocks.
                send_time: Some(prost_types::Timestamp::default()),
                keys: self.keys.clone().filter(|_| number == 0),
                more: number < last,
                ..Default::default()
            };
            after = reached;
            frame(self.heard, &message)
        })
    }
}

/// Takes up what `path` has, if it can be used, and keeps it up to date from then on. Whatever is wrong with it, the
/// verifier starts, as it would without one.
pub(crate) fn start(
    path: Option<&Path>,
    feed: &mut Feed,
    shared: &Arc<Shared>,
) -> Option<(Saver, impl Future<Output = Infallible> + Send + use<>)> {
    let path = path?;
    let file = match CacheFile::hold(path, &format!("{}\0{}", shared.tenant, shared.audience)) {
        Ok(file) => file,
        Err(error) => {
            tracing::error!(path = %path.display(), reason = %error, "no cache of denies is kept");
            return None;
        }
    };
    let keys = match load(&file, feed, shared) {
        Ok(keys) => {
            shared.meter.cache(if keys.is_some() { "used" } else { "absent" });
            keys
        }
        Err(unusable) => {
            tracing::warn!(path = %path.display(), reason = %unusable, "the cache of denies is not used");
            shared.meter.cache("unusable");
            None
        }
    };
    Some(Saver::new(file, Arc::clone(shared), keys))
}

/// Puts what the file has into `feed`, and in force, and gives the keys; `None`: there is no file.
fn load(file: &CacheFile, feed: &mut Feed, shared: &Shared) -> Result<Option<VerificationKeys>, Unusable> {
    let Some(frames) = file.read()? else { return Ok(None) };
    let (wall, stopwatch) = (shared.wall.now(), shared.stopwatch.now());
    let horizon = wall.minus(Leeway::MAX.as_duration());
    // Nothing of it is seen before all of it has been read.
    let (mut read, mut keys, mut age) = (feed.like(), None, None);
    for bytes in frames {
        let (heard, message) =
            bytes.split_first_chunk().ok_or(Unusable::Damaged("a message is too short"))?;
        let message =
            WatchDeniesResponse::decode(message).map_err(|_| Unusable::Damaged("a message is none"))?;
        keys = message.keys.clone().or(keys);
        let heard = Heard::parse(heard).age(wall, stopwatch)?;
        if read.apply(Message::try_from(message)?, horizon)? == Applied::Whole {
            age = Some(heard);
        }
    }
    let age = age.ok_or(Unusable::Damaged("it holds nothing"))?;
    if shared.max_stale.is_some_and(|max| age > max) {
        return Err(Unusable::Old(age));
    }
    let keys = keys.ok_or(Unusable::Damaged("it has no keys"))?;
    let parsed = Keys::parse(&keys)?;
    feed.take(read);
    shared.keys.store(Some(Arc::new(parsed)));
    shared.note(stopwatch.minus(age), feed.position().map(|held| held.epoch), true);
    tracing::info!(?age, "began with the cache of denies");
    Ok(Some(keys))
}
