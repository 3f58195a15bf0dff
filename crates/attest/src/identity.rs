//! What a caller presents, and what is known about it after verification.

use crate::{Selector, unix::UnixPeer};
use rustls_pki_types::CertificateDer;
use std::{collections::BTreeSet, fmt};
use taskpass_types::{Confirmation, SpiffeId, Timestamp};

/// What a caller presents. It says nothing until an attestor has verified it.
#[derive(Clone)]
pub enum Evidence {
    /// The process at the other end of a Unix socket.
    Unix(UnixPeer),
    /// A certificate chain, leaf first, whose key the caller proved to hold in this TLS handshake.
    X509(Vec<CertificateDer<'static>>),
}

impl Evidence {
    /// The kind as a word, for logs, metrics and messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unix(_) => "unix",
            Self::X509(_) => "x509",
        }
    }
}

impl fmt::Debug for Evidence {
    /// The kind only: what callers present does not belong in logs before it is verified.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// What an attestor verified about a caller.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// All that registration entries can match.
    pub selectors: BTreeSet<Selector>,
    /// The SPIFFE ID, when the evidence carries one.
    pub spiffe_id: Option<SpiffeId>,
    /// The caller's own key, to which credentials can be bound; `x5t#S256` of its leaf certificate.
    pub confirmation: Option<Confirmation>,
    /// One line for the audit log: `spiffe://…` or `unix uid=1000 pid=4242 exe=/usr/bin/python3`.
    pub description: String,
    /// SHA-256 of the evidence, 64 lower-case hexadecimal digits; the same evidence gives the same digest.
    pub evidence_digest: String,
    /// When it was verified.
    pub verified_at: Timestamp,
    /// When it must be verified again, at the latest.
    pub expires_at: Timestamp,
}

impl Identity {
    /// Whether it still holds at `now`.
    pub fn is_current(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

impl fmt::Debug for Identity {
    /// The description only: selectors describe the caller's machine and are not for every log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} until {}", self.description, self.expires_at)
    }
}
