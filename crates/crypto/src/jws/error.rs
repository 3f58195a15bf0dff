//! Why a token or a key set is refused.

use crate::UnsoundGrant;

/// Why a token is refused; one variant per class, each with a stable [`code`](TokenError::code).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// `alg` is not that of the key that `kid` names.
    #[error("the token's `alg` is not that of its key")]
    AlgMismatch,
    /// `aud` is not the expected audience.
    #[error("the token is for another audience")]
    AudienceMismatch,
    /// A segment is not canonical base64url without padding.
    #[error("a segment of the token is not canonical base64url")]
    Base64Invalid,
    /// The payload is not exactly the claims that the issuer writes: a member is missing, unknown, twice or of another
    /// type.
    #[error("the token's claims are not as the issuer writes them: {0}")]
    ClaimsInvalid(String),
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// Two claims contradict each other.
    #[error("the token's claims contradict each other: {0}")]
    GrantInconsistent(&'static str),
    /// The private claim contradicts itself.
    #[error(transparent)]
    GrantUnsound(#[from] UnsoundGrant),
    /// The header is not exactly `alg`, `kid` and `typ`.
    #[error("the token's header is not exactly `alg`, `kid` and `typ`: {0}")]
    HeaderInvalid(String),
    /// `iat` is in the future.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `iss` is not the expected issuer.
    #[error("the token is from another issuer")]
    IssuerMismatch,
    /// No key has this `kid`.
    #[error("no key has the token's `kid`")]
    KeyUnknown,
    /// There are not exactly three segments.
    #[error("the token does not have exactly three segments")]
    SegmentCount,
    /// The signature is not the key's.
    #[error("the token's signature is not valid")]
    SignatureInvalid,
    /// It is longer than [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES).
    #[error("the token is longer than 8 KiB")]
    TooLong,
    /// `typ` is not `at+jwt`.
    #[error("the token's `typ` is not `at+jwt`")]
    TypMismatch,
}

impl TokenError {
    /// The class, for metrics, logs and programs; never changes its meaning.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AlgMismatch => "alg_mismatch",
            Self::AudienceMismatch => "audience_mismatch",
            Self::Base64Invalid => "base64_invalid",
            Self::ClaimsInvalid(_) => "claims_invalid",
            Self::Expired => "expired",
            Self::GrantInconsistent(_) => "grant_inconsistent",
            Self::GrantUnsound(_) => "grant_unsound",
            Self::HeaderInvalid(_) => "header_invalid",
            Self::IssuedInFuture => "issued_in_future",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::KeyUnknown => "key_unknown",
            Self::SegmentCount => "segment_count",
            Self::SignatureInvalid => "signature_invalid",
            Self::TooLong => "too_long",
            Self::TypMismatch => "typ_mismatch",
        }
    }
}

/// Why a JWKS is refused; the set is taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// Two keys have one `kid`.
    #[error("two keys of the JWKS have the same `kid`")]
    DuplicateKid,
    /// No key in it can verify a token.
    #[error("the JWKS has no key that can verify a token")]
    Empty,
    /// A key is malformed, or contradicts its own `alg`, `use` or `kid`.
    #[error("a key of the JWKS is not valid: {0}")]
    KeyInvalid(&'static str),
    /// It is not the JSON of a JWKS.
    #[error("the JWKS is not valid: {0}")]
    Malformed(String),
    /// A private or symmetric key is in it: whoever served it has leaked it.
    #[error("the JWKS has a private or symmetric key in it")]
    PrivateKey,
    /// More than 64 KiB or 16 keys.
    #[error("the JWKS is longer than 64 KiB or has more than 16 keys")]
    TooLarge,
}
