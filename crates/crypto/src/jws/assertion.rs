//! Client assertions: a JWT by which a client of the OAuth endpoints proves who it is (RFC 7523 section 3, OpenID Connect
//! Core section 9, `private_key_jwt`).
//!
//! As strict as the RFC allows, since whoever writes them is written for us: one audience, an end that is near, an id.
//! Whether the id was used before is for whoever remembers.

use super::{
    TokenError, TokenKeys,
    verify::{Segments, decode},
};
use crate::{Leeway, object};
use serde::Deserialize;
use std::time::Duration;
use taskpass_types::Timestamp;

/// How far ahead `exp` may be: for so long the id of each has to be remembered.
pub const MAX_ASSERTION_LIFE: Duration = Duration::from_secs(300);
const MAX_ID_BYTES: usize = 128;

/// An assertion that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Its `jti`, which must not come again until it has expired.
    pub id: String,
    /// When nobody accepts it any more, the leeway included.
    pub forget_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    kid: Option<&'a str>,
    typ: Option<&'a str>,
}

/// What else is in it does not matter.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    jti: String,
    iat: Option<u64>,
    nbf: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    List([String; 1]),
}

/// Who an assertion says that it is of: to find the keys with which it is then verified, and for nothing else.
pub fn unverified_client(assertion: &str) -> Result<String, TokenError> {
    Ok(parse(&decode(Segments::split(assertion)?.payload)?)?.iss)
}

fn parse(payload: &[u8]) -> Result<Claims, TokenError> {
    object::from_json(payload).map_err(|error| TokenError::ClaimsInvalid(error.to_string()))
}

impl TokenKeys {
    /// Checks an assertion of `client` for one of `audiences`. These are the client's keys, not the broker's.
    pub fn verify_assertion(
        &self,
        assertion: &str,
        client: &str,
        audiences: &[&str],
        now: Timestamp,
    ) -> Result<Assertion, TokenError> {
        let segments = Segments::split(assertion)?;
        let header = decode(segments.header)?;
        let header: Header<'_> =
            object::from_json(&header).map_err(|error| TokenError::HeaderInvalid(error.to_string()))?;
        let named = |typ: &str| typ.eq_ignore_ascii_case("JWT") || typ == "client-authentication+jwt";
        if !header.typ.is_none_or(named) {
            return Err(TokenError::TypMismatch);
        }
        let kid = header.kid.or_else(|| self.only_kid()).ok_or(TokenError::KeyUnknown)?;
        let key = self.select(kid, header.alg)?;
        segments.verify(key)?;
        check(parse(&decode(segments.payload)?)?, client, audiences, now)
    }
}

fn check(claims: Claims, client: &str, audiences: &[&str], now: Timestamp) -> Result<Assertion, TokenError> {
    let leeway = Leeway::MAX.as_duration();
    let at = |seconds: u64| Timestamp::from_millis(seconds.saturating_mul(1000));
    if claims.iss != client || claims.sub != client {
        return Err(TokenError::IssuerMismatch);
    }
    let (Audience::One(audience) | Audience::List([audience])) = claims.aud;
    if !audiences.contains(&audience.as_str()) {
        return Err(TokenError::AudienceMismatch);
    }
    let forget_at = at(claims.exp).plus(leeway);
    if now >= forget_at {
        return Err(TokenError::Expired);
    }
    if at(claims.exp) > now.plus(MAX_ASSERTION_LIFE).plus(leeway) {
        return Err(TokenError::ClaimsInvalid("`exp` is more than five minutes ahead".to_owned()));
    }
    if [claims.iat, claims.nbf].into_iter().flatten().any(|from| at(from) > now.plus(leeway)) {
        return Err(TokenError::IssuedInFuture);
    }
    if claims.jti.is_empty() || claims.jti.len() > MAX_ID_BYTES {
        return Err(TokenError::ClaimsInvalid("`jti` is empty or longer than 128 bytes".to_owned()));
    }
    Ok(Assertion { id: claims.jti, forget_at })
}
