//! The events of the suite, also for an adapter's own tests: one agent, one resource; a test changes what it is about.

use std::collections::{BTreeMap, BTreeSet};
use taskpass_lease::{
    EndLease, EndTask, Event, Fence, Heartbeat, HoldKey, PlanLease, ReleaseHold, RenewLease, Request,
    StartTask,
};
use taskpass_types::{
    ActionName, AgentId, CredentialKind, DecisionId, EndReason, Initiator, KeyGeneration, LeaseId, Owner,
    PolicyRevision, RequestId, ResourceName, Revocability, Scope, SpiffeId, TaskId, TaskKind, TenantId,
    Timestamp, Ttl,
};

/// The agent of every event.
pub const AGENT: &str = "ci/invoice-bot";

/// An agent's name.
pub fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

/// A policy revision.
pub fn revision(name: &str) -> PolicyRevision {
    PolicyRevision::new(name).unwrap()
}

/// A time to live.
pub fn secs(secs: u64) -> Ttl {
    Ttl::from_secs(secs).unwrap()
}

/// A request; all have the same digest.
pub fn request(id: &str) -> Request {
    Request { id: RequestId::new(id).unwrap(), digest: [7; 32] }
}

fn resource() -> ResourceName {
    ResourceName::new("billing-api").unwrap()
}

fn action() -> ActionName {
    ActionName::new("invoice:read").unwrap()
}

/// A task of one hour.
pub fn start(tenant: &TenantId, id: TaskId, parent: Option<TaskId>) -> StartTask {
    StartTask {
        tenant: tenant.clone(),
        id,
        parent,
        agent: agent(AGENT),
        owner: Owner::new("maya@acme.test").unwrap(),
        kind: TaskKind::new("close-books").unwrap(),
        purpose: "close the books".to_owned(),
        scopes: BTreeSet::from([Scope { resource: resource(), action: action() }]),
        initiator: Initiator::new("maya@acme.test").unwrap(),
        labels: BTreeMap::new(),
        ttl: secs(3600),
        heartbeat: None,
        request: request(&format!("start-{id}")),
    }
}

/// A token of five minutes.
pub fn plan(tenant: &TenantId, id: LeaseId, task: TaskId) -> PlanLease {
    PlanLease {
        tenant: tenant.clone(),
        id,
        task,
        agent: agent(AGENT),
        subject: SpiffeId::new(format!("spiffe://acme.test/{AGENT}/task/{task}")).unwrap(),
        resource: resource(),
        actions: BTreeSet::from([action()]),
        kind: CredentialKind::Jwt,
        revocability: Revocability::Bounded,
        confirmation: None,
        ttl: secs(300),
        policy_max_ttl: None,
        evidence_expires_at: Timestamp::from_millis(u64::MAX),
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: Fence { policy_revision: revision("r1") },
        key_generation: KeyGeneration(1),
        request: request(&format!("plan-{id}")),
    }
}

/// Five more minutes.
pub fn renew(tenant: &TenantId, lease: LeaseId, request: &str) -> RenewLease {
    RenewLease {
        tenant: tenant.clone(),
        lease,
        agent: agent(AGENT),
        confirmation: None,
        ttl: secs(300),
        policy_max_ttl: None,
        evidence_expires_at: Timestamp::from_millis(u64::MAX),
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: Fence { policy_revision: revision("r1") },
        key_generation: KeyGeneration(1),
        request: RequestId::new(request).unwrap(),
    }
}

/// Completed.
pub fn end_task(tenant: &TenantId, task: TaskId) -> Event {
    Event::EndTask(EndTask {
        tenant: tenant.clone(),
        task,
        reason: EndReason::Completed,
        by: AGENT.to_owned(),
    })
}

/// Killed.
pub fn end_lease(tenant: &TenantId, lease: LeaseId, hold: bool) -> Event {
    Event::EndLease(EndLease {
        tenant: tenant.clone(),
        lease,
        reason: EndReason::Killed,
        by: "operator".to_owned(),
        hold,
    })
}

/// A sign of life.
pub fn heartbeat(tenant: &TenantId, task: TaskId) -> Event {
    Event::Heartbeat(Heartbeat { tenant: tenant.clone(), task })
}

/// What an operator does after a kill.
pub fn release_hold(tenant: &TenantId, task: TaskId) -> Event {
    Event::ReleaseHold(ReleaseHold {
        key: HoldKey { tenant: tenant.clone(), agent: agent(AGENT), task, resource: resource() },
    })
}
