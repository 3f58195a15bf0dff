//! What a certificate signing request contributes: a public key, and the proof that the caller has its private half.
//!
//! Everything else in it (subject, names, usages, CA flag, attributes we never heard of) is a wish, and dropped.

use crate::PublicKey;
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use taskpass_types::{Reason, Refusal};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

/// A longer request is refused before it is parsed.
pub const MAX_CSR_BYTES: usize = 8 * 1024;

/// A public key whose private half the caller has proven to hold; only [`public_key`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsrKey {
    key: PublicKey,
    spki: Vec<u8>,
    jkt: String,
}

impl CsrKey {
    /// The key.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The canonical DER of its SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Its RFC 7638 thumbprint.
    pub fn jkt(&self) -> &str {
        &self.jkt
    }
}

fn refusal(message: &str) -> Refusal {
    Refusal::new(Reason::CsrInvalid, message)
        .fix("send a PKCS#10 request, in PEM or DER, for a new P-256 or Ed25519 key, signed with that key")
}

/// Takes the key out of a PKCS#10 request (RFC 2986) in DER or PEM, at most 8 KiB, after checking its signature.
///
/// Only P-256 and Ed25519 keys are accepted. RSA is not, at any size: a key that lives for minutes is made anew for
/// every credential, and making and checking RSA keys is what costs the most and goes wrong the most.
pub fn public_key(der_or_pem: &[u8]) -> Result<CsrKey, Refusal> {
    if der_or_pem.len() > MAX_CSR_BYTES {
        return Err(refusal("the certificate signing request is longer than 8 KiB"));
    }
    let pem;
    let der = if der_or_pem.first() == Some(&0x30) {
        der_or_pem
    } else {
        pem = CertificateSigningRequestDer::from_pem_slice(der_or_pem).map_err(|error| {
            refusal("the certificate signing request is neither DER nor PEM").because(error)
        })?;
        pem.as_ref()
    };
    let request = match X509CertificationRequest::from_der(der) {
        Ok(([], request)) => request,
        Ok(_) => return Err(refusal("there is something behind the certificate signing request")),
        Err(error) => {
            return Err(refusal("the certificate signing request cannot be parsed").because(error));
        }
    };
    let spki = request.certification_request_info.subject_pki.raw;
    let key = PublicKey::from_spki_der(spki)
        .ok_or_else(|| refusal("the key of the certificate signing request is neither P-256 nor Ed25519"))?;
    request.verify_signature().map_err(|error| {
        refusal("the certificate signing request is not signed with its own key").because(error)
    })?;
    Ok(CsrKey { spki: spki.to_vec(), jkt: key.thumbprint(), key })
}
