//! Keys and their life, access tokens, certificates: all that Taskpass signs and everything that checks it.
//!
//! - [`keys`] holds the signing keys: sealed on disk, published before they sign, kept until what they signed is dead.
//! - [`jws`] signs and verifies RFC 9068 access tokens with a strict compact serialisation of its own.
//! - [`x509`] turns the public key of a CSR into a leaf certificate, and a chain back into what was granted.
//!
//! Invariants: no I/O beyond the key directory, no async, no clock (`now` is an argument). What is signed equals the
//! [`Grant`](taskpass_types::Grant) that was decided (I4): signers refuse a grant that they cannot say in full, and
//! both verifiers give back the whole of it. Nothing here panics on input, and all input is bounded.

mod claims;
mod error;
pub mod jws;
pub mod keys;
mod object;
mod public_key;
pub mod thumbprint;
pub mod x509;

pub use claims::UnsoundGrant;
pub use error::SignError;
pub use jws::{Expect, Inspection, TokenError, TokenKeys, TokenSigner};
pub use keys::{KeyError, KeyPolicy, KeyRing, SealKey};
pub use public_key::{Alg, PublicKey};
pub use x509::{CaBundle, CertError, CertificateAuthority, CsrKey};

use std::time::Duration;

/// How far a verifier's clock may differ from the broker's: at most five seconds, so that a credential of a minute
/// stays one of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leeway(Duration);

impl Leeway {
    /// The most that can be had.
    pub const MAX: Self = Self(Duration::from_secs(5));
    /// None.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// `span`, cut to [`Leeway::MAX`].
    pub fn new(span: Duration) -> Self {
        Self(span.min(Self::MAX.0))
    }

    /// As a span.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}
