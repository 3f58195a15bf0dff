//! A request that waits, or waited, for people to say yes.
//!
//! Invariants: it is about one exact request, named by its digest; the groups, their members and how many of them have to
//! approve are those of the moment in which it was asked; one *no* is a no; whoever answers for the request does not judge
//! it; it is used at most once, and time ends it without being a no.

use crate::Limits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, DecisionId, GroupName, Initiator, Owner, PolicyRevision, ResourceName,
    TaskId, TenantId, Timestamp, ToolName, Ttl, UserName,
};

/// A request for approval, what people said to it, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id.
    pub id: ApprovalId,
    /// SHA-256 of exactly what is to be approved.
    pub digest: [u8; 32],
    /// Who asks.
    pub agent: AgentId,
    /// Who answers for the agent, and therefore may not approve.
    pub owner: Owner,
    /// Who or what started the task, and therefore may not approve.
    pub initiator: Initiator,
    /// The task; for a delegation, the parent.
    pub task: TaskId,
    /// What is asked for, in one word: `issue`, `delegate`, `call_tool`.
    pub verb: String,
    /// The resource.
    pub resource: ResourceName,
    /// What would be done there; sorted.
    pub actions: Vec<ActionName>,
    /// Why, in the words of whoever started the task. Data for people.
    pub purpose: String,
    /// For how long it is asked for.
    pub ttl: Option<Ttl>,
    /// For a delegation, to whom.
    pub to: Option<AgentId>,
    /// For a tool call, the tool.
    pub tool: Option<ToolName>,
    /// Who has to approve; all of them.
    pub quorums: Vec<Quorum>,
    /// The decision that asked for approval.
    pub decision: DecisionId,
    /// The policies that determined it.
    pub policies: Vec<String>,
    /// The policies that were in force then.
    pub policy_revision: PolicyRevision,
    /// What people said so far, in order.
    pub votes: Vec<Vote>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Until when it can be granted and used.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: ApprovalState,
}

/// So many people of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// The group.
    pub group: GroupName,
    /// Who was in it when the approval was asked for.
    pub members: Vec<UserName>,
    /// How many of them have to approve.
    pub count: u8,
}

/// What one person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub by: UserName,
    /// What.
    pub verdict: Verdict,
    /// Why; the agent reads it.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No; it outweighs every yes.
    Deny,
}

/// What became of a request for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalState {
    /// A person said no; final.
    Denied {
        /// Who.
        by: UserName,
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// It was not granted, or not used, in time; final, and no denial.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It may be used once.
    Granted {
        /// Since when.
        at: Timestamp,
    },
    /// People have yet to say yes.
    Pending,
    /// It was used; final.
    Used {
        /// When.
        at: Timestamp,
        /// The lease, task or tool call that used it.
        by: String,
    },
}

impl Approval {
    /// When it came to its end; `None` while it can still be granted or used.
    pub fn settled_at(&self) -> Option<Timestamp> {
        match &self.state {
            ApprovalState::Denied { at, .. }
            | ApprovalState::Expired { at }
            | ApprovalState::Used { at, .. } => Some(*at),
            ApprovalState::Granted { .. } | ApprovalState::Pending => None,
        }
    }

    /// Whether time has ended it by `now`, marked or not.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        match &self.state {
            ApprovalState::Expired { .. } => true,
            ApprovalState::Granted { .. } | ApprovalState::Pending => now >= self.expires_at,
            ApprovalState::Denied { .. } | ApprovalState::Used { .. } => false,
        }
    }

    /// Whether people have yet to say yes.
    pub fn is_pending(&self) -> bool {
        self.state == ApprovalState::Pending
    }

    /// When something has to be done about it: its expiry, and then the end of its retention. A denial is remembered for
    /// as long as the request could have been granted.
    pub fn due(&self, limits: &Limits) -> Timestamp {
        self.settled_at().map_or(self.expires_at, |at| at.plus(limits.kept()).max(self.expires_at))
    }

    /// Whether this person may judge it: a member, and not one of those who answer for it.
    pub fn may_vote(&self, person: &UserName) -> bool {
        self.quorums.iter().any(|quorum| quorum.members.contains(person)) && !self.is_partial(person)
    }

    /// Whether its quorums ask for all that is `required`.
    pub fn covers(&self, required: &BTreeMap<GroupName, u8>) -> bool {
        required.iter().all(|(group, count)| {
            self.quorums.iter().any(|quorum| quorum.group == *group && quorum.count >= *count)
        })
    }

    /// The requester, its owner and whoever started the task. Another spelling does not make another person, so case does
    /// not count; and a person may be written with a realm in front, as in `operator/maya@acme.test`.
    fn is_partial(&self, person: &UserName) -> bool {
        let person = person.as_str().to_ascii_lowercase();
        let is_named = |text: &str| {
            let text = text.to_ascii_lowercase();
            text.strip_suffix(&person).is_some_and(|realm| realm.is_empty() || realm.ends_with('/'))
        };
        self.agent.as_str() == person || is_named(self.owner.as_str()) || is_named(self.initiator.as_str())
    }

    /// How many different people could ever approve for this quorum.
    pub(crate) fn eligible(&self, quorum: &Quorum) -> usize {
        let impartial = quorum.members.iter().filter(|member| !self.is_partial(member));
        impartial.map(|member| member.as_str().to_ascii_lowercase()).collect::<BTreeSet<_>>().len()
    }

    pub(crate) fn has_voted(&self, person: &UserName) -> bool {
        self.votes.iter().any(|vote| vote.by.as_str().eq_ignore_ascii_case(person.as_str()))
    }

    /// Whether every quorum has its count.
    pub(crate) fn is_complete(&self) -> bool {
        self.quorums.iter().all(|quorum| {
            let yes = |vote: &&Vote| vote.verdict == Verdict::Approve && quorum.members.contains(&vote.by);
            self.votes.iter().filter(yes).count() >= usize::from(quorum.count)
        })
    }
}
