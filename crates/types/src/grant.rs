//! What a credential says, whatever its kind: the same facts in a token's claims and in a certificate's extension.

use crate::{
    ActionName, AgentId, DecisionId, Epoch, KeyGeneration, LeaseId, Owner, PolicyRevision, ResourceName,
    SpiffeId, StatusIndex, TaskId, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The ids from the root task down to this one; never empty, at most [`TaskPath::MAX_DEPTH`] long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<TaskId>", into = "Vec<TaskId>")]
pub struct TaskPath(Vec<TaskId>);

impl TaskPath {
    /// How deep delegation may go.
    pub const MAX_DEPTH: usize = 8;

    /// The path of a task without a parent.
    pub fn root(id: TaskId) -> Self {
        Self(vec![id])
    }

    /// The path of a child; `None` when it would be too deep or a cycle.
    pub fn child(&self, id: TaskId) -> Option<Self> {
        if self.0.len() >= Self::MAX_DEPTH || self.0.contains(&id) {
            return None;
        }
        Some(Self(self.0.iter().copied().chain([id]).collect()))
    }

    /// From the root down.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = TaskId> + '_ {
        self.0.iter().copied()
    }

    /// The task itself, the last of the path.
    pub fn task(&self) -> Option<TaskId> {
        self.0.last().copied()
    }

    /// How many tasks are above it.
    pub fn depth(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Whether `id` is this task or above it.
    pub fn contains(&self, id: TaskId) -> bool {
        self.0.contains(&id)
    }
}

impl TryFrom<Vec<TaskId>> for TaskPath {
    type Error = &'static str;
    fn try_from(ids: Vec<TaskId>) -> Result<Self, Self::Error> {
        if ids.is_empty() || ids.len() > Self::MAX_DEPTH {
            return Err("a task path has 1 to 8 ids");
        }
        Ok(Self(ids))
    }
}

impl From<TaskPath> for Vec<TaskId> {
    fn from(path: TaskPath) -> Self {
        path.0
    }
}

/// What is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// An RFC 9068 access token.
    Jwt,
    /// A client certificate in the form of an X.509-SVID.
    X509,
}

impl CredentialKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::X509 => "x509",
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a kind of credential can promise about its death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocability {
    /// It dies when it expires, no sooner.
    ExpiryOnly,
    /// Every verifier refuses it within a stated time.
    Bounded,
    /// The target refuses it as soon as the kill is acknowledged.
    Immediate,
}

impl Revocability {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExpiryOnly => "expiry_only",
            Self::Bounded => "bounded",
            Self::Immediate => "immediate",
        }
    }
}

impl fmt::Display for Revocability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The key that a credential is bound to (RFC 7800 `cnf`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Confirmation {
    /// SHA-256 of the caller's certificate in DER (RFC 8705 `x5t#S256`), base64url without padding.
    #[serde(rename = "x5t#S256")]
    CertificateThumbprint(String),
    /// SHA-256 thumbprint of the caller's public key (RFC 7638 `jkt`), base64url without padding.
    #[serde(rename = "jkt")]
    KeyThumbprint(String),
}

impl LeaseId {
    /// The id of the lease's token after so many renewals, so that one lease never has two live tokens of one name.
    pub fn jti(self, renewal: u32) -> String {
        format!("{self}.{renewal}")
    }

    /// The serial number of the lease's certificate after so many renewals: 16 bytes of lease id and 4 of renewal. It is
    /// positive (a UUIDv7 of this age begins with a zero bit), 20 octets long as RFC 5280 section 4.1.2.2 allows, and has
    /// 74 random bits.
    pub fn serial(self, renewal: u32) -> [u8; 20] {
        let mut serial = [0; 20];
        let (lease, rest) = serial.split_at_mut(16);
        lease.copy_from_slice(self.as_bytes());
        rest.copy_from_slice(&renewal.to_be_bytes());
        serial
    }
}

/// What was decided and what the credential must say; signing compares the two (I4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The tenant.
    pub tenant: TenantId,
    /// The lease.
    pub lease: LeaseId,
    /// Which renewal of the lease this is; 0 for the first credential.
    pub renewal: u32,
    /// From the root task to the one that the lease belongs to.
    pub task_path: TaskPath,
    /// The agents along the task path, root first; the last is the holder. Longer than one: delegated.
    pub agents: Vec<AgentId>,
    /// Who answers for the holder.
    pub owner: Owner,
    /// The holder's identity for this task: `spiffe://<trust domain>/<agent>/task/<task id>`.
    pub subject: SpiffeId,
    /// The one audience.
    pub resource: ResourceName,
    /// What may be done there; sorted, never empty.
    pub actions: Vec<ActionName>,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The policies that were in force.
    pub policy_revision: PolicyRevision,
    /// The generation of the key that signs.
    pub key_generation: KeyGeneration,
    /// The newest deny record about an agent, an owner, a resource or the tenant when it was planned: such records up to it do
    /// not concern it.
    pub deny_epoch: Epoch,
    /// The key that the holder must prove, if any.
    pub confirmation: Option<Confirmation>,
    /// Where a status list tells of it; tokens only.
    pub status: Option<StatusIndex>,
    /// When it was issued; whole seconds.
    pub issued_at: Timestamp,
    /// When it ends; whole seconds, never after the lease.
    pub expires_at: Timestamp,
}

impl Grant {
    /// The holder.
    pub fn agent(&self) -> Option<&AgentId> {
        self.agents.last()
    }

    /// The token id.
    pub fn jti(&self) -> String {
        self.lease.jti(self.renewal)
    }

    /// The certificate's serial number.
    pub fn serial(&self) -> [u8; 20] {
        self.lease.serial(self.renewal)
    }
}
