//! Path validation, and the only way to make a [`Verified`].

use super::{bundle::Bundle, svid};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use taskpass_types::{Reason, Refusal, Timestamp, TrustDomain};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

/// How many certificates a chain may have, the leaf included.
const MAX_CHAIN: usize = 5;
/// How many bytes a certificate may have.
const MAX_CERTIFICATE: usize = 16 << 10;

/// Something that a verifier returned. Only the verifier can make one, so a parser that asks for it cannot be given
/// what merely arrived.
#[derive(Clone, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// What was verified.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// A leaf certificate together with the trust domain whose authorities vouch for it.
#[derive(Clone, Debug)]
pub struct TrustedLeaf<'a> {
    pub(super) leaf: &'a CertificateDer<'static>,
    pub(super) trust_domain: TrustDomain,
}

/// Refuses a chain that is too long or too large to be looked at.
pub(super) fn bounded(chain: &[CertificateDer<'static>]) -> Result<(), Refusal> {
    if chain.is_empty() || chain.len() > MAX_CHAIN {
        return Err(invalid(format!("the certificate chain has {} certificates", chain.len()))
            .fix(format!("send the SVID first, then its intermediates: 1 to {MAX_CHAIN} certificates")));
    }
    if chain.iter().any(|certificate| certificate.len() > MAX_CERTIFICATE) {
        return Err(invalid(format!("a certificate of the chain has more than {MAX_CERTIFICATE} bytes")));
    }
    Ok(())
}

/// Validates the path (RFC 5280) from the leaf to an authority of `trust_domain`, at `now`, for client authentication.
pub(super) fn verify<'a>(
    chain: &'a [CertificateDer<'static>],
    trust_domain: TrustDomain,
    bundle: &Bundle,
    now: Timestamp,
) -> Result<Verified<TrustedLeaf<'a>>, Refusal> {
    bounded(chain)?;
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| invalid("there is no certificate"))?;
    let anchors = bundle.anchors(now);
    if anchors.is_empty() {
        return Err(invalid(format!("trust domain `{trust_domain}` has no authority in force"))
            .fix("update the bundle of the trust domain: its authorities have expired, or it has revoked all its keys")
            .with("trust_domain", trust_domain));
    }
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()));
    EndEntityCert::try_from(leaf)
        .and_then(|end| {
            end.verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                intermediates,
                time,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map(drop)
        })
        .map_err(|error| refusal(&error, &trust_domain))?;
    Ok(Verified(TrustedLeaf { leaf, trust_domain }))
}

fn refusal(error: &webpki::Error, trust_domain: &TrustDomain) -> Refusal {
    use webpki::Error;
    let refusal = match error {
        Error::CertExpired { not_after, .. } => {
            let expired = Timestamp::from_secs(not_after.as_secs());
            Refusal::new(
                Reason::AttestationExpired,
                format!("a certificate of the chain expired at `{expired}`"),
            )
            .fix("fetch a fresh SVID and connect again")
            .with("expired_at", expired)
        }
        Error::CertNotValidYet { not_before, .. } => {
            let begins = Timestamp::from_secs(not_before.as_secs());
            invalid(format!("a certificate of the chain is not valid before `{begins}`"))
                .fix("compare the clocks of the issuer and of the broker")
        }
        Error::UnknownIssuer
        | Error::InvalidSignatureForPublicKey
        | Error::MaximumSignatureChecksExceeded => {
            invalid(format!("no authority of trust domain `{trust_domain}` signed the certificate"))
                .fix("send all intermediates, and check that the bundle of the trust domain is up to date")
        }
        Error::CaUsedAsEndEntity => svid::authority(),
        Error::NameConstraintViolation => invalid(
            "a name constraint of the chain forbids the certificate, or constrains URIs",
        )
        .fix("remove URI name constraints from the authorities: they cannot be evaluated, so they forbid"),
        Error::RequiredEkuNotFoundContext(_) => invalid("the certificate is not for client authentication")
            .fix("issue it with the extended key usages clientAuth and serverAuth, or without any"),
        _ => invalid("the certificate chain is not valid"),
    };
    refusal.with("trust_domain", trust_domain).because(error)
}

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::AttestationInvalid, message)
}
