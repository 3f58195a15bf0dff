//! Verifies tokens: size, shape, header, key, signature; only then claims.

use super::{MAX_TOKEN_BYTES, TYP, TokenError, TokenKeys, claims::Claims};
use crate::{Leeway, PublicKey, object};
use base64::{DecodeSliceError, Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::Deserialize;
use taskpass_types::{Grant, ResourceName, Timestamp};

/// Those of both algorithms have 64; a little more, since the decoder rounds up what it needs.
const MAX_SIGNATURE_BYTES: usize = 96;

/// What a token must say to be accepted, and when.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Its `iss`, byte for byte.
    pub issuer: &'a str,
    /// Its one `aud`; `None` accepts any, for introspection by the issuer itself.
    pub audience: Option<&'a ResourceName>,
    /// Now.
    pub now: Timestamp,
    /// How far the issuer's clock may be off.
    pub leeway: Leeway,
}

/// The three segments of a token, still encoded.
pub(super) struct Segments<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    signature: &'a str,
    signed: &'a str,
}

/// The only header that our issuer writes. Its texts are borrowed: one with an escape in it is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

impl<'a> Segments<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, TokenError> {
        Self::within(token, MAX_TOKEN_BYTES)
    }

    pub(super) fn within(token: &'a str, max: usize) -> Result<Self, TokenError> {
        if token.len() > max {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::SegmentCount)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::SegmentCount)?;
        if payload.contains('.') {
            return Err(TokenError::SegmentCount);
        }
        Ok(Self { header, payload, signature, signed })
    }

    pub(super) fn verify(&self, key: &PublicKey) -> Result<(), TokenError> {
        let mut buffer = [0; MAX_SIGNATURE_BYTES];
        let length = BASE64URL.decode_slice(self.signature, &mut buffer).map_err(|error| match error {
            DecodeSliceError::DecodeError(_) => TokenError::Base64Invalid,
            DecodeSliceError::OutputSliceTooSmall => TokenError::SignatureInvalid,
        })?;
        let signature = buffer.get(..length).unwrap_or_default();
        let good = key.verifies(self.signed.as_bytes(), signature);
        if good { Ok(()) } else { Err(TokenError::SignatureInvalid) }
    }
}

pub(super) fn decode(segment: &str) -> Result<Vec<u8>, TokenError> {
    BASE64URL.decode(segment).map_err(|_| TokenError::Base64Invalid)
}

impl TokenKeys {
    /// Checks a token against everything that `expect` says, and returns all that it grants.
    ///
    /// Costs one signature verification and one pass over the payload. The payload is not looked at before the
    /// signature holds. An answer says nothing about revocation.
    pub fn verify(&self, token: &str, expect: &Expect<'_>) -> Result<Grant, TokenError> {
        let payload = self.verify_signature(token)?;
        let claims = Claims::parse(&payload)?;
        if claims.iss != expect.issuer {
            return Err(TokenError::IssuerMismatch);
        }
        if expect.audience.is_some_and(|audience| *audience != claims.aud) {
            return Err(TokenError::AudienceMismatch);
        }
        let grant = claims.into_grant()?;
        if expect.now >= grant.expires_at.plus(expect.leeway.as_duration()) {
            return Err(TokenError::Expired);
        }
        if expect.now.plus(expect.leeway.as_duration()) < grant.issued_at {
            return Err(TokenError::IssuedInFuture);
        }
        Ok(grant)
    }

    /// Checks a token's form, header, key and signature, and returns its payload. Says nothing about issuer, audience
    /// or time: use [`TokenKeys::verify`].
    pub fn verify_signature(&self, token: &str) -> Result<Vec<u8>, TokenError> {
        let segments = Segments::split(token)?;
        let Some(key) = self.of_own_header(segments.header) else {
            return self.verify_typed(segments, TYP);
        };
        segments.verify(key)?;
        decode(segments.payload)
    }

    pub(super) fn verify_typed(&self, segments: Segments<'_>, typ: &str) -> Result<Vec<u8>, TokenError> {
        let header = decode(segments.header)?;
        let header: Header<'_> =
            object::from_json(&header).map_err(|error| TokenError::HeaderInvalid(error.to_string()))?;
        if header.typ != typ {
            return Err(TokenError::TypMismatch);
        }
        segments.verify(self.select(header.kid, header.alg)?)?;
        decode(segments.payload)
    }
}

/// What a token that was signed here a moment ago says, without a look at its signature: to compare it with what was
/// decided (I4). Never for a token that came from elsewhere.
pub fn read_back(token: &str) -> Result<Grant, TokenError> {
    Claims::parse(&decode(Segments::split(token)?.payload)?)?.into_grant()
}
