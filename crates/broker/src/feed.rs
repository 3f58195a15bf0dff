//! The deny feed of one verifier: a snapshot or what it missed, then every record as it becomes durable, then heartbeats.
//!
//! It reads the store and keeps only a position, so a slow reader costs nobody anything, and what it says is exactly what
//! is durable, in the order of the epochs.

use crate::{
    Broker, Caller, Marker,
    verifiers::{Follows, Session},
};
use std::{sync::Arc, time::Duration};
use taskpass_store::Denies;
use taskpass_types::{
    DenyRecord, Epoch, HistoryId, Reason, Refusal, ResourceName, SessionId, TenantId, Timestamp,
};
use tokio::sync::watch;

/// A feed that has nothing to say says so this often: within the second that is promised, and no oftener, for it is what an
/// idle verifier costs.
const HEARTBEAT: Duration = Duration::from_millis(900);
/// At most so many records in one message.
const RECORDS_PER_MESSAGE: usize = 512;

/// Where a verifier goes on from.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// The history that its epochs count in.
    pub history: HistoryId,
    /// The last epoch that it has.
    pub epoch: Epoch,
}

/// How a verifier follows.
#[derive(Clone, Debug, Default)]
pub struct WatchAsk {
    /// Where it goes on; `None`: with a snapshot.
    pub resume: Option<Resume>,
    /// The resource that it guards: it is told of nothing else. `None`: of everything.
    pub audience: Option<ResourceName>,
    /// Which of the verifiers with its identity it is; at most 128 letters count.
    pub instance: String,
    /// For how long it accepts without hearing anything; `None`: until what it accepts has expired.
    pub max_stale: Option<Duration>,
}

/// What credentials are checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationKeys {
    /// The `iss` of tokens.
    pub issuer: String,
    /// The trust domain of certificates.
    pub trust_domain: String,
    /// The public token keys, a JWKS.
    pub jwks: String,
    /// The CA certificates, DER.
    pub ca_certificates: Vec<Vec<u8>>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct FeedMessage {
    /// The history.
    pub history: HistoryId,
    /// The records follow this epoch directly.
    pub after: Epoch,
    /// What the reader has with this message.
    pub epoch: Epoch,
    /// It replaces all that the reader holds.
    pub snapshot: bool,
    /// In the order of their epochs.
    pub records: Vec<DenyRecord>,
    /// The broker's clock.
    pub sent_at: Timestamp,
    /// In the first message, and when they changed.
    pub keys: Option<VerificationKeys>,
    /// The rest follows at once.
    pub more: bool,
    /// Under which name it acknowledges what it enforces; in the first message.
    pub session: Option<SessionId>,
    /// What it is asked about.
    pub probes: Vec<Marker>,
}

/// The feed of one verifier.
pub struct DenyFeed {
    broker: Broker,
    tenant: TenantId,
    denied: watch::Receiver<u64>,
    audience: Option<ResourceName>,
    session: Session,
    position: Position,
    /// The last read was to the end.
    caught_up: bool,
    /// The keys that it was shown, as the ring gave them: they are the same while these are.
    shown: Option<(Arc<str>, Arc<str>)>,
}

/// One look at the store.
struct Look {
    history: HistoryId,
    after: Epoch,
    snapshot: bool,
    denies: Denies,
    as_of: Timestamp,
}

enum Position {
    /// Nothing sent yet; go on from here, or with a snapshot.
    Begin(Option<Resume>),
    /// A snapshot is being sent in parts, or deltas.
    Sent(Epoch),
}

impl Broker {
    /// Opens a verifier's feed.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, also for what it does not guard; `QUOTA_EXCEEDED` when too many follow.
    pub fn watch_denies(&self, caller: &Arc<Caller>, ask: WatchAsk) -> Result<DenyFeed, Refusal> {
        let name = caller.require_guard(ask.audience.as_ref())?;
        let follows = Follows::new(caller.tenant.clone(), name, &ask);
        Ok(DenyFeed {
            denied: self.parts().store.denied(),
            session: self.0.verifiers.open(follows, self.now())?,
            broker: self.clone(),
            tenant: caller.tenant.clone(),
            audience: ask.audience,
            position: Position::Begin(ask.resume),
            caught_up: false,
            shown: None,
        })
    }

    /// What credentials are checked against, now.
    pub fn verification_keys(&self) -> VerificationKeys {
        let parts = self.parts();
        VerificationKeys {
            issuer: parts.settings.issuer.clone(),
            trust_domain: parts.settings.trust_domain.to_string(),
            jwks: parts.keys.jwks_json().to_string(),
            ca_certificates: parts.keys.ca_certificates(),
        }
    }
}

impl Broker {
    /// The CA certificates in PEM, for those who do not follow the feed.
    pub fn ca_bundle_pem(&self) -> String {
        self.parts().keys.ca_bundle_pem().to_string()
    }
}

