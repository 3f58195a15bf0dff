//! What can happen to a task or a lease.

use crate::{
    ApprovalUse, BarWide, CallTool, CastVote, CutLease, DenyKeys, HoldKey, HoldTask, ReleaseWide,
    RequestApproval, SetPolicies, ShareFollowers, ShareKeys, TakeTurn,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, Confirmation, Counters, CredentialKind, DecisionId, EndReason, Epoch,
    Initiator, KeyGeneration, LeaseId, Obligations, Owner, PolicyRevision, RequestId, ResourceName,
    Revocability, Scope, SpiffeId, StatusIndex, TaskId, TaskKind, TenantId, Timestamp, Ttl,
};

/// One thing that happens. All of its reads and writes are one atomic step of the store.
#[derive(Clone, Debug)]
pub enum Event {
    /// End or hold what is wider than a task.
    BarWide(BarWide),
    /// Allow one tool call.
    CallTool(Box<CallTool>),
    /// End a lease at a given time at the latest.
    CutLease(CutLease),
    /// Refuse whatever keys up to a generation signed.
    DenyKeys(DenyKeys),
    /// Forget a deny record whose credentials have all expired by themselves.
    ForgetDeny(TenantId, Epoch),
    /// End one lease.
    EndLease(EndLease),
    /// End a task and, by that one write, all below it.
    EndTask(EndTask),
    /// The task's holder shows life.
    Heartbeat(Heartbeat),
    /// Refuse an agent, task and resource until released, and end nothing.
    HoldTask(HoldTask),
    /// Issue: the durable intent, before anything is signed.
    PlanLease(Box<PlanLease>),
    /// Let a killed agent ask again.
    ReleaseHold(ReleaseHold),
    /// Let what is wider than a task go on.
    ReleaseWide(ReleaseWide),
    /// Renew.
    RenewLease(Box<RenewLease>),
    /// Ask people to approve one exact request.
    RequestApproval(Box<RequestApproval>),
    /// From now on decisions count only if they were made under these policies.
    SetPolicies(Box<SetPolicies>),
    /// Mark up to `slice` leases and child tasks of an ended task as ended.
    SettleTask(TenantId, TaskId, u32),
    /// Say which verifiers follow a broker.
    ShareFollowers(Box<ShareFollowers>),
    /// Share the signing keys with the fleet.
    ShareKeys(Box<ShareKeys>),
    /// Start or delegate a task.
    StartTask(Box<StartTask>),
    /// Take a turn at a duty of the fleet.
    TakeTurn(TakeTurn),
    /// Time has passed for an approval: expire it, or forget it after its retention.
    TickApproval(TenantId, ApprovalId),
    /// Time has passed for a lease: expire or cut it, say that its recheck is due, or forget it after its retention.
    TickLease(TenantId, LeaseId),
    /// Time has passed for a task: end it for its deadline or silence, or forget it after its retention.
    TickTask(TenantId, TaskId),
    /// A person says yes or no to a request for approval.
    Vote(Box<CastVote>),
}

/// The caller's idempotency key and the digest of what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The key.
    pub id: RequestId,
    /// SHA-256 of the request's content.
    pub digest: [u8; 32],
}

/// The policies under which a request was decided; a step refuses when others are in force by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Their revision.
    pub policy_revision: PolicyRevision,
}

/// Start a task, or delegate a narrower one when `parent` is set.
#[derive(Clone, Debug)]
pub struct StartTask {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id, chosen by the broker.
    pub id: TaskId,
    /// The task above it.
    pub parent: Option<TaskId>,
    /// Who will hold it.
    pub agent: AgentId,
    /// Who answers for the holder.
    pub owner: Owner,
    /// Its class.
    pub kind: TaskKind,
    /// Why, in words.
    pub purpose: String,
    /// All that may be asked for.
    pub scopes: BTreeSet<Scope>,
    /// Who or what started it.
    pub initiator: Initiator,
    /// For people and selectors.
    pub labels: BTreeMap<String, String>,
    /// How sensitive what it works on is, a word of the policies; a child that names none has its parent's.
    pub sensitivity: Option<String>,
    /// How long it may run.
    pub ttl: Ttl,
    /// The most that policy allows; `None`: no limit of its own.
    pub max_ttl: Option<Ttl>,
    /// How often its holder will show life.
    pub heartbeat: Option<Ttl>,
    /// For a delegation: the decision that allowed it.
    pub decision: Option<DecisionId>,
    /// For a delegation: the policies in force.
    pub fence: Option<Fence>,
    /// The approval that it rests on, if one is needed; for a delegation, the one that the parent's holder asked for.
    pub approval: Option<ApprovalUse>,
    /// The idempotency key.
    pub request: Request,
}

