//! The port itself.

use crate::Committed;
use async_trait::async_trait;
use std::collections::BTreeMap;
use taskpass_lease::{Approval, Bars, Event, Followers, Lease, PolicySet, PolicySetInfo, SharedKeys, Task};
use taskpass_types::{
    AgentId, ApprovalId, DenyRecord, Epoch, HistoryId, LeaseId, PolicyRevision, Refusal, TaskId, TenantId,
    Timestamp,
};
use tokio::sync::watch;

/// Where tasks, leases and deny records live.
///
/// Errors are [`taskpass_types::Reason::StoreUnavailable`] when the store does not answer,
/// [`taskpass_types::Reason::StoreCorrupt`] for a record that cannot be read, and whatever the state machine refuses.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes one thing happen. Durable when it returns `Ok`. Dropping the future does not undo it.
    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal>;

    /// Handles one entry of the schedule, as [`Store::due`] returned it.
    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal>;

    /// What is due at `now`, earliest first, at most `limit`.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, Refusal>;

    /// One task.
    async fn task(&self, tenant: &TenantId, id: TaskId) -> Result<Option<Task>, Refusal>;

    /// One lease.
    async fn lease(&self, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal>;

    /// The lease if nothing has ended it or a task above it by now: the last look before a credential is handed out.
    async fn standing(&self, tenant: &TenantId, id: LeaseId, now: Timestamp) -> Result<Lease, Refusal>;

    /// A page of tasks, newest first.
    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task, TaskId>, Refusal>;

    /// A page of leases, newest first.
    async fn leases(&self, query: &LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal>;

    /// All that is ended or held in a tenant and wider than a task.
    async fn bars(&self, tenant: &TenantId) -> Result<Bars, Refusal>;

    /// The deny records after `epoch`, in order, at most `limit`, and the newest epoch.
    async fn denies_after(&self, tenant: &TenantId, epoch: Epoch, limit: usize) -> Result<Denies, Refusal>;

    /// One approval.
    async fn approval(&self, tenant: &TenantId, id: ApprovalId) -> Result<Option<Approval>, Refusal>;

    /// The newest approval that `agent` asked for with exactly this digest.
    async fn approval_for(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        digest: &[u8; 32],
    ) -> Result<Option<Approval>, Refusal>;

    /// A page of approvals, newest first.
    async fn approvals(&self, query: &ApprovalQuery) -> Result<Page<Approval, ApprovalId>, Refusal>;

    /// The policies that were last set as being in force.
    async fn policy_revision(&self) -> Result<Option<PolicyRevision>, Refusal>;

    /// A set of policies with its text: the one in force, or the newest with this revision or with one that begins so, if
    /// at least six characters are given.
    ///
    /// `POLICY_NOT_FOUND` when several revisions begin so.
    async fn policy_set(&self, revision: Option<&PolicyRevision>) -> Result<Option<PolicySet>, Refusal>;

    /// The policies that were in force, without their text, newest first: those before number `before`, at most `limit`.
    async fn policy_history(&self, before: Option<u64>, limit: usize) -> Result<Vec<PolicySetInfo>, Refusal>;

    /// The signing keys that the brokers on this store share, sealed; `None`: nobody shared any.
    async fn shared_keys(&self) -> Result<Option<SharedKeys>, Refusal>;

    /// The verifiers that follow each broker, as it said last.
    async fn followers(&self) -> Result<BTreeMap<String, Followers>, Refusal>;

    /// Which life of a store this is; a new one after a wipe.
    fn history(&self) -> HistoryId;

    /// Asks the store itself, since another broker of the fleet may have made it whole: [`Store::mending`] says the same
    /// afterwards.
    async fn still_mending(&self) -> Result<bool, Refusal>;

    /// Whether the store found that it has lost what it had acknowledged. Nothing is granted until
    /// [`taskpass_lease::DenyKeys`] cut off all that was signed before.
    fn mending(&self) -> watch::Receiver<bool>;

    /// Changes whenever a deny record is durable.
    fn denied(&self) -> watch::Receiver<u64>;

    /// Changes whenever an approval is durable as it is now: asked for, voted on, used or expired.
    fn approval_changed(&self) -> watch::Receiver<u64>;
}

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    /// The tenant.
    pub tenant: TenantId,
    /// Only those directly under this task.
    pub parent: Option<TaskId>,
    /// Only this agent's.
    pub agent: Option<AgentId>,
    /// Only running ones.
    pub running: bool,
    /// Only those older than this, the cursor.
    pub before: Option<TaskId>,
    /// At most so many; 0 means the default of 100.
    pub limit: usize,
}

/// Which leases to list.
#[derive(Clone, Debug, Default)]
pub struct LeaseQuery {
    /// The tenant.
    pub tenant: TenantId,
    /// Only those directly under this task.
    pub task: Option<TaskId>,
    /// Only this agent's.
    pub agent: Option<AgentId>,
    /// Only active ones.
    pub active: bool,
    /// Only those older than this, the cursor.
    pub before: Option<LeaseId>,
    /// At most so many; 0 means the default of 100.
    pub limit: usize,
}

/// Which approvals to list.
#[derive(Clone, Debug, Default)]
pub struct ApprovalQuery {
    /// The tenant.
    pub tenant: TenantId,
    /// Only this agent's.
    pub agent: Option<AgentId>,
    /// Only those that wait for people; one that is past its time counts until it is marked.
    pub pending: bool,
    /// Only those older than this, the cursor.
    pub before: Option<ApprovalId>,
    /// At most so many; 0 means the default of 100.
    pub limit: usize,
}

/// A page of records.
#[derive(Clone, Debug)]
pub struct Page<T, Id> {
    /// The records.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Id>,
    /// Records that could not be read and were passed over.
    pub unreadable: usize,
}

/// Deny records after some epoch.
#[derive(Clone, Debug)]
pub struct Denies {
    /// In order of their epochs.
    pub records: Vec<DenyRecord>,
    /// The newest epoch of the tenant, also when the limit cut the records off.
    pub epoch: Epoch,
}

/// One entry of the schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it is due.
    pub at: Timestamp,
    /// What.
    pub what: DueWhat,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DueWhat {
    /// An approval expires or may be forgotten.
    Approval(TenantId, ApprovalId),
    /// A deny record may be forgotten.
    Deny(TenantId, Epoch),
    /// A lease expires, is cut, has to be decided anew or may be forgotten. That it has expired or may be forgotten comes up
    /// to a second late, so that leases that end together do not all come at once.
    Lease(TenantId, LeaseId),
    /// A task times out, falls silent, has to be settled or may be forgotten.
    Task(TenantId, TaskId),
}
