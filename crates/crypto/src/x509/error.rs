//! Why a certificate is refused, before it is signed and after.

use crate::UnsoundGrant;

/// Why a certificate is not a leaf of our profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It is a CA, or does not say critically that it is none.
    #[error("it does not say, critically, that it is no CA")]
    BasicConstraints,
    /// It names another place for its revocation list than the part of the list that its lease belongs to.
    #[error("its CRL distribution point is not that of its lease")]
    CrlDistributionPoint,
    /// It is not for exactly client and server authentication.
    #[error("its extended key usage is not exactly client and server authentication")]
    ExtendedKeyUsage,
    /// An extension is missing, there twice or not one of ours.
    #[error("its extensions are not exactly those of the profile")]
    Extensions,
    /// The grant in it contradicts itself or the rest of it.
    #[error("its grant: {0}")]
    Grant(String),
    /// Its key is not P-256 or Ed25519.
    #[error("its key is neither P-256 nor Ed25519")]
    Key,
    /// Its key usage is not, critically, digital signature alone.
    #[error("its key usage is not, critically, digital signature alone")]
    KeyUsage,
    /// It is not the DER of one X.509 v3 certificate.
    #[error("it is not the DER of one X.509 v3 certificate")]
    Malformed,
    /// Its serial number is not the lease and its renewal.
    #[error("its serial number is not that of its lease and renewal")]
    Serial,
    /// Its subject is not empty.
    #[error("its subject is not empty")]
    Subject,
    /// It has not exactly one critical URI name that is a SPIFFE ID.
    #[error("it has not exactly one name that is a SPIFFE ID")]
    SubjectAltName,
    /// Its validity is not that of the grant.
    #[error("its validity is not that of its grant")]
    Validity,
}

impl From<UnsoundGrant> for ProfileError {
    fn from(error: UnsoundGrant) -> Self {
        Self::Grant(error.to_string())
    }
}

/// Why a certificate is not what was decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LintError {
    /// It binds another key than its own.
    #[error("the grant binds another key than the certificate's")]
    ConfirmationDiffers,
    /// It says that its revocation list is elsewhere, or nothing about it.
    #[error("it does not say where its revocation list is")]
    CrlDistributionPointDiffers,
    /// A field of the grant differs.
    #[error("`{0}` differs")]
    GrantDiffers(&'static str),
    /// It is for another key than the CSR's.
    #[error("it is not for the key of the request")]
    KeyDiffers,
    /// It is not a leaf of our profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// Why a chain is refused; one variant per class, each with a stable [`code`](CertError::code).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// No certificate, more than two, or one longer than 16 KiB.
    #[error("the chain is empty or too long")]
    ChainLength,
    /// It has ended, or the authority has.
    #[error("the certificate has expired")]
    Expired,
    /// It has not begun.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// It is signed by an authority but is not a leaf of our profile.
    #[error("the certificate is not in the profile: {0}")]
    Profile(#[from] ProfileError),
    /// Its name is of another trust domain than the authority's.
    #[error("the certificate's name is of another trust domain")]
    TrustDomainMismatch,
    /// No authority of the bundle signed it.
    #[error("no authority of the bundle signed the certificate: {0}")]
    Untrusted(String),
}

impl CertError {
    /// The class, for metrics, logs and programs; never changes its meaning.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ChainLength => "chain_length",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Profile(_) => "profile",
            Self::TrustDomainMismatch => "trust_domain_mismatch",
            Self::Untrusted(_) => "untrusted",
        }
    }
}

/// Why a set of authorities is refused; it is taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// No certificate is in it.
    #[error("the bundle has no certificate")]
    Empty,
    /// One is no certificate, no CA, or has not exactly one name `spiffe://<trust domain>`.
    #[error("a certificate of the bundle is not an authority of a trust domain: {0}")]
    NotAuthority(String),
    /// More than 16 certificates or 256 KiB.
    #[error("the bundle has more than 16 certificates or 256 KiB")]
    TooLarge,
    /// Two are of different trust domains.
    #[error("the bundle mixes trust domains")]
    TrustDomains,
}
