//! What the tests of the log share.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part; tests may panic")]

use std::{path::Path, sync::Arc};
use taskpass_audit::{Action, Actor, AuditLog, Event};
use taskpass_types::{AgentId, Clock, CredentialKind, ManualClock, SystemClock, TaskId, TenantId, Timestamp};

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

pub(crate) fn still_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_secs(1_795_000_000)))
}

pub(crate) fn open(dir: &Path) -> AuditLog {
    AuditLog::open(dir, clock()).unwrap()
}

/// An ordinary event, told apart by its count.
pub(crate) fn event(count: u64) -> Event {
    let agent = AgentId::new("ci/invoice-bot").unwrap();
    Event::outcome(&TenantId::default(), Action::LeaseIssue, Actor::Agent(agent.clone()))
        .agent(&agent)
        .kind(CredentialKind::Jwt)
        .task(TaskId::new())
        .purpose("close the November invoices")
        .count(count)
}
