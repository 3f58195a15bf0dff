//! How much of the machine connections may take.

use std::time::Duration;

/// The limits of one [`Acceptor`](crate::Acceptor), shared by all its listeners. The defaults suit one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection may live, give or take a tenth so that clients do not come back all at once. This cuts;
    /// let the server say goodbye (GOAWAY) earlier. Default 1 h.
    pub connection_age: Duration,
    /// Open connections, those in handshake included. Default 4096.
    pub connections: usize,
    /// Open connections of one source: a user id, an IPv4 address, or an IPv6 /64. Default 512.
    pub connections_per_source: usize,
    /// How long handshake and attestation may take together. Default 5 s.
    pub handshake_timeout: Duration,
    /// Handshakes at a time; above it connections wait in the kernel's backlog. Default 256.
    pub handshakes: usize,
    /// Handshakes at a time of one source, so that one cannot keep all others waiting. Default 64.
    pub handshakes_per_source: usize,
    /// A connection from which nothing comes is closed after one to two of this; let the server send keepalive pings
    /// more often. Default 60 s.
    pub idle: Duration,
    /// How long an identity is believed before it is verified again; less where the identity itself says so.
    /// Default 60 s.
    pub reattest_after: Duration,
    /// How long a peer that was refused has to ask why. Default 10 s.
    pub refused_connection_life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connection_age: Duration::from_secs(3600),
            connections: 4096,
            connections_per_source: 512,
            handshake_timeout: Duration::from_secs(5),
            handshakes: 256,
            handshakes_per_source: 64,
            idle: Duration::from_secs(60),
            reattest_after: Duration::from_secs(60),
            refused_connection_life: Duration::from_secs(10),
        }
    }
}
