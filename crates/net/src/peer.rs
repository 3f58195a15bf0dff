//! Who is at the other end of a connection; a clone is in the extensions of every request.

use arc_swap::ArcSwapOption;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use taskpass_attest::{Attestor, Evidence, Identity};
use taskpass_types::{Reason, Refusal, Timestamp};
use tokio_util::sync::CancellationToken;

/// Names one connection in the logs of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The other end of one connection: what it presented, who it is, and the switch that cuts it off.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    id: ConnectionId,
    remote: String,
    evidence: Option<Evidence>,
    attestor: Arc<dyn Attestor>,
    reattest_after: Duration,
    identity: ArcSwapOption<Identity>,
    kill: CancellationToken,
}

impl Peer {
    /// A peer that was not attested yet. `evidence` is `None` where the listener asks for none; such a peer is always
    /// refused. `remote` is for people to read.
    pub fn new(
        remote: impl Into<String>,
        evidence: Option<Evidence>,
        attestor: Arc<dyn Attestor>,
        reattest_after: Duration,
        kill: CancellationToken,
    ) -> Self {
        let (id, remote) = (ConnectionId::next(), remote.into());
        Self(Arc::new(Inner {
            id,
            remote,
            evidence,
            attestor,
            reattest_after,
            identity: ArcSwapOption::empty(),
            kill,
        }))
    }

    /// The connection.
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// Where it comes from: `192.0.2.7:50123`, or `unix pid=4242 uid=1000`.
    pub fn remote(&self) -> &str {
        &self.0.remote
    }

    /// `unix`, `x509` or `none`.
    pub fn evidence_kind(&self) -> &'static str {
        self.0.evidence.as_ref().map_or("none", Evidence::kind)
    }

    pub(crate) fn has_evidence(&self) -> bool {
        self.0.evidence.is_some()
    }

    /// What was verified, if it still holds at `now` and need not be verified again.
    pub fn identity(&self, now: Timestamp) -> Option<Arc<Identity>> {
        self.0.identity.load_full().filter(|identity| now < self.reattest_at(identity))
    }

    /// The last identity that was verified, current or not; for logs and to decide whom to kill.
    pub fn last_identity(&self) -> Option<Arc<Identity>> {
        self.0.identity.load_full()
    }

    /// Who the peer is at `now`: from memory while that is fresh, else verified again. Refuses with the attestor's
    /// refusal, or `ATTESTATION_INVALID` when the peer presented nothing.
    pub async fn attested(&self, now: Timestamp) -> Result<Arc<Identity>, Refusal> {
        if let Some(identity) = self.identity(now) {
            return Ok(identity);
        }
        let evidence = self.0.evidence.as_ref().ok_or_else(|| {
            Refusal::new(Reason::AttestationInvalid, "the caller presented no identity on this connection")
                .fix("connect to the broker's Unix socket, or by TLS with an X.509-SVID")
        })?;
        let identity = Arc::new(self.0.attestor.attest(evidence, now).await?);
        self.0.identity.store(Some(identity.clone()));
        Ok(identity)
    }

    /// When an identity has to be verified again.
    pub(crate) fn reattest_at(&self, identity: &Identity) -> Timestamp {
        identity.expires_at.min(identity.verified_at.plus(self.0.reattest_after))
    }

    /// Cuts the connection: what is under way on it fails now.
    pub fn kill(&self) {
        self.0.kill.cancel();
    }

    /// Cancelled when the connection is cut.
    pub fn kill_token(&self) -> &CancellationToken {
        &self.0.kill
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} from {}", self.0.id, self.0.remote)
    }
}
