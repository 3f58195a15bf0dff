//! Follows the feed: connects, resumes, applies, and notes how fresh what is held is.
//!
//! A message is as fresh as the moment when it was *sent*. What waited in a buffer while this process was stopped, or
//! the network was cut, must not count as news when it is read at last. The two clocks need not agree for that: the
//! first answer was certainly sent after it was asked for, which fixes a moment of ours to one of the broker's; later
//! messages are dated from there, never too late. A session whose messages come in old, or dated in the future because a
//! clock was set, is given up for a new one, which fixes the clocks to each other anew.

use crate::{
    cache::{Heard, Saver},
    feed::{Applied, Feed, Position, Resync},
    shared::Shared,
    wire::{Malformed, Message},
};
use std::{sync::Arc, time::Duration};
use taskpass_crypto::Leeway;
use taskpass_proto::v1::{
    AcknowledgeDeniesRequest, AnswerProbesRequest, ProbeAnswer, WatchDeniesRequest, WatchDeniesResponse,
    revocation_service_client::RevocationServiceClient,
};
use taskpass_types::{Grant, Timestamp};
use tokio::{
    sync::{mpsc, watch},
    time::{error::Elapsed, sleep, timeout},
};
use tonic::{Code, Status, Streaming, transport::Channel};

/// How long the first message may take.
const OPENING: Duration = Duration::from_secs(10);
/// Three heartbeats: who is silent for longer is gone.
const SILENCE: Duration = Duration::from_secs(3);
/// So far may the broker's clock run away from ours within one session: what is dated in the future can wait in a buffer for
/// as long and still be taken for news.
const AHEAD: Duration = Duration::from_millis(500);
/// So old may messages come in where nobody sets a limit.
const LATE: Duration = SILENCE;
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(1);
/// So long what is enforced waits before it is told: the broker tells others meanwhile, who enforce nothing before they
/// are told, and one word does for several records.
const BREATH: Duration = Duration::from_millis(2);
/// How many answers wait to be told, and are told at once.
const ANSWERS: usize = 64;
/// A snapshot of a million records fits.
const MAX_MESSAGE_BYTES: usize = 128 * 1024 * 1024;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("messages come in from {} ms ahead", .0.as_millis())]
    Ahead(Duration),
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

impl Lost {
    /// For metrics.
    fn code(&self) -> &'static str {
        match self {
            Self::Ahead(_) => "ahead",
            Self::Ended => "ended",
            Self::Late(_) => "late",
            Self::Malformed(_) => "malformed",
            Self::Refused(_) => "refused",
            Self::Resync(_) => "resync",
            Self::Silent(_) => "silent",
        }
    }
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
    instance: String,
    saver: Option<Saver>,
    /// Messages that this session applied.
    applied: u64,
    /// What this session is acknowledged under.
    session: Option<String>,
}

