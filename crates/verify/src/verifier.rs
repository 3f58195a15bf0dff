//! The checks that a resource server makes.
//!
//! Order: the credential itself, its signature before anything it says; its expiry; its binding; what is denied; how
//! fresh the feed is. Invariant: nothing is accepted unless every one of them passed just now.

use crate::{
    Granted, Keys, Rejected, builder::VerifierBuilder, cache, feed::Feed, follow::Follower, meter::Meter,
    shared::Shared,
};
use rustls_pki_types::CertificateDer;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use taskpass_crypto::{Expect, Leeway, thumbprint};
use taskpass_types::{Confirmation, Epoch, Grant, ResourceName, TenantId};
use tokio::{sync::watch, time::timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::transport::Channel;

/// How far the broker's clock may be from ours.
const LEEWAY: Leeway = Leeway::MAX;
/// How often a connection that hears nothing is looked at anyway.
const GLANCE: Duration = Duration::from_secs(1);

/// Checks credentials for one resource. Clones share everything; the feed is followed until the last one is dropped.
#[derive(Clone)]
pub struct Verifier {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("audience", &self.shared.audience)
            .field("epoch", &self.epoch())
            .field("staleness", &self.staleness())
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// Begins to set up a verifier that hears the broker over `channel`.
    pub fn builder(channel: Channel) -> VerifierBuilder {
        VerifierBuilder::new(channel)
    }

    pub(crate) fn start(builder: VerifierBuilder, audience: ResourceName, tenant: TenantId) -> Self {
        let mut feed = Feed::new(builder.max_records);
        let shared =
            Arc::new(Shared::new((audience, tenant), builder.max_stale, builder.clocks, feed.denies()));
        let (saver, saving) = cache::start(builder.cache.as_deref(), &mut feed, &shared).unzip();
        let follower = Follower::new(builder.channel, Arc::clone(&shared), feed, builder.instance, saver);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(stop.clone().run_until_cancelled_owned(follower.run()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(Meter::run(Arc::clone(&shared))));
        if let Some(saving) = saving {
            tasks.spawn(stop.clone().run_until_cancelled_owned(saving));
        }
        Self { shared, _stop: Arc::new(stop.drop_guard()) }
    }

    /// Waits until the first snapshot is applied, or a cache was taken.
    pub async fn ready(&self) {
        // Fails only when the sender is gone, and we hold it.
        let _ = self.shared.epoch.subscribe().wait_for(Option::is_some).await;
    }

    /// The epoch that is enforced; `None` before the first snapshot.
    pub fn epoch(&self) -> Option<Epoch> {
        *self.shared.epoch.borrow()
    }

    /// The epoch that is enforced, from now on.
    pub fn watch_epoch(&self) -> watch::Receiver<Option<Epoch>> {
        self.shared.epoch.subscribe()
    }

    /// How long ago the broker was heard, at most; `None`: never. Everything is refused above `max_stale`, if there is one.
    pub fn staleness(&self) -> Option<Duration> {
        self.shared.staleness()
    }

    /// Checks a bearer token. One that is bound to a key or a certificate is refused: see
    /// [`Verifier::verify_bound_token`].
    pub fn verify_token(&self, token: &str) -> Result<Granted, Rejected> {
        self.verify_bound_token(token, None)
    }

    /// Checks a token that came over a TLS connection whose client presented `peer` and proved its key.
    ///
    /// A token that is bound to a certificate (RFC 8705, `x5t#S256`) must come with that one. Proofs of possession for
    /// `jkt` are not taken, so such a token is refused.
    pub fn verify_bound_token(
        &self,
        token: &str,
        peer: Option<&CertificateDer<'_>>,
    ) -> Result<Granted, Rejected> {
        let result = self.judge_token(token, peer);
        self.shared.meter.checked(&result);
        result
    }

    /// The same, uncounted.
    pub(crate) fn judge_token(
        &self,
        token: &str,
        peer: Option<&CertificateDer<'_>>,
    ) -> Result<Granted, Rejected> {
        let keys = self.shared.keys.load();
        let keys = keys.as_deref().ok_or(Rejected::NotReady)?;
        let grant = keys.tokens.verify(
            token,
            &Expect {
                issuer: &keys.issuer,
                audience: Some(&self.shared.audience),
                now: self.shared.wall.now(),
                leeway: LEEWAY,
            },
        )?;
        check_binding(&grant, peer)?;
        self.admit(grant)
    }

    /// Checks the chain of a TLS client, leaf first, whose key the handshake has proved.
    pub fn verify_certificate(&self, chain: &[CertificateDer<'_>]) -> Result<Granted, Rejected> {
        let result = self.judge_certificate(chain);
        self.shared.meter.checked(&result);
        result
    }

    /// The same, uncounted.
    pub(crate) fn judge_certificate(&self, chain: &[CertificateDer<'_>]) -> Result<Granted, Rejected> {
        let keys = self.shared.keys.load();
        let keys = keys.as_deref().ok_or(Rejected::NotReady)?;
        let authorities = keys.authorities.as_ref();
        let authorities = authorities
            .ok_or_else(|| taskpass_crypto::CertError::Untrusted("the broker has no authority".into()))?;
        let grant = authorities.verify(chain, self.shared.wall.now(), LEEWAY)?;
        if grant.resource != self.shared.audience {
            return Err(Rejected::AudienceMismatch);
        }
        self.admit(grant)
    }

    /// Whether what was accepted once is still good: expiry, denies and freshness, without the signature. For every
    /// request of a long-lived connection or stream: neither a TLS session nor an open stream looks at a credential
    /// again by itself. Takes well under a microsecond.
    pub fn recheck(&self, granted: &Granted) -> Result<(), Rejected> {
        let ends = granted.expires_at;
        if self.shared.wall.now() >= ends.plus(LEEWAY.as_duration()) {
            return Err(Rejected::Expired(ends));
        }
        self.check_state(granted)
    }

    /// Waits until `granted` is no longer good and says why, so that its connection can be closed at once: it was
    /// denied, has expired, or the broker was not heard for too long.
    pub fn denied(&self, granted: &Granted) -> impl Future<Output = Rejected> + Send + use<> {
        let (verifier, granted) = (self.clone(), granted.clone());
        async move {
            let mut epoch = verifier.watch_epoch();
            loop {
                epoch.mark_unchanged();
                if let Err(rejected) = verifier.recheck(&granted) {
                    return rejected;
                }
                // An error is a time-out: expiry and staleness come without a message.
                let _ = timeout(GLANCE, epoch.changed()).await;
            }
        }
    }

    /// Counts what the layer judged.
    pub(crate) fn checked(&self, result: &Result<Granted, Rejected>) {
        self.shared.meter.checked(result);
    }

    pub(crate) fn keys(&self) -> Option<Arc<Keys>> {
        self.shared.keys.load_full()
    }

    fn admit(&self, grant: Grant) -> Result<Granted, Rejected> {
        if grant.tenant != self.shared.tenant {
            return Err(Rejected::TenantMismatch);
        }
        self.check_state(&grant)?;
        Ok(Granted::new(grant))
    }

    fn check_state(&self, grant: &Grant) -> Result<(), Rejected> {
        if let Some(record) = self.shared.denies.read().find(grant) {
            return Err(Rejected::Denied(Box::new(record)));
        }
        self.shared.check_fresh()
    }
}

fn check_binding(grant: &Grant, peer: Option<&CertificateDer<'_>>) -> Result<(), Rejected> {
    match &grant.confirmation {
        None => Ok(()),
        Some(Confirmation::KeyThumbprint(_)) => Err(Rejected::KeyBinding),
        Some(bound) if peer.map(|der| thumbprint::certificate(der)).as_ref() == Some(bound) => Ok(()),
        Some(_) => Err(Rejected::CertificateBinding),
    }
}