/// Issue a credential of `kind` for `actions` on `resource`, all of them decided.
#[derive(Clone, Debug)]
pub struct PlanLease {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id, chosen by the broker.
    pub id: LeaseId,
    /// The task.
    pub task: TaskId,
    /// Who asks.
    pub agent: AgentId,
    /// The identity that the credential will name.
    pub subject: SpiffeId,
    /// The one audience.
    pub resource: ResourceName,
    /// What may be done; not empty.
    pub actions: BTreeSet<ActionName>,
    /// What is issued.
    pub kind: CredentialKind,
    /// What that promises.
    pub revocability: Revocability,
    /// The key to bind to.
    pub confirmation: Option<Confirmation>,
    /// How long it was asked for.
    pub ttl: Ttl,
    /// What the permission is tied to.
    pub obligations: Obligations,
    /// What the evidence said of the caller: its selectors.
    pub attested: Vec<String>,
    /// How old the evidence was at the decision.
    pub attestation_age_secs: u32,
    /// What the task had used so far, as the decision saw it.
    pub counters: Counters,
    /// When the evidence of the caller's identity expires.
    pub evidence_expires_at: Timestamp,
    /// The decision.
    pub decision: DecisionId,
    /// The policies that determined it.
    pub policies: Vec<String>,
    /// The policies in force.
    pub fence: Fence,
    /// The approval that it rests on, if one is needed.
    pub approval: Option<ApprovalUse>,
    /// The key that will sign.
    pub key_generation: KeyGeneration,
    /// Where a status list will tell of its tokens.
    pub status: Option<StatusIndex>,
    /// The idempotency key.
    pub request: Request,
}

/// Renew a lease: attested again, decided again.
#[derive(Clone, Debug)]
pub struct RenewLease {
    /// The tenant.
    pub tenant: TenantId,
    /// The lease.
    pub lease: LeaseId,
    /// Who asks.
    pub agent: AgentId,
    /// The key to bind to.
    pub confirmation: Option<Confirmation>,
    /// How long it was asked for.
    pub ttl: Ttl,
    /// What the permission is tied to.
    pub obligations: Obligations,
    /// What the evidence said of the caller: its selectors.
    pub attested: Vec<String>,
    /// How old the evidence was at the decision.
    pub attestation_age_secs: u32,
    /// What the task had used so far, as the decision saw it.
    pub counters: Counters,
    /// When the evidence expires.
    pub evidence_expires_at: Timestamp,
    /// The decision.
    pub decision: DecisionId,
    /// The policies that determined it.
    pub policies: Vec<String>,
    /// The policies in force.
    pub fence: Fence,
    /// The key that will sign.
    pub key_generation: KeyGeneration,
    /// The idempotency key: a repeat of the newest renewal gets the same credential again.
    pub request: RequestId,
}

/// Show life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The tenant.
    pub tenant: TenantId,
    /// The task.
    pub task: TaskId,
}

/// End a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndTask {
    /// The tenant.
    pub tenant: TenantId,
    /// The task.
    pub task: TaskId,
    /// Why.
    pub reason: EndReason,
    /// Who, in words.
    pub by: String,
}

/// End a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndLease {
    /// The tenant.
    pub tenant: TenantId,
    /// The lease.
    pub lease: LeaseId,
    /// Why.
    pub reason: EndReason,
    /// Who, in words.
    pub by: String,
    /// Whether the same agent, task and resource is refused from now on.
    pub hold: bool,
}

/// Let a killed agent ask again.
#[derive(Clone, Debug)]
pub struct ReleaseHold {
    /// What was held.
    pub key: HoldKey,
}
