//! Which ledger, where, and how much has to be lost before an acknowledged write is.

use std::{fmt, path::PathBuf, time::Duration};
use taskpass_types::Secret;

/// A ledger and how it is reached.
#[derive(Debug)]
pub struct Settings {
    /// How the primary is found.
    pub place: Place,
    /// The ledger's name: several may share a server, and brokers that name the same one are a fleet. Letters, digits, `-`
    /// and `_`.
    pub ledger: String,
    /// Who we are to the server.
    pub account: Option<Account>,
    /// Who we are to the Sentinels, if they ask.
    pub sentinel_account: Option<Account>,
    /// Encrypt, and whom to trust; `None`: in the clear.
    pub tls: Option<TlsFiles>,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// How long the server may take to answer.
    pub patience: Duration,
}

/// How the primary is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Always at this address.
    Single(Address),
    /// By asking the Sentinels for the service.
    Sentinel {
        /// The name that the Sentinels watch it under.
        service: String,
        /// Where the Sentinels are.
        sentinels: Vec<Address>,
    },
    /// Whichever node has the ledger's slot, by asking any of these.
    Cluster(Vec<Address>),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A user of the server's access control list.
pub struct Account {
    /// The user; `None`: `default`.
    pub user: Option<String>,
    /// Its password.
    pub password: Secret<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// PEM files, read again for every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may have signed the server's certificate.
    pub ca: PathBuf,
    /// Our certificate and its key, if the server asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Confirmed by as many replicas as could be promoted, and ends also by a journal of this broker: the loss of brokers,
    /// of the primary, of all but one of its copies.
    Durable {
        /// How many replicas there are that could be promoted, at least 1.
        replicas: u32,
    },
    /// Confirmed by the primary: the loss of brokers; and of the primary's process, if it syncs its append-only file. What
    /// takes something away (an end, a change of policy) is also confirmed by `replicas`, so that a failover forgets none.
    Standard {
        /// How many replicas there are that could be promoted.
        replicas: u32,
    },
}

impl Durability {
    /// By how many replicas a commit has to be confirmed.
    pub(crate) fn replicas(self, takes_away: bool) -> u32 {
        match self {
            Self::Durable { replicas } => replicas.max(1),
            Self::Standard { replicas } if takes_away => replicas,
            Self::Standard { .. } => 0,
        }
    }

    /// Whether a look counts only once a later write on its link was confirmed: a primary that was replaced still answers.
    pub(crate) fn proves_looks(self) -> bool {
        matches!(self, Self::Durable { .. })
    }
}
