//! `[limits]`, `[connections]` and `[defaults]`: how much and how long, at most and when nobody says.
//!
//! The limits belong to the crates that enforce them, with their defaults; here is only how they are written.

use crate::span;
use serde::Deserialize;
use std::time::Duration;

/// What callers get who do not say how long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// A token.
    #[serde(deserialize_with = "span::duration")]
    pub jwt_ttl: Duration,
    /// A certificate.
    #[serde(deserialize_with = "span::duration")]
    pub x509_ttl: Duration,
    /// A task.
    #[serde(deserialize_with = "span::duration")]
    pub task_ttl: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            jwt_ttl: Duration::from_secs(5 * 60),
            x509_ttl: Duration::from_secs(15 * 60),
            task_ttl: Duration::from_secs(3600),
        }
    }
}

/// `[limits]`.
#[derive(Deserialize)]
#[serde(remote = "taskpass_lease::Limits", deny_unknown_fields, default = "taskpass_lease::Limits::default")]
pub(super) struct Limits {
    #[serde(deserialize_with = "span::duration")]
    task_max: Duration,
    #[serde(deserialize_with = "span::duration")]
    jwt_max: Duration,
    #[serde(deserialize_with = "span::duration")]
    x509_max: Duration,
    live_per_task: u32,
    issued_per_task: u32,
    tasks_per_agent: u32,
    #[serde(deserialize_with = "span::duration")]
    approval_ttl: Duration,
    approvals_per_agent: u32,
    #[serde(deserialize_with = "span::duration")]
    retention: Duration,
}

/// `[connections]`.
#[derive(Deserialize)]
#[serde(remote = "taskpass_net::Limits", deny_unknown_fields, default = "taskpass_net::Limits::default")]
pub(super) struct Connections {
    #[serde(deserialize_with = "span::duration")]
    connection_age: Duration,
    connections: usize,
    connections_per_source: usize,
    #[serde(deserialize_with = "span::duration")]
    handshake_timeout: Duration,
    handshakes: usize,
    handshakes_per_source: usize,
    #[serde(deserialize_with = "span::duration")]
    idle: Duration,
    #[serde(deserialize_with = "span::duration")]
    reattest_after: Duration,
    #[serde(deserialize_with = "span::duration")]
    refused_connection_life: Duration,
}