impl DenyFeed {
    /// The next message: at once if there is something to say, else as soon as there is, at the latest as a heartbeat.
    ///
    /// # Errors
    /// When the store does not answer; the feed ends then, and the verifier starts anew.
    pub async fn next(&mut self) -> Result<FeedMessage, Refusal> {
        let begins = matches!(self.position, Position::Begin(_));
        if begins {
            // The fleet knows of it before it accepts anything.
            self.broker.share_followers().await?;
        }
        // What was read to its end has nothing new until the store says so: a look now would be in the way of those who are
        // still to be told.
        let waits = !begins && self.caught_up && !self.denied.has_changed().unwrap_or(true);
        if waits {
            self.wait().await;
        }
        // Marked before the read, so that a record written after it wakes the next wait.
        self.denied.mark_unchanged();
        let mut look = self.look().await?;
        if !begins && !waits && look.denies.epoch == look.after {
            self.wait().await;
            look = self.look().await?;
        }
        if look.denies.epoch < look.after {
            // It comes from a future that this history does not have: all over again.
            let denies = Denies { records: Vec::new(), epoch: look.denies.epoch };
            let nothing = Look { after: Epoch::default(), snapshot: true, denies, ..look };
            return Ok(self.message(nothing, Epoch::default()));
        }
        let reached = reached(&look.denies);
        self.caught_up = reached == look.denies.epoch;
        Ok(self.message(look, reached))
    }

    /// Until something was denied, there is something to ask, or a heartbeat is due; which of them, the next read tells.
    async fn wait(&mut self) {
        let woken = async {
            tokio::select! {
                _ = self.denied.changed() => {}
                () = self.session.asked() => {}
            }
        };
        drop(tokio::time::timeout(HEARTBEAT, woken).await);
    }

    /// What there is to say from where the reader is.
    async fn look(&self) -> Result<Look, Refusal> {
        let history = self.broker.parts().store.history();
        let (after, snapshot) = match &self.position {
            Position::Begin(Some(resume)) if resume.history == history => (resume.epoch, false),
            Position::Begin(_) => (Epoch::default(), true),
            Position::Sent(epoch) => (*epoch, false),
        };
        // Before the read: what it says was so at this time, not only when it is sent.
        let as_of = self.broker.now();
        let denies = self.read(after).await?;
        if self.broker.parts().store.history() != history {
            return Err(Refusal::new(Reason::StoreUnavailable, "the store began another history meanwhile")
                .fix("connect again"));
        }
        Ok(Look { history, after, snapshot, denies, as_of })
    }

    /// A store that has lost something has forgotten ends: its feed is silent until what was signed before is cut off, and
    /// until the keys that it shows are those that sign since.
    async fn read(&self, after: Epoch) -> Result<Denies, Refusal> {
        if *self.broker.parts().store.mending().borrow() {
            return Err(Refusal::new(
                Reason::StoreUnavailable,
                "the store has lost something and is being made whole",
            )
            .fix("connect again in a moment"));
        }
        self.broker.follow_keys().await?;
        self.broker.parts().store.denies_after(&self.tenant, after, RECORDS_PER_MESSAGE).await
    }

    /// Of what was found, as far as `epoch`.
    fn message(&mut self, look: Look, epoch: Epoch) -> FeedMessage {
        let Look { history, after, snapshot, denies, as_of: sent_at } = look;
        let begins = matches!(self.position, Position::Begin(_));
        self.position = Position::Sent(epoch);
        self.session.sends(history, epoch, sent_at);
        let ring = &self.broker.parts().keys;
        let (jwks, bundle) = (ring.jwks_json(), ring.ca_bundle_pem());
        let same = |(one, two): &(Arc<str>, Arc<str>)| Arc::ptr_eq(one, &jwks) && Arc::ptr_eq(two, &bundle);
        let keys = (!self.shown.as_ref().is_some_and(same)).then(|| self.broker.verification_keys());
        if keys.is_some() {
            self.shown = Some((jwks, bundle));
        }
        let more = epoch < denies.epoch;
        let mut records = denies.records;
        // The numbers that are left out are covered all the same: the reader has everything up to `epoch`.
        records.retain(|record| self.audience.as_ref().is_none_or(|audience| record.concerns(audience)));
        let session = begins.then(|| self.session.id());
        let probes = if more { Vec::new() } else { self.session.probes(epoch, sent_at) };
        FeedMessage { history, after, epoch, snapshot, records, sent_at, keys, more, session, probes }
    }
}

/// How far a read got: to the newest epoch, unless its limit cut it off. Records that were forgotten after their time
/// leave gaps in the numbers, never in what matters.
fn reached(denies: &Denies) -> Epoch {
    match denies.records.last() {
        Some(last) if denies.records.len() == RECORDS_PER_MESSAGE => last.epoch,
        _ => denies.epoch,
    }
}
