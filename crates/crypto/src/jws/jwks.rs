//! The public keys that verify tokens, as a JWKS (RFC 7517).

use super::{JwksError, TYP, TokenError, TokenSigner, signer::encoded_header};
use crate::{
    Alg, PublicKey,
    object::{self, Object},
    public_key::Jwk,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::collections::HashMap;

const MAX_JWKS_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 16;
/// A thumbprint has 43 characters; other issuers' names are rarely longer than this.
const MAX_KID_BYTES: usize = 64;

/// The keys that a verifier trusts, by `kid`. Immutable: a refetch makes a new one.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    by_kid: HashMap<Box<str>, PublicKey>,
    /// The encoded header of access tokens, as our issuer writes it with each key, and that key.
    by_header: Vec<(Box<str>, PublicKey)>,
}

impl TokenKeys {
    /// Parses a JWKS of at most 64 KiB and 16 keys.
    ///
    /// A key of another type, curve or use is passed over, as RFC 7517 section 5 asks. A private or symmetric key, a
    /// `kid` that is missing or there twice, or an `alg` that is not the key's refuses the whole set.
    pub fn parse(json: &[u8]) -> Result<Self, JwksError> {
        if json.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLarge);
        }
        let set: JwkSet<'_> =
            object::from_json(json).map_err(|error| JwksError::Malformed(error.to_string()))?;
        if set.keys.len() > MAX_KEYS {
            return Err(JwksError::TooLarge);
        }
        let (mut by_kid, mut by_header) = (HashMap::with_capacity(set.keys.len()), Vec::new());
        for Object(jwk) in &set.keys {
            let Some((kid, key)) = jwk.parse()? else { continue };
            if is_plain(kid) {
                let header = encoded_header(&key, kid, TYP);
                by_header.push((header.trim_end_matches('.').into(), key.clone()));
            }
            if by_kid.insert(kid.into(), key).is_some() {
                return Err(JwksError::DuplicateKid);
            }
        }
        if by_kid.is_empty() { Err(JwksError::Empty) } else { Ok(Self { by_kid, by_header }) }
    }

    /// The key of this name.
    pub fn key(&self, kid: &str) -> Option<&PublicKey> {
        self.by_kid.get(kid)
    }

    /// The names of all keys, in no order.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.by_kid.keys().map(AsRef::as_ref)
    }

    /// The name of the only key, if there is one only.
    pub(super) fn only_kid(&self) -> Option<&str> {
        if self.by_kid.len() == 1 { self.kids().next() } else { None }
    }

    /// The key of a token that begins with exactly the header that our issuer writes: there is nothing in it to look at.
    pub(super) fn of_own_header(&self, header: &str) -> Option<&PublicKey> {
        self.by_header.iter().find(|(own, _)| **own == *header).map(|(_, key)| key)
    }

    /// The key that a header names, when the header's algorithm is the key's own.
    pub(super) fn select(&self, kid: &str, alg: &str) -> Result<&PublicKey, TokenError> {
        let key = self.key(kid).ok_or(TokenError::KeyUnknown)?;
        if key.alg().as_str() == alg { Ok(key) } else { Err(TokenError::AlgMismatch) }
    }
}

/// Whether a name is written into JSON as it is.
fn is_plain(kid: &str) -> bool {
    kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[derive(Deserialize)]
struct JwkSet<'a> {
    #[serde(borrow)]
    keys: Vec<Object<ForeignJwk<'a>>>,
}

/// A JWK that somebody else may have written; the members of private and symmetric keys are there to be refused.
#[derive(Deserialize)]
struct ForeignJwk<'a> {
    kty: &'a str,
    crv: Option<&'a str>,
    x: Option<&'a str>,
    y: Option<&'a str>,
    kid: Option<&'a str>,
    alg: Option<&'a str>,
    #[serde(rename = "use")]
    purpose: Option<&'a str>,
    d: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
}

impl ForeignJwk<'_> {
    /// The key and its name; `None` for a public key that is not for us.
    fn parse(&self) -> Result<Option<(&str, PublicKey)>, JwksError> {
        if self.kty == "oct" || [&self.d, &self.k, &self.p, &self.q].iter().any(|part| part.is_some()) {
            return Err(JwksError::PrivateKey);
        }
        if self.purpose.is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let key = match (self.kty, self.crv) {
            ("EC", Some("P-256")) => {
                let (x, y) = (coordinate(self.x)?, coordinate(self.y)?);
                PublicKey::from_point(&[&[4], &x[..], &y[..]].concat())
                    .ok_or(JwksError::KeyInvalid("its point is not one"))?
            }
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(coordinate(self.x)?),
            _ => return Ok(None),
        };
        if self.alg.is_some_and(|alg| alg != key.alg().as_str()) {
            return Err(JwksError::KeyInvalid("its `alg` is not that of its type"));
        }
        match self.kid {
            Some(kid) if !kid.is_empty() && kid.len() <= MAX_KID_BYTES => Ok(Some((kid, key))),
            _ => Err(JwksError::KeyInvalid("its `kid` is missing or longer than 64 bytes")),
        }
    }
}

fn coordinate(text: Option<&str>) -> Result<[u8; 32], JwksError> {
    text.and_then(|text| BASE64URL.decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(JwksError::KeyInvalid("a coordinate is missing or not 32 bytes in base64url"))
}

/// The JWKS that publishes the public halves of `signers`.
pub(crate) fn render_jwks<'a>(
    signers: impl Iterator<Item = &'a TokenSigner>,
) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Set<'a> {
        keys: Vec<Published<'a>>,
    }
    #[derive(Serialize)]
    struct Published<'a> {
        #[serde(flatten)]
        jwk: Jwk,
        kid: &'a str,
        #[serde(rename = "use")]
        purpose: &'static str,
        alg: Alg,
    }
    let published = |signer: &'a TokenSigner| Published {
        jwk: signer.public_key().into(),
        kid: signer.kid(),
        purpose: "sig",
        alg: signer.alg(),
    };
    serde_json::to_string(&Set { keys: signers.map(published).collect() })
}
