//! Connections: from a listening socket to a byte stream whose peer is known, bounded, and can be cut off.
//!
//! [`Acceptor`] runs the accept loops; each gives an [`Incoming`] of [`Connection`]s that a tonic server takes
//! (`serve_with_incoming_shutdown`), and every request of a connection finds its [`Peer`] in its extensions.
//!
//! Invariants:
//! - Every connection counts against [`Limits`], in all and for its source, from before its first byte is read.
//! - An accept loop ends only when [`Drain`] says so, and never spins.
//! - A TLS peer has proved, in this very handshake, that it holds the key of its certificate: there is no session
//!   resumption, because a resumed session does not ask the certificate verifier again.
//! - Killing a peer ends its open streams at once, not at their next message.
//! - Identity is verified anew at least every [`Limits::reattest_after`]; a connection whose peer no longer attests is
//!   killed, also when it only listens.
//!
//! Where trust is decided: the handshake demands a certificate and its key, the [`Attestor`](taskpass_attest::Attestor)
//! judges it right after. A peer that it refuses (expired, of a foreign trust domain) is kept for
//! [`Limits::refused_connection_life`], so that its call is answered with the typed refusal, and audited, instead of a
//! TLS alert that says nothing. On such a connection [`Peer::attested`] yields only that refusal.

mod acceptor;
mod admission;
mod connection;
mod drain;
mod guard;
mod limits;
mod peer;
mod registry;
mod tls;
mod transport;
mod unix_socket;

pub use acceptor::{Acceptor, Incoming};
pub use connection::Connection;
pub use drain::{Drain, Drained};
pub use limits::Limits;
pub use peer::{ConnectionId, Peer};
pub use registry::Connections;
pub use tls::{ClientAuth, Protocol, ServerCertificate, Tls, TlsError};
pub use transport::listen_tcp;
pub use unix_socket::{SocketAccess, SocketError, SocketFile, UnixSocket};
