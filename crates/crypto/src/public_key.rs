//! The two kinds of public key that Taskpass knows, and their three faces: SPKI, JWK and thumbprint.
//!
//! A key is held in one canonical form, so that equal keys are equal bytes. The algorithm follows from the key, never
//! from what a token or request claims (RFC 8725 section 3.1).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{digest, signature};
use serde::{Deserialize, Serialize};
use std::fmt;

/// DER of a P-256 SubjectPublicKeyInfo up to the uncompressed point (RFC 5480).
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// DER of an Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410).
const ED25519_SPKI: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A signature algorithm of RFC 7518; there is no other here, and no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Alg {
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
}

impl Alg {
    /// The name in a JOSE header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// 32 bytes (RFC 8032).
    Ed25519([u8; 32]),
    /// The uncompressed point: 4, then 32 bytes each of x and y.
    P256([u8; 65]),
}

impl PublicKey {
    /// Parses the canonical DER of a SubjectPublicKeyInfo; `None` for another kind of key or another encoding.
    pub fn from_spki_der(der: &[u8]) -> Option<Self> {
        if let Some(point) = der.strip_prefix(P256_SPKI) {
            return Self::from_point(point);
        }
        der.strip_prefix(ED25519_SPKI)?.try_into().ok().map(Self::Ed25519)
    }

    /// A P-256 key from its uncompressed point.
    pub(crate) fn from_point(point: &[u8]) -> Option<Self> {
        point.first().filter(|form| **form == 4)?;
        point.try_into().ok().map(Self::P256)
    }

    /// The DER of its SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => [ED25519_SPKI, key].concat(),
            Self::P256(point) => [P256_SPKI, point].concat(),
        }
    }

    /// The one algorithm that it is good for.
    pub const fn alg(&self) -> Alg {
        match self {
            Self::Ed25519(_) => Alg::EdDsa,
            Self::P256(_) => Alg::Es256,
        }
    }

    /// The key's own bytes, without its algorithm.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key,
            Self::P256(point) => point,
        }
    }

    /// Whether `signature`, in the form of RFC 7518 (fixed length), is this key's for `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let alg: &dyn signature::VerificationAlgorithm = match self {
            Self::Ed25519(_) => &signature::ED25519,
            Self::P256(_) => &signature::ECDSA_P256_SHA256_FIXED,
        };
        signature::UnparsedPublicKey::new(alg, self.as_bytes()).verify(message, signature).is_ok()
    }

    /// The SHA-256 thumbprint of RFC 7638, base64url without padding: 43 characters.
    pub fn thumbprint(&self) -> String {
        let jwk = Jwk::from(self);
        let canonical = match &jwk.y {
            Some(y) => format!(r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{y}"}}"#, jwk.crv, jwk.kty, jwk.x),
            None => format!(r#"{{"crv":"{}","kty":"{}","x":"{}"}}"#, jwk.crv, jwk.kty, jwk.x),
        };
        BASE64URL.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
    }
}

/// The members of a public JWK that Taskpass reads and writes (RFC 7517, RFC 7518 section 6.2, RFC 8037).
#[derive(Serialize)]
pub(crate) struct Jwk {
    pub(crate) kty: &'static str,
    pub(crate) crv: &'static str,
    pub(crate) x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) y: Option<String>,
}

impl From<&PublicKey> for Jwk {
    fn from(key: &PublicKey) -> Self {
        match key {
            PublicKey::Ed25519(key) => Self { kty: "OKP", crv: "Ed25519", x: BASE64URL.encode(key), y: None },
            PublicKey::P256([_, coordinates @ ..]) => {
                let (x, y) = coordinates.split_at(32);
                Self { kty: "EC", crv: "P-256", x: BASE64URL.encode(x), y: Some(BASE64URL.encode(y)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprint_of_the_key_of_rfc_8037_appendix_a_3() {
        let x = BASE64URL.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let key = PublicKey::Ed25519(x.try_into().unwrap());
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn spki_comes_back_and_has_one_form() {
        for key in [PublicKey::Ed25519([7; 32]), PublicKey::P256([4; 65])] {
            let der = key.spki_der();
            assert_eq!(PublicKey::from_spki_der(&der), Some(key));
            assert_eq!(PublicKey::from_spki_der(&[&der[..], &[0]].concat()), None, "trailing byte");
            assert_eq!(PublicKey::from_spki_der(&der[..der.len() - 1]), None, "cut");
        }
        assert_eq!(PublicKey::from_spki_der(&[P256_SPKI, &[2; 33]].concat()), None, "compressed point");
        assert_eq!(PublicKey::from_spki_der(b""), None);
    }
}
