//! The task: the unit of authority.

use crate::{CallWindow, Limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use taskpass_types::{
    AgentId, ApprovalId, Counters, DecisionId, EndReason, Epoch, Initiator, Owner, PolicyRevision, RequestId,
    ResourceName, Scope, TaskId, TaskKind, TaskPath, TenantId, Timestamp, Ttl,
};

/// What an agent may do, until when, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id.
    pub id: TaskId,
    /// From the root task to this one.
    pub path: TaskPath,
    /// The agents along the path, root first; the last one holds this task.
    pub agents: Vec<AgentId>,
    /// Who answers for the holder.
    pub owner: Owner,
    /// The class of task that policy speaks of.
    pub kind: TaskKind,
    /// Why, in the words of whoever started it. Data for people, never for decisions.
    pub purpose: String,
    /// All that may ever be asked for under it.
    pub scopes: BTreeSet<Scope>,
    /// Who or what started it.
    pub initiator: Initiator,
    /// For people and selectors.
    pub labels: BTreeMap<String, String>,
    /// How sensitive what it works on is, a word of the policies.
    pub sensitivity: Option<String>,
    /// For a delegation: the decision that allowed it.
    pub decision: Option<DecisionId>,
    /// For a delegation: the policies that were in force then.
    pub policy_revision: Option<PolicyRevision>,
    /// The approval that it rested on.
    pub approval: Option<ApprovalId>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it ends at the latest.
    pub deadline: Timestamp,
    /// How often its holder promises to show life; `None`: it need not.
    pub heartbeat: Option<Ttl>,
    /// When it is ended for silence, unless a heartbeat comes.
    pub silent_at: Option<Timestamp>,
    /// The request that started it.
    pub request: RequestId,
    /// Leases and child tasks under it that live, or that still have to be marked as ended.
    pub live_below: u32,
    /// Leases ever issued under it and all below it.
    pub issued: u32,
    /// Tool calls ever allowed under it and all below it.
    pub calls: u32,
    /// The calls of the current minute; only a root task counts them, for all below it.
    pub window: Option<CallWindow>,
    /// Running or ended.
    pub state: TaskState,
}

/// Running or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// It has ended. Nothing under it is accepted, whether or not it is marked yet.
    Ended(End),
    /// It may be used.
    Running,
}

/// How something ended; final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// When.
    pub at: Timestamp,
    /// Who, in words.
    pub by: String,
    /// The deny record that cuts it off; `None` for a natural expiry, which needs none.
    pub epoch: Option<Epoch>,
}

/// How many heartbeats in a row may be missing before a task is ended for silence.
const MISSED_HEARTBEATS: u32 = 3;

impl Task {
    /// The holder.
    pub fn agent(&self) -> Option<&AgentId> {
        self.agents.last()
    }

    /// All that a credential below it can be for: what is handed on is within its scopes.
    pub fn resources(&self) -> Vec<ResourceName> {
        let named: BTreeSet<&ResourceName> = self.scopes.iter().map(|scope| &scope.resource).collect();
        named.into_iter().cloned().collect()
    }

    /// The parent, if it has one.
    pub fn parent(&self) -> Option<TaskId> {
        self.path.iter().rev().nth(1)
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            TaskState::Ended(end) => Some(end),
            TaskState::Running => None,
        }
    }

    /// What policies may ask for: what `root`, the task at the top, has used so far, and what lives below this one.
    pub fn counters(&self, root: &Self) -> Counters {
        Counters { credentials: root.issued, live: self.live_below, tool_calls: root.calls }
    }

    /// When something has to be done about it: its deadline or silence while it runs, at once while what is below it is
    /// not yet marked, and the end of its retention after that.
    pub fn due(&self, limits: &Limits) -> Timestamp {
        match self.end() {
            None => self.silent_at.map_or(self.deadline, |silent_at| silent_at.min(self.deadline)),
            Some(end) if self.live_below > 0 => end.at,
            Some(end) => end.at.plus(limits.kept()),
        }
    }

    /// Why time alone would end it at `now`, if it would.
    pub(crate) fn overdue(&self, now: Timestamp) -> Option<EndReason> {
        if now >= self.deadline {
            Some(EndReason::TimedOut)
        } else if self.silent_at.is_some_and(|silent_at| now >= silent_at) {
            Some(EndReason::Silent)
        } else {
            None
        }
    }

    pub(crate) fn silent_after(heartbeat: Option<Ttl>, now: Timestamp) -> Option<Timestamp> {
        heartbeat.map(|every| now.plus(every.as_duration().saturating_mul(MISSED_HEARTBEATS)))
    }
}
