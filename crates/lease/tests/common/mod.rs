//! Events with everything filled in; a test changes what it is about.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use taskpass_lease::{Fence, PlanLease, RenewLease, Request, StartTask};
use taskpass_types::{
    ActionName, AgentId, CredentialKind, DecisionId, Initiator, KeyGeneration, LeaseId, Owner,
    PolicyRevision, RequestId, ResourceName, Revocability, Scope, SpiffeId, TaskId, TaskKind, TenantId,
    Timestamp, Ttl,
};

pub(crate) const AGENT: &str = "ci/invoice-bot";
pub(crate) const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);

pub(crate) fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

pub(crate) fn revision(name: &str) -> PolicyRevision {
    PolicyRevision::new(name).unwrap()
}

pub(crate) fn secs(secs: u64) -> Ttl {
    Ttl::from_secs(secs).unwrap()
}

pub(crate) fn resource() -> ResourceName {
    ResourceName::new("billing-api").unwrap()
}

pub(crate) fn scope(action: &str) -> Scope {
    Scope { resource: resource(), action: ActionName::new(action).unwrap() }
}

pub(crate) fn request(id: &str, digest: u8) -> Request {
    Request { id: RequestId::new(id).unwrap(), digest: [digest; 32] }
}

/// A task of one hour for `read` and `write`.
pub(crate) fn start(id: TaskId, parent: Option<TaskId>) -> StartTask {
    StartTask {
        tenant: TenantId::default(),
        id,
        parent,
        agent: agent(AGENT),
        owner: Owner::new("maya@acme.test").unwrap(),
        kind: TaskKind::new("close-books").unwrap(),
        purpose: "close the books".to_owned(),
        scopes: BTreeSet::from([scope("read"), scope("write")]),
        initiator: Initiator::new("maya@acme.test").unwrap(),
        labels: BTreeMap::new(),
        ttl: secs(3600),
        heartbeat: None,
        request: request(&format!("start-{id}"), 0),
    }
}

/// A token of five minutes for `read`.
pub(crate) fn plan(id: LeaseId, task: TaskId) -> PlanLease {
    PlanLease {
        tenant: TenantId::default(),
        id,
        task,
        agent: agent(AGENT),
        subject: SpiffeId::new(format!("spiffe://acme.test/{AGENT}/task/{task}")).unwrap(),
        resource: resource(),
        actions: BTreeSet::from([ActionName::new("read").unwrap()]),
        kind: CredentialKind::Jwt,
        revocability: Revocability::Bounded,
        confirmation: None,
        ttl: secs(300),
        policy_max_ttl: None,
        evidence_expires_at: NEVER,
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: Fence { policy_revision: revision("r1") },
        key_generation: KeyGeneration(1),
        request: request(&format!("plan-{id}"), 0),
    }
}

/// Five more minutes.
pub(crate) fn renew(lease: LeaseId, request: &str) -> RenewLease {
    RenewLease {
        tenant: TenantId::default(),
        lease,
        agent: agent(AGENT),
        confirmation: None,
        ttl: secs(300),
        policy_max_ttl: None,
        evidence_expires_at: NEVER,
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: Fence { policy_revision: revision("r1") },
        key_generation: KeyGeneration(1),
        request: RequestId::new(request).unwrap(),
    }
}
