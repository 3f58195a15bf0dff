//! Thumbprints that bind a credential to a key (RFC 7800 `cnf`).

use crate::PublicKey;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::digest;
use taskpass_types::Confirmation;

/// Binds to the client certificate that `der` is (RFC 8705 section 3.1, `x5t#S256`).
pub fn certificate(der: &[u8]) -> Confirmation {
    Confirmation::CertificateThumbprint(BASE64URL.encode(digest::digest(&digest::SHA256, der)))
}

/// Binds to a public key (RFC 7638, `jkt`).
pub fn key(key: &PublicKey) -> Confirmation {
    Confirmation::KeyThumbprint(key.thumbprint())
}

/// Binds to the public key in the DER of a SubjectPublicKeyInfo; `None` unless it is P-256 or Ed25519.
pub fn spki(der: &[u8]) -> Option<Confirmation> {
    PublicKey::from_spki_der(der).as_ref().map(key)
}

/// Whether `text` is a SHA-256 in canonical base64url without padding.
pub fn is_sha256(text: &str) -> bool {
    let mut bytes = [0; 33];
    text.len() == 43 && BASE64URL.decode_slice(text, &mut bytes).is_ok_and(|len| len == 32)
}
