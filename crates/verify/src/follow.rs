//! Follows the feed: connects, resumes, applies, and notes how fresh what is held is.
//!
//! A message is as fresh as the moment when it was *sent*. What waited in a buffer while this process was stopped, or
//! the network was cut, must not count as news when it is read at last. The two clocks need not agree for that: the
//! first answer was certainly sent after it was asked for, which fixes a moment of ours to one of the broker's; later
//! messages are dated from there, never too late. A session whose messages come in old is given up for a new one, which
//! fixes the clocks to each other anew.

use crate::{
    feed::{Applied, Feed, Resync},
    shared::Shared,
    wire::{Malformed, Message},
};
use std::{sync::Arc, time::Duration};
use taskpass_crypto::Leeway;
use taskpass_proto::v1::{WatchDeniesRequest, revocation_service_client::RevocationServiceClient};
use taskpass_types::Timestamp;
use tokio::time::{error::Elapsed, sleep, timeout};
use tonic::{Status, transport::Channel};

/// How long the first message may take.
const OPENING: Duration = Duration::from_secs(10);
/// Three heartbeats: who is silent for longer is gone.
const SILENCE: Duration = Duration::from_secs(3);
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(1);
/// A snapshot of a million records fits.
const MAX_MESSAGE_BYTES: usize = 128 * 1024 * 1024;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the broker ended the stream")]
    Ended,
    #[error("messages come in {} ms late", .0.as_millis())]
    Late(Duration),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{}", .0.message())]
    Refused(#[from] Box<Status>),
    #[error(transparent)]
    Resync(#[from] Resync),
    #[error("the broker is silent")]
    Silent(#[from] Elapsed),
}

/// A moment of ours, and one of the broker's that is not before it.
#[derive(Clone, Copy)]
struct Anchor {
    ours: Timestamp,
    theirs: Timestamp,
}

impl Anchor {
    /// When something was sent, by our stopwatch; rather too early than too late.
    fn date(self, sent_at: Timestamp) -> Timestamp {
        self.ours.plus(sent_at.since(self.theirs))
    }
}

pub(crate) struct Follower {
    client: RevocationServiceClient<Channel>,
    shared: Arc<Shared>,
    feed: Feed,
    /// Messages that this session applied.
    applied: u64,
}

impl Follower {
    pub(crate) fn new(channel: Channel, shared: Arc<Shared>, feed: Feed) -> Self {
        let client = RevocationServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, shared, feed, applied: 0 }
    }

    /// Until it is cancelled.
    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        let mut resume = false;
        loop {
            self.applied = 0;
            self.feed.begin();
            let Err(lost) = self.session(resume).await;
            // What the broker could not go on from, or we could not, is not tried twice.
            resume = self.applied > 0 && !matches!(lost, Lost::Resync(_));
            failures = if self.applied > 1 { 0 } else { failures + 1 };
            let pause = backoff(failures);
            tracing::warn!(reason = %lost, resume, ?pause, "lost the deny feed");
            sleep(pause).await;
        }
    }

    async fn session(&mut self, resume: bool) -> Result<std::convert::Infallible, Lost> {
        let position = self.feed.position().filter(|_| resume);
        let request = position.map_or_else(WatchDeniesRequest::default, |held| WatchDeniesRequest {
            history_id: held.history.to_string(),
            epoch: held.epoch.0,
        });
        let asked_at = self.shared.stopwatch.now();
        let mut stream =
            timeout(OPENING, self.client.watch_denies(request)).await?.map_err(Box::new)?.into_inner();
        let mut anchor = None;
        let mut patience = OPENING;
        loop {
            let message = timeout(patience, stream.message()).await?.map_err(Box::new)?.ok_or(Lost::Ended)?;
            let message = Message::try_from(message)?;
            let anchor = *anchor.get_or_insert(Anchor { ours: asked_at, theirs: message.sent_at });
            let now = self.shared.stopwatch.now();
            let sent_at = anchor.date(message.sent_at).min(now);
            self.apply(message, sent_at)?;
            let late = now.since(sent_at);
            if late > self.shared.max_stale / 2 {
                return Err(Lost::Late(late));
            }
            patience = SILENCE;
        }
    }

    fn apply(&mut self, mut message: Message, sent_at: Timestamp) -> Result<(), Resync> {
        let keys = message.keys.take();
        let news = message.snapshot || !message.records.is_empty();
        let horizon = self.shared.wall.now().minus(Leeway::MAX.as_duration());
        let applied = self.feed.apply(message, horizon)?;
        if let Some(keys) = keys {
            self.shared.keys.store(Some(Arc::new(keys)));
        }
        if applied == Applied::Whole {
            let epoch = self.feed.position().map(|held| held.epoch);
            self.shared.note(sent_at, epoch, news);
        }
        self.applied += 1;
        Ok(())
    }
}

/// Doubles up to the cap; a random half of it, so that verifiers do not come back in step.
fn backoff(failures: u32) -> Duration {
    let full = BACKOFF.saturating_mul(1 << failures.min(8)).min(BACKOFF_CAP);
    full.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}
