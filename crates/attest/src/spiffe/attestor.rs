//! Makes an identity of an X.509-SVID.

use super::{
    Bundles,
    svid::{Svid, claimed_trust_domain},
    verify::{bounded, invalid, verify},
};
use crate::{Attestor, Evidence, Identity, Selector, digest, port::foreign};
use async_trait::async_trait;
use rustls_pki_types::CertificateDer;
use taskpass_types::{Refusal, Timestamp, TrustDomain};

/// Attests [`Evidence::X509`]: selectors `spiffe:id` and `spiffe:td`. The identity ends with the SVID.
///
/// Whoever makes the evidence answers for the proof of possession: the chain must come from a TLS handshake in which
/// the caller signed with the leaf's key, and never from a resumed session.
#[derive(Clone, Debug)]
pub struct X509Attestor {
    bundles: Bundles,
}

impl X509Attestor {
    /// With the bundles in force; it follows their changes.
    pub fn new(bundles: Bundles) -> Self {
        Self { bundles }
    }

    fn verify(&self, chain: &[CertificateDer<'static>], now: Timestamp) -> Result<Svid, Refusal> {
        bounded(chain)?;
        let leaf = chain.first().ok_or_else(|| invalid("there is no certificate"))?;
        let trust_domain = claimed_trust_domain(leaf)?;
        let bundle = self.bundles.of(&trust_domain).ok_or_else(|| stranger(&trust_domain))?;
        Svid::parse(&verify(chain, trust_domain, &bundle, now)?)
    }
}

fn stranger(trust_domain: &TrustDomain) -> Refusal {
    invalid(format!("trust domain `{trust_domain}` is not trusted here"))
        .fix(format!(
            "if it should be, add its authorities to the broker's configuration: `[[bundles]]` with `trust_domain = \"{trust_domain}\"`"
        ))
        .with("trust_domain", trust_domain)
}

#[async_trait]
impl Attestor for X509Attestor {
    fn accepts(&self, evidence: &Evidence) -> bool {
        matches!(evidence, Evidence::X509(_))
    }

    async fn attest(&self, evidence: &Evidence, now: Timestamp) -> Result<Identity, Refusal> {
        let Evidence::X509(chain) = evidence else {
            return Err(foreign(evidence));
        };
        let svid = self.verify(chain, now)?;
        let parts = [&b"x509"[..]].into_iter().chain(chain.iter().map(AsRef::as_ref));
        Ok(Identity {
            selectors: [
                Selector::spiffe_id(&svid.spiffe_id),
                Selector::trust_domain(svid.spiffe_id.trust_domain()),
            ]
            .into(),
            description: svid.spiffe_id.to_string(),
            spiffe_id: Some(svid.spiffe_id),
            confirmation: Some(svid.confirmation),
            evidence_digest: digest::hex(&digest::of_parts(parts)),
            verified_at: now,
            expires_at: svid.not_after,
        })
    }
}
