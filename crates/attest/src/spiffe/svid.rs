//! The facts in an SVID: the leaf rules of the X509-SVID standard, sections 2 to 4.

use super::{
    bundle::seconds,
    verify::{TrustedLeaf, Verified, invalid},
};
use crate::digest::thumbprint;
use rustls_pki_types::CertificateDer;
use taskpass_types::{Confirmation, Refusal, SpiffeId, Timestamp, TrustDomain};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a verified leaf certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svid {
    /// Its one URI name.
    pub spiffe_id: SpiffeId,
    /// Its end.
    pub not_after: Timestamp,
    /// Its SHA-256.
    pub confirmation: Confirmation,
}

impl Svid {
    /// Parses a leaf that a verifier returned.
    pub fn parse(verified: &Verified<TrustedLeaf<'_>>) -> Result<Self, Refusal> {
        let TrustedLeaf { leaf, trust_domain } = verified.get();
        let certificate = certificate(leaf)?;
        let spiffe_id = uri_name(&certificate)?;
        if spiffe_id.trust_domain() != trust_domain {
            return Err(invalid(format!("`{spiffe_id}` is not in trust domain `{trust_domain}`")));
        }
        check_constraints(&certificate)?;
        check_key_usage(&certificate)?;
        check_extended_key_usage(&certificate)?;
        Ok(Self {
            spiffe_id,
            not_after: seconds(certificate.validity().not_after.timestamp()),
            confirmation: Confirmation::CertificateThumbprint(thumbprint(leaf)),
        })
    }
}

/// The trust domain that a leaf claims: it says which bundle to verify it with, and nothing else.
pub(super) fn claimed_trust_domain(leaf: &CertificateDer<'_>) -> Result<TrustDomain, Refusal> {
    Ok(uri_name(&certificate(leaf)?)?.trust_domain().clone())
}

fn certificate<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refusal> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(invalid("the certificate is followed by other bytes")),
        Err(error) => Err(invalid("the certificate cannot be parsed").because(error)),
    }
}

/// Section 2: exactly one URI name, which is a SPIFFE ID; section 4.1: with a path. Who has no other name has critical ones
/// (RFC 5280, section 4.2.1.6).
fn uri_name(certificate: &X509Certificate<'_>) -> Result<SpiffeId, Refusal> {
    let names = certificate.subject_alternative_name().map_err(|error| {
        invalid("the certificate's subject alternative names cannot be parsed").because(error)
    })?;
    let is_nameless = certificate.subject().iter_attributes().next().is_none();
    if names.as_ref().is_some_and(|names| is_nameless && !names.critical) {
        return Err(invalid("the certificate has no subject, and its alternative names are not critical"));
    }
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(invalid("a subject alternative name of the certificate cannot be parsed"));
    }
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris.as_slice() else {
        return Err(invalid(format!(
            "the certificate has {} URI names; an X.509-SVID has exactly one",
            uris.len()
        ))
        .fix("connect with an X.509-SVID"));
    };
    let id =
        SpiffeId::new(uri).map_err(|error| invalid(error.to_string()).fix("connect with an X.509-SVID"))?;
    if id.path().is_empty() {
        return Err(invalid(format!("`{id}` has no path: it names a trust domain, not a workload")));
    }
    Ok(id)
}

/// Section 4.1: a leaf is not an authority.
fn check_constraints(certificate: &X509Certificate<'_>) -> Result<(), Refusal> {
    match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => Err(authority()),
        Ok(_) => Ok(()),
        Err(error) => Err(invalid("the certificate's basic constraints cannot be parsed").because(error)),
    }
}

/// Section 4.3: keyUsage is there and critical, with digitalSignature and without keyCertSign and cRLSign. (Path
/// validation alone lets a leaf with keyCertSign pass.)
fn check_key_usage(certificate: &X509Certificate<'_>) -> Result<(), Refusal> {
    let usage = certificate
        .key_usage()
        .map_err(|error| invalid("the certificate's key usage cannot be parsed").because(error))?
        .ok_or_else(|| invalid("the certificate has no key usage; an X.509-SVID has one"))?;
    if !usage.critical {
        return Err(invalid("the certificate's key usage is not critical"));
    }
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(authority());
    }
    if !usage.value.digital_signature() {
        return Err(invalid("the certificate's key usage lacks digitalSignature"));
    }
    Ok(())
}

/// Section 4.4: extended key usage may be absent; when it is there, it has both sides of TLS. (Path validation alone asks
/// for the client's.)
fn check_extended_key_usage(certificate: &X509Certificate<'_>) -> Result<(), Refusal> {
    let usage = certificate
        .extended_key_usage()
        .map_err(|error| invalid("the certificate's extended key usage cannot be parsed").because(error))?;
    match usage {
        Some(usage) if !(usage.value.client_auth && usage.value.server_auth) => {
            Err(invalid("the certificate's extended key usage lacks client or server authentication")
                .fix("sign X.509-SVIDs with both, or without the extension"))
        }
        _ => Ok(()),
    }
}

/// The refusal of a certificate that can sign others.
pub(super) fn authority() -> Refusal {
    invalid("the certificate is an authority, not a workload's")
        .fix("connect with an X.509-SVID, not with the CA that signs them")
}
