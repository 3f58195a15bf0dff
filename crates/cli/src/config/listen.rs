//! `[listen]` and `[tls]`: where the broker is reached, and who it is there.

use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};
use taskpass_net::SocketAccess;

/// Where the broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// The API over mutual TLS; `None`: on the Unix socket only.
    pub api: Option<SocketAddr>,
    /// The API on a Unix socket, where the kernel says who calls.
    pub socket: PathBuf,
    /// Who may connect to it.
    pub socket_mode: SocketMode,
    /// JWKS, metadata, CRL, health and metrics.
    pub http: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            api: None,
            socket: "/run/taskpass/api.sock".into(),
            socket_mode: SocketMode::Group,
            http: (Ipv4Addr::LOCALHOST, 7420).into(),
        }
    }
}

/// The permissions of the Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SocketMode {
    /// The broker's user and group.
    #[serde(rename = "0660")]
    Group,
    /// The broker's user.
    #[serde(rename = "0600")]
    Owner,
}

impl From<SocketMode> for SocketAccess {
    fn from(mode: SocketMode) -> Self {
        match mode {
            SocketMode::Group => Self::Group,
            SocketMode::Owner => Self::Owner,
        }
    }
}

/// The broker's own certificate, read again when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The chain in PEM, the leaf first.
    pub certificate: PathBuf,
    /// Its key in PEM.
    pub key: PathBuf,
}
