//! Access tokens: RFC 9068 claims in a strict compact JWS (RFC 7515), signed and verified without a JOSE library.
//!
//! A library's verifier is written for every issuer; this one is written for ours, and refuses all that ours never
//! writes. Invariants: nothing of a payload is parsed before its signature is checked; the key decides the algorithm;
//! times are integers; one audience; no header but `alg`, `kid`, `typ`. The same key signs status lists and closure receipts,
//! each of another `typ`. Of client assertions ([`Assertion`]), which others write, it is looked first whose they are, to find
//! the keys.

mod assertion;
mod claims;
mod closure;
mod error;
mod inspect;
mod jwks;
mod signer;
mod status;
mod verify;

pub use assertion::{Assertion, MAX_ASSERTION_LIFE, unverified_client};
pub use claims::{RAR_TYPE, claims};
pub use closure::{
    CLOSURE_TYP, ClosedLease, ClosedOutcome, ClosedTask, ClosedVerifier, ClosureError, ClosureReceipt,
    MAX_CLOSED_LEASES, MAX_CLOSURE_BYTES, read_back_closure,
};
pub use error::{JwksError, TokenError};
pub use inspect::{Inspection, inspect_unverified};
pub use jwks::TokenKeys;
pub(crate) use jwks::render_jwks;
pub(crate) use signer::TokenPrivateKey;
pub use signer::TokenSigner;
pub use status::{STATUS_LIST_TYP, StatusList, StatusTerms, origin};
pub use verify::{Expect, read_back};

/// A longer token is refused before anything of it is decoded.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The only `typ` (RFC 9068 section 2.1).
const TYP: &str = "at+jwt";
