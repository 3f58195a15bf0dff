//! Bounds on what may live at once and for how long; on by default.

use std::time::Duration;
use taskpass_types::{CredentialKind, Ttl};

/// The bounds that [`crate::step()`] enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest a task may run.
    pub task_max: Duration,
    /// The longest a token may live.
    pub jwt_max: Duration,
    /// The longest a certificate may live.
    pub x509_max: Duration,
    /// Live leases and child tasks directly under one task.
    pub live_per_task: u32,
    /// Leases ever issued under one root task, children included.
    pub issued_per_task: u32,
    /// Running tasks of one agent.
    pub tasks_per_agent: u32,
    /// Approvals that one agent may wait for at once.
    pub approvals_per_agent: u32,
    /// How long an approval can be granted and used.
    pub approval_ttl: Duration,
    /// How long ended tasks and leases stay visible; never less than [`Limits::task_max`].
    pub retention: Duration,
}

impl Default for Limits {
    /// Tasks up to 8 h, tokens up to 15 min, certificates up to 1 h; 1,000 live and 100,000 issued leases per task;
    /// 1,000 running tasks and 16 waiting approvals per agent; approvals for 10 min; records are kept for 24 h.
    fn default() -> Self {
        Self {
            task_max: Duration::from_secs(8 * 3600),
            jwt_max: Duration::from_secs(15 * 60),
            x509_max: Duration::from_secs(3600),
            live_per_task: 1_000,
            issued_per_task: 100_000,
            tasks_per_agent: 1_000,
            approvals_per_agent: 16,
            approval_ttl: Duration::from_secs(10 * 60),
            retention: Duration::from_secs(24 * 3600),
        }
    }
}

impl Limits {
    /// The longest a credential of `kind` may live.
    pub fn max_ttl(&self, kind: CredentialKind) -> Duration {
        let max = match kind {
            CredentialKind::Jwt => self.jwt_max,
            CredentialKind::X509 => self.x509_max,
        };
        max.min(Duration::from_secs(u64::from(Ttl::MAX_SECS)))
    }

    /// How long ended tasks and leases are kept. A record remembers its request id, so it must not go while a task may
    /// still run under which the same request could come again (I3).
    pub fn kept(&self) -> Duration {
        self.retention.max(self.task_max)
    }
}
