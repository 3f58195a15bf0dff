//! Events with everything filled in; a test changes what it is about.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use taskpass_lease::{
    ApprovalUse, CallTool, CastVote, CutLease, Fence, PlanLease, PolicyOrigin, Quorum, RenewLease, Request,
    RequestApproval, SetPolicies, StartTask, Verdict,
};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, CallId, Counters, CredentialKind, DecisionId, GroupName, Initiator,
    KeyGeneration, LeaseId, Obligations, Owner, PolicyRevision, RequestId, ResourceName, Revocability, Scope,
    SpiffeId, TaskId, TaskKind, TenantId, Timestamp, Ttl, UserName,
};

pub(crate) const AGENT: &str = "ci/invoice-bot";
pub(crate) const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);

pub(crate) fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

pub(crate) fn revision(name: &str) -> PolicyRevision {
    PolicyRevision::new(name).unwrap()
}

pub(crate) fn fence(name: &str) -> Fence {
    Fence { policy_revision: revision(name) }
}

pub(crate) fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

pub(crate) fn person(name: &str) -> UserName {
    UserName::new(name).unwrap()
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
        sensitivity: None,
        ttl: secs(3600),
        max_ttl: None,
        heartbeat: None,
        decision: None,
        fence: None,
        approval: None,
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
        obligations: Obligations::default(),
        attested: vec!["unix:user:ci".to_owned()],
        attestation_age_secs: 0,
        counters: Counters::default(),
        evidence_expires_at: NEVER,
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: fence("r1"),
        approval: None,
        key_generation: KeyGeneration(1),
        status: None,
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
        obligations: Obligations::default(),
        attested: vec!["unix:user:ci".to_owned()],
        attestation_age_secs: 0,
        counters: Counters::default(),
        evidence_expires_at: NEVER,
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: fence("r1"),
        key_generation: KeyGeneration(1),
        request: RequestId::new(request).unwrap(),
    }
}

/// So many of these people.
pub(crate) fn quorum(name: &str, count: u8, members: &[&str]) -> Quorum {
    Quorum { group: group(name), members: members.iter().map(|name| person(name)).collect(), count }
}

/// One of ann and ben has to approve a request with this digest.
pub(crate) fn ask(id: ApprovalId, task: TaskId, digest: u8) -> RequestApproval {
    RequestApproval {
        tenant: TenantId::default(),
        id,
        digest: [digest; 32],
        agent: agent(AGENT),
        owner: Owner::new("maya@acme.test").unwrap(),
        task,
        verb: "issue".to_owned(),
        resource: resource(),
        actions: BTreeSet::from([ActionName::new("read").unwrap()]),
        ttl: Some(secs(300)),
        to: None,
        tool: None,
        quorums: vec![quorum("finance", 1, &["ann", "ben"])],
        decision: DecisionId::new(),
        policies: vec!["invoices".to_owned()],
        fence: fence("r1"),
    }
}

/// What rests on one of `finance` having approved this digest.
pub(crate) fn needs(id: Option<ApprovalId>, digest: u8) -> ApprovalUse {
    ApprovalUse { id, digest: [digest; 32], required: BTreeMap::from([(group("finance"), 1)]) }
}

pub(crate) fn vote(approval: ApprovalId, by: &str, verdict: Verdict) -> CastVote {
    CastVote {
        tenant: TenantId::default(),
        approval,
        by: person(by),
        verdict,
        why: "not before the audit".to_owned(),
    }
}

/// A call of `read` under a task.
pub(crate) fn call(task: TaskId, lease: Option<LeaseId>) -> CallTool {
    CallTool {
        tenant: TenantId::default(),
        id: CallId::new(),
        task,
        lease,
        agent: agent(AGENT),
        resource: resource(),
        action: ActionName::new("read").unwrap(),
        obligations: Obligations::default(),
        fence: fence("r1"),
        approval: None,
    }
}

pub(crate) fn cut(lease: LeaseId, at: Timestamp) -> CutLease {
    CutLease { tenant: TenantId::default(), lease, at, by: "broker/drift".to_owned() }
}

pub(crate) fn policies(name: &str) -> SetPolicies {
    SetPolicies {
        revision: revision(name),
        sources: vec![("main.cedar".to_owned(), format!("// {name}"))],
        by: "operator".to_owned(),
        origin: PolicyOrigin::Applied,
        fence: None,
    }
}
