//! What a store loads for a step.

use crate::{Approval, Bars, Followers, Lease, SharedKeys, Task, Turn};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taskpass_types::{
    AgentId, ApprovalId, DenyRecord, Epoch, LeaseId, PolicyRevision, Reason, Refusal, RequestId,
    ResourceName, TaskId, TenantId, Timestamp,
};

/// The records that an event is about, as they are inside the store's transaction. What an event does not need stays
/// empty; [`crate::step()`] says on each event what it needs.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The newest deny record of the tenant.
    pub epoch: Epoch,
    /// The policies in force.
    pub policy_revision: Option<PolicyRevision>,
    /// The number of the newest set of policies; 0 when there was none.
    pub newest_policies: u64,
    /// The task that the event names, or that the named lease belongs to; for a start, the parent.
    pub task: Option<Task>,
    /// The tasks above it, root first.
    pub ancestors: Vec<Task>,
    /// The lease that the event names.
    pub lease: Option<Lease>,
    /// The approval that the event names; if it names none, the newest one for its agent and digest.
    pub approval: Option<Approval>,
    /// What an earlier event with the same request id made.
    pub request: Option<RequestRecord>,
    /// The task that such an earlier start made.
    pub replayed_task: Option<Task>,
    /// Whether the agent, task and resource is held.
    pub hold: Option<Hold>,
    /// All that is barred in the tenant.
    pub bars: Bars,
    /// The deny record that the event names.
    pub deny: Option<DenyRecord>,
    /// The signing keys of the fleet.
    pub keys: Option<SharedKeys>,
    /// The verifiers of every broker.
    pub followers: BTreeMap<String, Followers>,
    /// Whose turn the duty is.
    pub turn: Option<Turn>,
    /// Running tasks of the agent.
    pub running_tasks: u32,
    /// Approvals of the agent that wait for people.
    pub pending_approvals: u32,
    /// For a settlement: live leases directly under the task, a slice.
    pub leases_below: Vec<Lease>,
    /// For a settlement: live child tasks, a slice.
    pub children_below: Vec<Task>,
}

impl View {
    /// The task at the top, which carries what is counted for all below it.
    pub(crate) fn root(&self) -> Option<&Task> {
        self.ancestors.first().or(self.task.as_ref())
    }
}

/// After a kill, what is refused until released.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HoldKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// The task.
    pub task: TaskId,
    /// The resource.
    pub resource: ResourceName,
}

/// Why something is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub at: Timestamp,
    /// By whom, in words.
    pub by: String,
    /// The lease that was killed, or that gave rise to it.
    pub lease: Option<LeaseId>,
}

/// Names a request: ids of different agents do not meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestKey {
    /// The tenant.
    pub tenant: TenantId,
    /// Who asked.
    pub agent: AgentId,
    /// The idempotency key.
    pub id: RequestId,
}

impl RequestKey {
    /// Where the newest approval of an agent for one exact request is found: its digest takes the place of an id.
    ///
    /// # Errors
    /// None in practice: the text is within the grammar.
    pub fn of_approval(tenant: &TenantId, agent: &AgentId, digest: &[u8; 32]) -> Result<Self, Refusal> {
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        // 240 bits of it, since an id has at most 64 characters; the record has the whole digest.
        let id = RequestId::new(format!("ap:{hex:.60}"))
            .map_err(|error| Refusal::new(Reason::Internal, "a digest cannot be an id").because(error))?;
        Ok(Self { tenant: tenant.clone(), agent: agent.clone(), id })
    }
}

/// What a request made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The first half of SHA-256 of what was asked: enough, since whoever asked could only deceive themselves.
    digest: [u8; 16],
    /// What it made.
    pub target: RequestTarget,
}

impl RequestRecord {
    /// `digest` is SHA-256 of what was asked.
    pub fn new(digest: &[u8; 32], target: RequestTarget) -> Self {
        Self { digest: half(digest), target }
    }

    /// Whether it was about this.
    pub fn is_about(&self, digest: &[u8; 32]) -> bool {
        self.digest == half(digest)
    }
}

fn half(digest: &[u8; 32]) -> [u8; 16] {
    digest.first_chunk().copied().unwrap_or_default()
}

/// What a request made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestTarget {
    /// A request for approval.
    Approval(ApprovalId),
    /// A lease.
    Lease(LeaseId),
    /// A task.
    Task(TaskId),
}
