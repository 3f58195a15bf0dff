//! Which authorities speak for which trust domain.

use arc_swap::ArcSwap;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use std::{collections::BTreeMap, fmt, sync::Arc};
use taskpass_types::{Timestamp, TrustDomain};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate that may sign SVIDs of its trust domain.
#[derive(Clone)]
pub struct Authority {
    anchor: TrustAnchor<'static>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why a certificate is no authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It is not a certificate in DER.
    #[error("it is not a certificate")]
    Malformed,
    /// Its basicConstraints do not say CA, or its keyUsage does not allow to sign certificates.
    #[error("it is not a certificate authority (basicConstraints CA and keyUsage keyCertSign)")]
    NotAnAuthority,
}

impl Authority {
    /// Reads a CA certificate.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, AuthorityError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| AuthorityError::Malformed)?;
        if !rest.is_empty() {
            return Err(AuthorityError::Malformed);
        }
        let may_sign = match certificate.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
            Err(_) => return Err(AuthorityError::Malformed),
        };
        if !certificate.is_ca() || !may_sign {
            return Err(AuthorityError::NotAnAuthority);
        }
        let anchor = webpki::anchor_from_trusted_cert(der).map_err(|_| AuthorityError::Malformed)?.to_owned();
        Ok(Self {
            anchor,
            not_before: seconds(certificate.validity().not_before.timestamp()),
            not_after: seconds(certificate.validity().not_after.timestamp()),
        })
    }

    fn is_current(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now.floor_to_secs())
    }
}

pub(super) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The authorities of one trust domain. An empty one is a statement too: its trust domain has revoked all its keys.
#[derive(Clone, Default)]
pub struct Bundle(Vec<Authority>);

impl Bundle {
    /// Of these authorities.
    pub fn new(authorities: Vec<Authority>) -> Self {
        Self(authorities)
    }

    /// How many authorities it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether its trust domain has revoked all its keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The authorities in date. Path validation as in RFC 5280 does not look at the dates of its trust anchors, but an
    /// operator who sees an expired authority in a bundle expects that it is dead.
    pub(super) fn anchors(&self, now: Timestamp) -> Vec<TrustAnchor<'_>> {
        self.0
            .iter()
            .filter(|authority| authority.is_current(now))
            .map(|authority| authority.anchor.clone())
            .collect()
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} authorities", self.0.len())
    }
}

/// The bundles in force. Clones share them; a swap is seen by every attestation that begins after it.
#[derive(Clone, Debug, Default)]
pub struct Bundles(Arc<ArcSwap<BTreeMap<TrustDomain, Arc<Bundle>>>>);

impl Bundles {
    /// These bundles.
    pub fn new(bundles: impl IntoIterator<Item = (TrustDomain, Bundle)>) -> Self {
        let map = bundles.into_iter().map(|(domain, bundle)| (domain, Arc::new(bundle))).collect();
        Self(Arc::new(ArcSwap::from_pointee(map)))
    }

    /// The bundle of a trust domain; `None` when the domain is foreign.
    pub fn of(&self, domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.0.load().get(domain).cloned()
    }

    /// Puts the bundle of one trust domain in force.
    pub fn set(&self, domain: TrustDomain, bundle: Bundle) {
        let bundle = Arc::new(bundle);
        self.0.rcu(|bundles| {
            let mut bundles = BTreeMap::clone(bundles);
            bundles.insert(domain.clone(), bundle.clone());
            bundles
        });
    }
}
