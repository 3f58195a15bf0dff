//! Who is calling: evidence in, identity out.
//!
//! An [`Attestor`] verifies one kind of [`Evidence`] and makes an [`Identity`] of it: the [`Selector`]s by which an agent
//! is registered, and an expiry. Two attestors live here: [`unix`] (the kernel says who is at the other end of a Unix
//! socket) and [`spiffe`] (an X.509-SVID that the TLS handshake proved possession of).
//!
//! Clients of the OAuth endpoints that cannot show a certificate sign an assertion instead ([`Clients`]). It is good once,
//! so it is evidence of one request and not of a connection, and no attestor of its own.
//!
//! Invariants: a parser of facts accepts only what a verifier returned ([`spiffe::Verified`]); an identity always
//! expires; evidence that an attestor does not know is refused, never ignored; no input reaches a panic.

mod clients;
pub mod conformance;
mod digest;
mod identity;
mod port;
mod selector;
pub mod spiffe;
pub mod unix;

pub use clients::{Clients, Unproven};
pub use identity::{Evidence, Identity};
pub use port::{Attestor, Attestors};
pub use selector::{ParseSelectorError, Selector};
