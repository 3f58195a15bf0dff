//! The port, and the list of adapters that a broker is composed with.

use crate::{Evidence, Identity};
use async_trait::async_trait;
use std::sync::Arc;
use taskpass_types::{Reason, Refusal, Timestamp};

/// Verifies one kind of evidence.
///
/// The contract, which [`crate::conformance`] checks of every adapter: evidence that it does not accept, that is
/// malformed, expired or signed by a stranger is refused with an attestation reason and never panics; the identity's
/// `verified_at` is `now` and its `expires_at` is after it; the same evidence gives the same digest.
#[async_trait]
pub trait Attestor: Send + Sync {
    /// Whether this attestor is the one for such evidence; cheap, and no statement about its truth.
    fn accepts(&self, evidence: &Evidence) -> bool;

    /// Verifies. Refuses with `ATTESTATION_INVALID`, or with `ATTESTATION_EXPIRED` for what was good once.
    async fn attest(&self, evidence: &Evidence, now: Timestamp) -> Result<Identity, Refusal>;
}

/// The attestors that are switched on. Evidence goes to the first that accepts it; without one it is refused.
#[derive(Clone, Default)]
pub struct Attestors(Vec<Arc<dyn Attestor>>);

impl Attestors {
    /// In order of preference.
    pub fn new(attestors: Vec<Arc<dyn Attestor>>) -> Self {
        Self(attestors)
    }
}

#[async_trait]
impl Attestor for Attestors {
    fn accepts(&self, evidence: &Evidence) -> bool {
        self.0.iter().any(|attestor| attestor.accepts(evidence))
    }

    async fn attest(&self, evidence: &Evidence, now: Timestamp) -> Result<Identity, Refusal> {
        match self.0.iter().find(|attestor| attestor.accepts(evidence)) {
            Some(attestor) => attestor.attest(evidence, now).await,
            None => Err(foreign(evidence)),
        }
    }
}

/// The refusal of evidence for which no attestor is there.
pub(crate) fn foreign(evidence: &Evidence) -> Refusal {
    let kind = evidence.kind();
    Refusal::new(Reason::AttestationInvalid, format!("no attestor here verifies `{kind}` evidence"))
        .fix("connect in a way that the broker attests: its Unix socket, or TLS with an X.509-SVID")
        .with("evidence", kind)
}
