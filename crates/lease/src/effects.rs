//! What a store saves after a step.

use crate::{
    Approval, Bar, Bars, Duty, End, Followers, Hold, HoldKey, Lease, PolicySet, PolicySetInfo, RequestKey,
    RequestRecord, SharedKeys, Task, Turn,
};
use std::collections::BTreeMap;
use taskpass_types::{ApprovalId, DenyRecord, Epoch, LeaseId, TaskId, TenantId};

/// The writes of one step, all or none of them; and what to tell the caller.
#[derive(Debug, Default)]
pub struct Effects {
    /// Tasks to insert or replace.
    pub tasks: Vec<Task>,
    /// Leases to insert or replace.
    pub leases: Vec<Lease>,
    /// An approval to insert or replace.
    pub approval: Option<Approval>,
    /// A deny record to insert; the tenant's epoch becomes its epoch.
    pub deny: Option<DenyRecord>,
    /// A hold to set or clear.
    pub hold: Option<HoldChange>,
    /// All that is barred from now on.
    pub bars: Option<(TenantId, Bars)>,
    /// A request to remember.
    pub request: Option<(RequestKey, RequestRecord)>,
    /// The policies that are in force from now on.
    pub policies: Option<Box<PolicySet>>,
    /// The signing keys of the fleet from now on.
    pub keys: Option<SharedKeys>,
    /// The verifiers of every broker from now on.
    pub followers: Option<BTreeMap<String, Followers>>,
    /// Whose turn a duty is from now on.
    pub turn: Option<(Duty, Turn)>,
    /// An approval to forget, with its request.
    pub forget_approval: Option<(TenantId, ApprovalId)>,
    /// A task to forget, with its request.
    pub forget_task: Option<(TenantId, TaskId)>,
    /// A lease to forget, with its request.
    pub forget_lease: Option<(TenantId, LeaseId)>,
    /// A deny record to forget.
    pub forget_deny: Option<(TenantId, Epoch)>,
    /// What happened.
    pub outcome: Outcome,
}

/// A hold to set or clear.
#[derive(Debug)]
pub enum HoldChange {
    /// Clear it.
    Clear(HoldKey),
    /// Set it.
    Set(HoldKey, Hold),
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub enum Outcome {
    /// It had ended before; nothing was written.
    AlreadyEnded(End),
    /// A request for approval as it is now: it waits, was found again, was voted on, or expired.
    Approval(Box<Approval>),
    /// Something wider than a task is ended, held or both.
    Barred(Box<Bar>),
    /// A tool call is allowed and counted.
    CallAllowed {
        /// Its task.
        task: Box<Task>,
        /// The lease that it named.
        lease: Option<Box<Lease>>,
        /// The approval that it used up.
        approval: Option<ApprovalId>,
    },
    /// A deny record of its own was written.
    Denied(Box<DenyRecord>),
    /// It is said which verifiers follow a broker.
    FollowersShared,
    /// A record was past its time and is forgotten.
    Forgotten,
    /// An agent, task and resource is held; if it was before, this is the earlier hold.
    Held(Box<Hold>),
    /// The signing keys are shared; the number of the set.
    KeysShared(u64),
    /// A lease ends at a given time at the latest.
    LeaseCut(Box<Lease>),
    /// A lease ended.
    LeaseEnded(Box<Ended<Lease>>),
    /// Nothing was due.
    #[default]
    Nothing,
    /// A lease is planned and may be signed.
    Planned(Box<Lease>),
    /// Other policies are in force.
    PoliciesSet(Box<PolicySetInfo>),
    /// A live lease has to be decided anew; when it is due again is noted already.
    RecheckDue(Box<Lease>),
    /// A hold was released.
    Released,
    /// The lease is renewed and may be signed.
    Renewed(Box<Lease>),
    /// The same request came again while the lease lives: sign the same again.
    ReplayedLease(Box<Lease>),
    /// The same request came again while the task runs.
    ReplayedTask(Box<Task>),
    /// A slice of what is below an ended task is marked.
    Settled(Settled),
    /// A task was started, or showed life.
    Running(Box<Task>),
    /// A task ended.
    TaskEnded(Box<Ended<Task>>),
    /// Whose turn the duty is now.
    Turn(Turn),
}

/// Something ended in this step.
#[derive(Clone, Debug)]
pub struct Ended<T> {
    /// Its record after the end.
    pub record: T,
    /// The deny record; `None` for a natural expiry.
    pub deny: Option<DenyRecord>,
}

/// What one settlement marked.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Leases that are now marked as ended.
    pub leases: Vec<Lease>,
    /// Child tasks that are now marked as ended; each has to be settled in turn.
    pub tasks: Vec<Task>,
    /// Whether there is more to do for this task.
    pub more: bool,
}
