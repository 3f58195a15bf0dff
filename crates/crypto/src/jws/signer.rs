//! Signs access tokens. The key is parsed once and the header encoded once; a token costs one serialisation and one
//! signature.

use super::{MAX_TOKEN_BYTES, TYP, claims::Claims};
use crate::{Alg, PublicKey, SignError, claims};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, Signature},
};
use taskpass_types::{Grant, KeyGeneration};

/// A private key that signs tokens; it cannot be printed.
pub(crate) enum TokenPrivateKey {
    EdDsa(Ed25519KeyPair),
    Es256(Box<EcdsaKeyPair>),
}

impl TokenPrivateKey {
    /// Parses PKCS#8; `None` when it is no such key.
    pub(crate) fn from_pkcs8(alg: Alg, pkcs8: &[u8]) -> Option<Self> {
        match alg {
            Alg::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).ok().map(Self::EdDsa),
            Alg::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
                    .ok()
                    .map(|key| Self::Es256(Box::new(key)))
            }
        }
    }

    fn public(&self) -> Option<PublicKey> {
        match self {
            Self::EdDsa(key) => key.public_key().as_ref().try_into().ok().map(PublicKey::Ed25519),
            Self::Es256(key) => PublicKey::from_point(key.public_key().as_ref()),
        }
    }

    fn sign(&self, random: &SystemRandom, message: &[u8]) -> Result<Signature, ring::error::Unspecified> {
        match self {
            Self::EdDsa(key) => Ok(key.sign(message)),
            Self::Es256(key) => key.sign(random, message),
        }
    }
}

/// Signs access tokens with one key of one generation.
pub struct TokenSigner {
    key: TokenPrivateKey,
    public: PublicKey,
    kid: String,
    generation: KeyGeneration,
    /// The encoded header with the dot behind it.
    header: String,
    random: SystemRandom,
}

impl TokenSigner {
    /// `None` when the key's public half cannot be had.
    pub(crate) fn new(key: TokenPrivateKey, generation: KeyGeneration) -> Option<Self> {
        let public = key.public()?;
        let kid = public.thumbprint();
        let header = encoded_header(&public, &kid, TYP);
        Some(Self { key, public, kid, generation, header, random: SystemRandom::new() })
    }

    /// The generation that a grant must name to be signed by this key.
    pub fn generation(&self) -> KeyGeneration {
        self.generation
    }

    /// The algorithm.
    pub fn alg(&self) -> Alg {
        self.public.alg()
    }

    /// The key's name in the JWKS: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a token from `issuer` that says all of `grant` and nothing else.
    ///
    /// Refuses a grant for another key generation, one that is not sound (see [`UnsoundGrant`](crate::UnsoundGrant)),
    /// and one whose token would be longer than verifiers accept.
    pub fn sign(&self, issuer: &str, grant: &Grant) -> Result<String, SignError> {
        claims::check(grant)?;
        if grant.key_generation != self.generation {
            return Err(SignError::GenerationDiffers {
                decided: grant.key_generation,
                signer: self.generation,
            });
        }
        let claims = Claims::of(issuer, grant).ok_or_else(|| SignError::Primitive("no holder".into()))?;
        let payload = serde_json::to_vec(&claims).map_err(|error| SignError::Primitive(error.to_string()))?;
        let token = self.compact(&self.header, &payload)?;
        if token.len() > MAX_TOKEN_BYTES { Err(SignError::TooLong(token.len())) } else { Ok(token) }
    }
    /// The header of another kind of token than an access token.
    pub(super) fn header(&self, typ: &str) -> String {
        encoded_header(&self.public, &self.kid, typ)
    }

    /// Signs a payload behind an encoded header.
    pub(super) fn compact(&self, header: &str, payload: &[u8]) -> Result<String, SignError> {
        let mut token = String::with_capacity(header.len() + payload.len().div_ceil(3) * 4 + 1 + 86);
        token.push_str(header);
        BASE64URL.encode_string(payload, &mut token);
        let signature = self
            .key
            .sign(&self.random, token.as_bytes())
            .map_err(|_| SignError::Primitive("the system's random numbers failed".into()))?;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// The encoded header with the dot behind it.
pub(super) fn encoded_header(public: &PublicKey, kid: &str, typ: &str) -> String {
    let header = format!(r#"{{"alg":"{}","kid":"{kid}","typ":"{typ}"}}"#, public.alg());
    format!("{}.", BASE64URL.encode(header))
}