impl Follower {
    pub(crate) fn new(
        channel: Channel,
        shared: Arc<Shared>,
        feed: Feed,
        instance: String,
        saver: Option<Saver>,
    ) -> Self {
        let client = RevocationServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, shared, feed, instance, saver, applied: 0, session: None }
    }

    /// Until it is cancelled.
    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        // What a cache held goes on.
        let mut resume = self.feed.position().is_some();
        loop {
            self.applied = 0;
            self.session = None;
            self.feed.begin();
            self.saver.iter_mut().for_each(Saver::begin);
            let Err(lost) = self.session(resume).await;
            // What the broker could not go on from, or we could not, is not tried twice.
            resume = self.applied > 0 && !matches!(lost, Lost::Resync(_));
            failures = if self.applied > 1 { 0 } else { failures + 1 };
            let pause = backoff(failures);
            self.shared.meter.lost(lost.code());
            tracing::warn!(reason = %lost, resume, ?pause, "lost the deny feed");
            sleep(pause).await;
        }
    }

    async fn session(&mut self, resume: bool) -> Result<std::convert::Infallible, Lost> {
        let position = self.feed.position().filter(|_| resume);
        let request = WatchDeniesRequest {
            history_id: position.map(|held| held.history.to_string()).unwrap_or_default(),
            epoch: position.map_or(0, |held| held.epoch.0),
            audience: self.shared.audience.to_string(),
            instance: self.instance.clone(),
            // Unset says "until what I accept has expired", which is also how a limit that cannot be said acts.
            max_stale: self.shared.max_stale.and_then(|limit| limit.try_into().ok()),
        };
        let asked_at = self.shared.stopwatch.now();
        let stream =
            timeout(OPENING, self.client.watch_denies(request)).await?.map_err(Box::new)?.into_inner();
        let enforced = watch::Sender::new(None);
        let acknowledging = acknowledge(self.client.clone(), enforced.subscribe());
        let (answers, answered) = mpsc::channel(ANSWERS);
        let answering = answer(self.client.clone(), answered);
        tokio::select! {
            lost = self.follow(stream, asked_at, &enforced, &answers) => lost,
            never = acknowledging => never,
            never = answering => never,
        }
    }

    async fn follow(
        &mut self,
        mut stream: Streaming<WatchDeniesResponse>,
        asked_at: Timestamp,
        enforced: &watch::Sender<Option<Enforced>>,
        answers: &mpsc::Sender<(String, ProbeAnswer)>,
    ) -> Result<std::convert::Infallible, Lost> {
        let mut anchor = None;
        let mut patience = OPENING;
        loop {
            let message = timeout(patience, stream.message()).await?.map_err(Box::new)?.ok_or(Lost::Ended)?;
            let mut parsed = Message::try_from(message.clone())?;
            let probes = std::mem::take(&mut parsed.probes);
            let anchor = *anchor.get_or_insert(Anchor { ours: asked_at, theirs: parsed.sent_at });
            let now = self.shared.stopwatch.now();
            let dated = anchor.date(parsed.sent_at);
            let sent_at = dated.min(now);
            let applied = self.apply(parsed, sent_at)?;
            self.save(&message, applied, now, sent_at);
            self.tell(enforced);
            if applied != Applied::Part {
                self.look(&probes, answers);
            }
            let ahead = dated.since(now);
            if ahead > AHEAD {
                return Err(Lost::Ahead(ahead));
            }
            let late = now.since(sent_at);
            if late > self.shared.max_stale.map_or(LATE, |limit| limit / 2) {
                return Err(Lost::Late(late));
            }
            patience = SILENCE;
        }
    }

    fn apply(&mut self, mut message: Message, sent_at: Timestamp) -> Result<Applied, Resync> {
        let keys = message.keys.take();
        if let Some(session) = message.session.take() {
            self.session = Some(session);
        }
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
        Ok(applied)
    }

    fn save(&mut self, message: &WatchDeniesResponse, applied: Applied, now: Timestamp, sent_at: Timestamp) {
        let Some(saver) = &mut self.saver else { return };
        let heard = Heard { wall: self.shared.wall.now(), stopwatch: now, age: now.since(sent_at) };
        match applied {
            Applied::Repeat => {}
            Applied::Part => saver.applied(message, heard, self.feed.position(), false),
            Applied::Whole => saver.applied(message, heard, self.feed.position(), true),
        }
    }

    /// Looks whether what the broker asks about would be refused, in the very set that requests are checked against. More
    /// answers than can wait are not given.
    fn look(&self, probes: &[Grant], answers: &mpsc::Sender<(String, ProbeAnswer)>) {
        let Some(session) = &self.session else { return };
        for probe in probes {
            let expired = self.shared.wall.now() >= probe.expires_at.plus(Leeway::MAX.as_duration());
            let refused = expired || self.shared.denies.read().find(probe).is_some();
            let answer = ProbeAnswer { lease_id: probe.lease.to_string(), refused };
            drop(answers.try_send((session.clone(), answer)));
        }
    }

    /// What is enforced by now is acknowledged, when that is new; with a cache, once it is in there too. The parts of a
    /// snapshot are not enforced yet.
    fn tell(&self, enforced: &watch::Sender<Option<Enforced>>) {
        let held = self.session.clone().zip(self.feed.position());
        match (&self.saver, held) {
            (Some(saver), Some(held)) => saver.then(enforced, held),
            (_, held) => tell(enforced, held),
        }
    }
}

/// Under which session, and up to where.
pub(crate) type Enforced = (String, Position);

pub(crate) fn tell(enforced: &watch::Sender<Option<Enforced>>, held: Option<Enforced>) {
    enforced.send_if_modified(|told| {
        let new = *told != held;
        *told = held;
        new
    });
}

/// Tells the broker what is enforced, one call at a time: while one is under way, what comes meanwhile is told with the
/// next. What cannot be told is told again; a verifier that cannot is only missing in receipts, and refuses all the same.
async fn acknowledge(
    mut client: RevocationServiceClient<Channel>,
    mut enforced: watch::Receiver<Option<Enforced>>,
) -> Result<std::convert::Infallible, Lost> {
    loop {
        sleep(BREATH).await;
        let Some((session_id, held)) = enforced.borrow_and_update().clone() else {
            changed(&mut enforced).await;
            continue;
        };
        let request = AcknowledgeDeniesRequest {
            session_id,
            history_id: held.history.to_string(),
            epoch: held.epoch.0,
        };
        match timeout(SILENCE, client.acknowledge_denies(request)).await {
            Ok(Err(status)) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => {
                sleep(BACKOFF).await
            }
            Ok(Err(status)) => {
                tracing::warn!(reason = %status.message(), "the broker takes no acknowledgement");
                changed(&mut enforced).await;
            }
            Ok(Ok(_)) => changed(&mut enforced).await,
            Err(_) => {}
        }
    }
}

/// Tells the broker what was found out for it, as much as there is at once. What cannot be told is not told again: it is asked
/// about no more by a broker that is gone.
async fn answer(
    mut client: RevocationServiceClient<Channel>,
    mut answered: mpsc::Receiver<(String, ProbeAnswer)>,
) -> Result<std::convert::Infallible, Lost> {
    let mut some = Vec::new();
    loop {
        if answered.recv_many(&mut some, ANSWERS).await == 0 {
            std::future::pending::<()>().await;
        }
        let session_id = some.first().map(|(session, _)| session.clone()).unwrap_or_default();
        let answers = some.drain(..).map(|(_, answer)| answer).collect();
        let told = client.answer_probes(AnswerProbesRequest { session_id, answers });
        if let Ok(Err(status)) = timeout(SILENCE, told).await {
            tracing::warn!(reason = %status.message(), "the broker takes no answer to what it asked");
        }
    }
}

/// Waits for ever once there is nobody left who could tell of a change.
async fn changed(enforced: &mut watch::Receiver<Option<Enforced>>) {
    if enforced.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Doubles up to the cap; a random half of it, so that verifiers do not come back in step.
fn backoff(failures: u32) -> Duration {
    let full = BACKOFF.saturating_mul(1 << failures.min(8)).min(BACKOFF_CAP);
    full.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}
