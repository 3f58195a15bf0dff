//! The events of the suite, also for an adapter's own tests: one agent, one resource; a test changes what it is about.

use std::collections::{BTreeMap, BTreeSet};
use taskpass_lease::{
    ApprovalUse, BarWide, CallTool, CastVote, CutLease, EndLease, EndTask, Event, Fence, Heartbeat, HeldFor,
    HoldKey, HoldTask, PlanLease, PolicyOrigin, Quorum, ReleaseHold, ReleaseWide, RenewLease, Request,
    RequestApproval, SetPolicies, StartTask, Verdict, Wide,
};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, CallId, Counters, CredentialKind, DecisionId, EndReason, GroupName,
    Initiator, KeyGeneration, LeaseId, Obligations, Owner, PolicyRevision, RequestId, ResourceName,
    Revocability, Scope, SpiffeId, StatusIndex, StatusListId, TaskId, TaskKind, TenantId, Timestamp, Ttl,
    UserName,
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

/// The one resource.
pub fn resource() -> ResourceName {
    ResourceName::new("billing-api").unwrap()
}

fn action() -> ActionName {
    ActionName::new("invoice:read").unwrap()
}

fn fence() -> Fence {
    Fence { policy_revision: revision("r1") }
}

/// These policies from now on.
pub fn set_policies(name: &str) -> SetPolicies {
    SetPolicies {
        revision: revision(name),
        sources: vec![("main.cedar".to_owned(), format!("// {name}"))],
        by: "operator".to_owned(),
        origin: PolicyOrigin::Applied,
        fence: None,
    }
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
        sensitivity: None,
        ttl: secs(3600),
        max_ttl: None,
        heartbeat: None,
        decision: None,
        fence: None,
        approval: None,
        request: request(&format!("start-{id}")),
    }
}

/// Somewhere on a list, as a broker would have it.
fn place(lease: LeaseId) -> StatusIndex {
    let [.., high, low] = *lease.as_bytes();
    let list = StatusListId::new(KeyGeneration(1), [7; 12]);
    StatusIndex { list, index: u32::from(u16::from_be_bytes([high, low])) }
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
        obligations: Obligations::default(),
        attested: vec!["unix:user:ci".to_owned()],
        attestation_age_secs: 0,
        counters: Counters::default(),
        evidence_expires_at: Timestamp::from_millis(u64::MAX),
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: fence(),
        approval: None,
        key_generation: KeyGeneration(1),
        status: Some(place(id)),
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
        obligations: Obligations::default(),
        attested: vec!["unix:user:ci".to_owned()],
        attestation_age_secs: 0,
        counters: Counters::default(),
        evidence_expires_at: Timestamp::from_millis(u64::MAX),
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: fence(),
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

/// What an operator does about more than a task.
pub fn bar_wide(tenant: &TenantId, wide: Wide, end: bool, hold: Option<HeldFor>) -> Event {
    Event::BarWide(BarWide { tenant: tenant.clone(), wide, end, hold, by: "operator".to_owned() })
}

/// And what follows in the end.
pub fn release_wide(tenant: &TenantId, wide: Wide) -> Event {
    Event::ReleaseWide(ReleaseWide { tenant: tenant.clone(), wide })
}

/// What an operator does about a task without ending it.
pub fn hold_task(tenant: &TenantId, task: TaskId) -> Event {
    Event::HoldTask(HoldTask {
        tenant: tenant.clone(),
        agent: agent(AGENT),
        task,
        resource: resource(),
        by: "operator".to_owned(),
        lease: None,
    })
}

/// Drifted, at `at`.
pub fn cut_lease(tenant: &TenantId, lease: LeaseId, at: Timestamp) -> Event {
    Event::CutLease(CutLease { tenant: tenant.clone(), lease, at, by: "broker/drift".to_owned() })
}

/// A tool call.
pub fn call(tenant: &TenantId, task: TaskId, lease: Option<LeaseId>) -> CallTool {
    CallTool {
        tenant: tenant.clone(),
        id: CallId::new(),
        task,
        lease,
        agent: agent(AGENT),
        resource: resource(),
        action: action(),
        obligations: Obligations::default(),
        fence: fence(),
        approval: None,
    }
}

fn finance() -> GroupName {
    GroupName::new("finance").unwrap()
}

/// What one of `finance`, that is `ann` or `ben`, has to approve.
pub fn ask(tenant: &TenantId, id: ApprovalId, task: TaskId, digest: u8) -> RequestApproval {
    let members = ["ann", "ben"].map(|name| UserName::new(name).unwrap());
    RequestApproval {
        tenant: tenant.clone(),
        id,
        digest: [digest; 32],
        agent: agent(AGENT),
        owner: Owner::new("maya@acme.test").unwrap(),
        task,
        verb: "issue".to_owned(),
        resource: resource(),
        actions: BTreeSet::from([action()]),
        ttl: Some(secs(300)),
        to: None,
        tool: None,
        quorums: vec![Quorum { group: finance(), members: members.to_vec(), count: 1 }],
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: fence(),
    }
}

/// The newest approval for this digest, by one of `finance`.
pub fn approved(digest: u8) -> ApprovalUse {
    ApprovalUse { id: None, digest: [digest; 32], required: BTreeMap::from([(finance(), 1)]) }
}

/// What a person says.
pub fn vote(tenant: &TenantId, approval: ApprovalId, by: &str, verdict: Verdict) -> Event {
    Event::Vote(Box::new(CastVote {
        tenant: tenant.clone(),
        approval,
        by: UserName::new(by).unwrap(),
        verdict,
        why: "not before the audit".to_owned(),
    }))
}
