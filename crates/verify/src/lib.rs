//! For resource servers: checks Taskpass credentials in the server's own process, and knows within milliseconds what
//! was ended.
//!
//! ```no_run
//! # use taskpass_verify::Verifier;
//! # async fn demo(channel: tonic::transport::Channel, routes: axum::Router)
//! # -> Result<axum::Router, Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder(channel).audience("billing-api").start()?;
//! verifier.ready().await;
//! let routes = routes.layer(verifier.layer().require("invoice:read")?);
//! # Ok(routes)
//! # }
//! ```
//!
//! For a server that must not stop with the broker, and for connections of clients that present certificates:
//!
//! ```no_run
//! # use taskpass_verify::{Guarded, PeerCertificates, Verifier};
//! # fn demo(channel: tonic::transport::Channel, stream: tokio::net::TcpStream, chain: PeerCertificates)
//! # -> Result<Guarded<tokio::net::TcpStream>, Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder(channel).audience("billing-api").until_expiry().cache("/var/lib/billing/denies").start()?;
//! let stream = verifier.guard(stream, chain);
//! # Ok(stream)
//! # }
//! ```
//!
//! - [`Verifier`] checks tokens and client certificates offline, against the keys and the deny set that the broker
//!   streams to it; [`Granted`] is what it accepted, [`Rejected`] why it did not.
//! - [`layer`] puts it in front of an axum, tonic or hyper service, and cuts answers off that outlive their credential.
//! - [`connection`] ends connections with the certificate that opened them.
//! - [`feed`] and [`denies`] are the protocol without I/O, for servers with a transport of their own.
//!
//! Invariants: what was acknowledged as ended is refused as soon as the feed says so, and everything is refused when
//! the broker was not heard for `max_stale` (unless [`VerifierBuilder::until_expiry`] was chosen) and before the first
//! snapshot (I7). Nothing panics on input. Memory is bounded.

#[cfg(feature = "tower")]
pub mod body;
mod builder;
mod cache;
mod clock;
pub mod connection;
pub mod denies;
pub mod feed;
mod follow;
mod granted;
mod keys;
#[cfg(feature = "tower")]
pub mod layer;
mod meter;
mod rejected;
mod shared;
mod table;
mod verifier;
pub mod wire;

pub use builder::{StartError, VerifierBuilder};
pub use connection::{Guarded, PeerCertificates};
pub use granted::Granted;
pub use keys::Keys;
#[cfg(feature = "tower")]
pub use layer::VerifyLayer;
pub use rejected::Rejected;
pub use verifier::Verifier;
