//! Deny records: the one write by which anything dies, and what every channel reads.

use crate::{
    AgentId, KeyGeneration, LeaseId, Owner, PolicyRevision, ResourceName, TaskId, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of the newest deny record of a tenant. Verifiers report the epoch that they enforce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Names the life of one store; epochs of different histories cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HistoryId(pub [u8; 16]);

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::base32::encode_128(u128::from_be_bytes(self.0)))
    }
}

/// What a deny record is about; everything under it is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenySubject {
    /// Every credential of an agent.
    Agent(AgentId),
    /// Every credential that keys up to this generation signed.
    KeyGeneration(KeyGeneration),
    /// One lease with all its renewals.
    Lease(LeaseId),
    /// Every credential of an owner's agents.
    Owner(Owner),
    /// Every credential that was decided under one policy revision.
    PolicyRevision(PolicyRevision),
    /// Every credential for a resource.
    Resource(ResourceName),
    /// A task and all its descendants.
    Task(TaskId),
    /// Everything of the tenant.
    Tenant,
}

/// Why a task or a lease ended. The words are part of the API, the audit log and the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Called off by its agent, an orchestrator or an operator.
    Cancelled,
    /// Declared done.
    Completed,
    /// Policy no longer allows it.
    Drifted,
    /// Its natural end came.
    Expired,
    /// An operator killed it.
    Killed,
    /// A task above it ended.
    ParentEnded,
    /// Its heartbeat stopped.
    Silent,
    /// Its deadline passed.
    TimedOut,
}

impl EndReason {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 8] = [
        Self::Cancelled,
        Self::Completed,
        Self::Drifted,
        Self::Expired,
        Self::Killed,
        Self::ParentEnded,
        Self::Silent,
        Self::TimedOut,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Drifted => "drifted",
            Self::Expired => "expired",
            Self::Killed => "killed",
            Self::ParentEnded => "parent_ended",
            Self::Silent => "silent",
            Self::TimedOut => "timed_out",
        }
    }

    /// The reason that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One kill, whatever the number of leases below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyRecord {
    /// The tenant; epochs count per tenant, so that none can see another's activity.
    pub tenant: TenantId,
    /// Its number; the next record has the next one.
    pub epoch: Epoch,
    /// What is refused.
    pub subject: DenySubject,
    /// Why.
    pub reason: EndReason,
    /// Who, in words: an agent, an operator or a reconciler.
    pub by: String,
    /// When it was written.
    pub at: Timestamp,
    /// When the last credential under it has expired by itself; verifiers may forget the record afterwards.
    pub until: Timestamp,
    /// The resources that a credential under it can be for; empty: any.
    pub audiences: Vec<ResourceName>,
}

impl DenyRecord {
    /// Whether it matters to who guards this resource.
    pub fn concerns(&self, resource: &ResourceName) -> bool {
        self.audiences.is_empty() || self.audiences.contains(resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_parse_back() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(EndReason::parse("revoked"), None);
    }
}
