//! The authorities of one trust domain, as a verifier holds them.

use super::{BundleError, CertError, MAX_CERTIFICATE_BYTES, leaf::Leaf};
use crate::Leeway;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime, pem::PemObject};
use std::time::Duration;
use taskpass_types::{Grant, SpiffeId, Timestamp, TrustDomain};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

const MAX_AUTHORITIES: usize = 16;
const MAX_BUNDLE_BYTES: usize = MAX_AUTHORITIES * MAX_CERTIFICATE_BYTES;
/// What our authorities sign with; a leaf that says otherwise is not theirs.
const ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] = &[ring::ECDSA_P256_SHA256];

/// The authorities that may sign for one trust domain. Bundles of different trust domains are never pooled (SPIFFE
/// X.509-SVID section 5.2). Immutable: a rotation makes a new one.
#[derive(Clone, Debug)]
pub struct CaBundle {
    trust_domain: TrustDomain,
    anchors: Vec<TrustAnchor<'static>>,
    /// The life of each anchor, which the path check itself does not look at.
    lives: Vec<(Timestamp, Timestamp)>,
}

impl CaBundle {
    /// Parses a file of certificates in PEM; other PEM objects in it are passed over.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        if pem.len() > 2 * MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge);
        }
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BundleError::NotAuthority(error.to_string()))?;
        Self::from_der(&certificates)
    }

    /// From 1 to 16 certificates of one trust domain.
    pub fn from_der(certificates: &[CertificateDer<'_>]) -> Result<Self, BundleError> {
        if certificates.len() > MAX_AUTHORITIES
            || certificates.iter().any(|der| der.len() > MAX_CERTIFICATE_BYTES)
        {
            return Err(BundleError::TooLarge);
        }
        let mut bundle: Option<Self> = None;
        for certificate in certificates {
            let (trust_domain, life) = authority(certificate)?;
            let anchor = anchor_from_trusted_cert(certificate)
                .map_err(|error| BundleError::NotAuthority(error.to_string()))?
                .to_owned();
            let bundle = bundle.get_or_insert_with(|| Self {
                trust_domain: trust_domain.clone(),
                anchors: Vec::new(),
                lives: Vec::new(),
            });
            if bundle.trust_domain != trust_domain {
                return Err(BundleError::TrustDomains);
            }
            bundle.anchors.push(anchor);
            bundle.lives.push(life);
        }
        bundle.ok_or(BundleError::Empty)
    }

    /// The trust domain that the authorities speak for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Checks the chain of a TLS client, leaf first, and returns all that its leaf grants.
    ///
    /// Whatever the chain sends along is ignored: our authorities sign leaves directly. An answer says nothing about
    /// revocation, nor about who holds the key: that is for the TLS handshake.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
        leeway: Leeway,
    ) -> Result<Grant, CertError> {
        let leaf = match chain {
            [leaf] | [leaf, _] if leaf.len() <= MAX_CERTIFICATE_BYTES => leaf,
            _ => return Err(CertError::ChainLength),
        };
        // One look at the clock serves both ends: the leeway shortens the 30 s by which leaves are backdated.
        let at = now.minus(leeway.as_duration());
        self.check_path(leaf, at)?;
        let grant = Leaf::read(leaf)?.grant;
        if *grant.subject.trust_domain() != self.trust_domain {
            return Err(CertError::TrustDomainMismatch);
        }
        Ok(grant)
    }

    fn check_path(&self, leaf: &CertificateDer<'_>, at: Timestamp) -> Result<(), CertError> {
        let leaf = EndEntityCert::try_from(leaf).map_err(path_error)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(at.as_secs()));
        let usage = KeyUsage::client_auth();
        let path = leaf
            .verify_for_usage(ALGORITHMS, &self.anchors, &[], time, usage, None, None)
            .map_err(path_error)?;
        let (not_before, not_after) = self
            .anchors
            .iter()
            .zip(&self.lives)
            .find_map(|(anchor, life)| std::ptr::eq(anchor, path.anchor()).then_some(*life))
            .ok_or_else(|| CertError::Untrusted("the authority is not of the bundle".into()))?;
        if at < not_before {
            return Err(CertError::NotYetValid);
        }
        if at.floor_to_secs() > not_after {
            return Err(CertError::Expired);
        }
        Ok(())
    }
}

fn path_error(error: webpki::Error) -> CertError {
    match error {
        webpki::Error::CertExpired { .. } => CertError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertError::NotYetValid,
        other => CertError::Untrusted(other.to_string()),
    }
}

/// The trust domain and the life of an authority (SPIFFE X.509-SVID section 4.1: an SVID without a path that may sign).
fn authority(der: &[u8]) -> Result<(TrustDomain, (Timestamp, Timestamp)), BundleError> {
    let not = |why: &str| BundleError::NotAuthority(why.to_owned());
    let Ok(([], certificate)) = X509Certificate::from_der(der) else {
        return Err(not("it is not the DER of one certificate"));
    };
    let may_sign = certificate.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
    if !certificate.is_ca() || !may_sign {
        return Err(not("it is not a CA that may sign certificates"));
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let id = match names.map(|names| names.value.general_names.as_slice()) {
        Some([GeneralName::URI(uri)]) => SpiffeId::new(uri).ok().filter(|id| id.path().is_empty()),
        _ => None,
    };
    let id = id.ok_or_else(|| not("its only name is not `spiffe://<trust domain>`"))?;
    let at =
        |secs: i64| u64::try_from(secs).map(Timestamp::from_secs).map_err(|_| not("it is older than time"));
    let validity = certificate.validity();
    let life = (at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?);
    Ok((id.trust_domain().clone(), life))
}
