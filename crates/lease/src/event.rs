//! What can happen to a task or a lease.

use crate::HoldKey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use taskpass_types::{
    ActionName, AgentId, Confirmation, CredentialKind, DecisionId, EndReason, Epoch, Initiator,
    KeyGeneration, LeaseId, Owner, PolicyRevision, RequestId, ResourceName, Revocability, Scope, SpiffeId,
    TaskId, TaskKind, TenantId, Timestamp, Ttl,
};

/// One thing that happens. All of its reads and writes are one atomic step of the store.
#[derive(Clone, Debug)]
pub enum Event {
    /// Forget a deny record whose credentials have all expired by themselves.
    ForgetDeny(TenantId, Epoch),
    /// End one lease.
    EndLease(EndLease),
    /// End a task and, by that one write, all below it.
    EndTask(EndTask),
    /// The task's holder shows life.
    Heartbeat(Heartbeat),
    /// Issue: the durable intent, before anything is signed.
    PlanLease(Box<PlanLease>),
    /// Let a killed agent ask again.
    ReleaseHold(ReleaseHold),
    /// Renew.
    RenewLease(Box<RenewLease>),
    /// From now on decisions count only if they were made under this revision.
    SetPolicyRevision(PolicyRevision),
    /// Mark up to `slice` leases and child tasks of an ended task as ended.
    SettleTask(TenantId, TaskId, u32),
    /// Start or delegate a task.
    StartTask(Box<StartTask>),
    /// Time has passed for a lease: expire it, or forget it after its retention.
    TickLease(TenantId, LeaseId),
    /// Time has passed for a task: end it for its deadline or silence, or forget it after its retention.
    TickTask(TenantId, TaskId),
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
    /// How long it may run.
    pub ttl: Ttl,
    /// How often its holder will show life.
    pub heartbeat: Option<Ttl>,
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
    /// The most that policy allows; `None`: no limit of its own.
    pub policy_max_ttl: Option<Ttl>,
    /// When the evidence of the caller's identity expires.
    pub evidence_expires_at: Timestamp,
    /// The decision.
    pub decision: DecisionId,
    /// The policies that determined it.
    pub policies: Vec<String>,
    /// The policies in force.
    pub fence: Fence,
    /// The key that will sign.
    pub key_generation: KeyGeneration,
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
    /// The most that policy allows.
    pub policy_max_ttl: Option<Ttl>,
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
