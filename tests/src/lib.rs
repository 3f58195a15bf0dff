//! What the stories share: real brokers in processes of their own, and everybody who talks to them.
//!
//! A [`World`] is a directory with all that one broker needs and the authorities that vouch for its callers; a
//! [`Broker`] is the real `taskpass serve` on it, which can be stopped, killed and started again; a [`Client`] asks
//! without any of the courtesies of the client library, and gets a [`Refused`] with everything that was said; the
//! [`resource`] server is a team's own, behind the verifier; [`audit`] reads what was written down.
//!
//! Invariants: nothing is waited for by the clock but only until something is the case ([`until`]); every process that
//! is started is ended by whoever started it; no two worlds share a port, a directory or a process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is test code: what does not happen as it should ends the test"
)]

pub mod audit;
mod authority;
mod broker;
pub mod campaign;
mod client;
mod guard;
mod program;
mod refused;
pub mod resource;
mod wait;
mod world;

pub use authority::{Authority, Leaf, Signed};
pub use broker::Broker;
pub use client::{Client, certificate, issue, start, token};
pub use guard::{Echo, Guard};
pub use program::{Run, program, run};
pub use refused::Refused;
pub use wait::until;
pub use world::{Settings, World};
