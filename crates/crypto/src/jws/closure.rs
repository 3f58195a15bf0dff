//! The closure receipt of a task: what became of every credential under it, signed, so that it can be shown to somebody who
//! trusts neither who shows it nor a broker that may be gone by then.
//!
//! Invariants: a `typ` of its own, so it is never taken for an access token nor the other way round; nothing is read before
//! the signature holds; what contradicts itself is refused; a receipt says as much as was known, and never more.

use super::{TokenError, TokenKeys, signer::TokenSigner, verify::Segments};
use crate::{SignError, object};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use taskpass_types::{
    AgentId, CredentialKind, EndReason, Epoch, Initiator, LeaseId, Owner, ResourceName, Revocability, TaskId,
    TaskKind, TaskPath, TenantId, Timestamp,
};

/// The `typ` of a receipt.
pub const CLOSURE_TYP: &str = "taskpass-closure+jwt";
/// A longer receipt is neither signed nor read.
pub const MAX_CLOSURE_BYTES: usize = 8 << 20;
/// How many leases one lists.
pub const MAX_CLOSED_LEASES: usize = 10_000;
/// The version of the form.
const VERSION: u8 = 1;

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosureReceipt {
    /// The version of the form.
    pub v: u8,
    /// Who signs.
    pub iss: String,
    /// When, in seconds.
    pub iat: u64,
    /// The tenant.
    pub tenant: TenantId,
    /// The task that ended.
    pub task: ClosedTask,
    /// How many tasks below it ended with it.
    pub tasks_below: u32,
    /// How many leases there were in all.
    pub leases_total: u32,
    /// Each, newest first; at most [`MAX_CLOSED_LEASES`].
    pub leases: Vec<ClosedLease>,
    /// The verifiers that were to refuse them.
    pub verifiers: Vec<ClosedVerifier>,
    /// Whether some verifiers that follow other brokers of the fleet are not among them, because there are too many.
    pub others_uncounted: bool,
    /// The entry of the audit log that says that this was signed, `seq:hash`.
    pub audit: String,
}

/// The task of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedTask {
    /// From the root task down to it.
    pub path: TaskPath,
    /// Who held it.
    pub agent: AgentId,
    /// Who answers for that.
    pub owner: Owner,
    /// Its class.
    pub kind: TaskKind,
    /// Who or what started it.
    pub initiator: Initiator,
    /// When.
    #[serde(with = "text")]
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(with = "text")]
    pub ended_at: Timestamp,
    /// Why.
    pub reason: EndReason,
    /// By whom, in words.
    pub by: String,
    /// The number of its deny record; none if a task above it has that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
}

/// One lease of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedLease {
    /// Its id.
    pub id: LeaseId,
    /// The task that it belonged to.
    pub task: TaskId,
    /// Who held it.
    pub agent: AgentId,
    /// What it was for.
    pub resource: ResourceName,
    /// What it was.
    pub kind: CredentialKind,
    /// What that kind promises.
    pub revocability: Revocability,
    /// How many times it was renewed.
    pub renewals: u32,
    /// When the last of its credentials expires by itself.
    #[serde(with = "text")]
    pub expires_at: Timestamp,
    /// What became of it.
    pub outcome: ClosedOutcome,
    /// When it is refused at the latest, if that is not known to be so already.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "text_option")]
    pub until: Option<Timestamp>,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedOutcome {
    /// Every verifier enforces its end, and one at least was asked about it and refused it.
    DeadConfirmed,
    /// Every verifier says that it enforces its end.
    DeadUnprobed,
    /// Nobody more can be asked: it is dead when it expires, or when who heard nothing refuses everything.
    ExpiresBy,
    /// A verifier follows and has not said yet that it enforces its end.
    Retrying,
    /// A verifier does not what it should; people have to look.
    Stuck,
}

impl ClosedOutcome {
    /// Every outcome, the best first.
    pub const ALL: [Self; 5] =
        [Self::DeadConfirmed, Self::DeadUnprobed, Self::ExpiresBy, Self::Retrying, Self::Stuck];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadConfirmed => "dead_confirmed",
            Self::DeadUnprobed => "dead_unprobed",
            Self::ExpiresBy => "expires_by",
            Self::Retrying => "retrying",
            Self::Stuck => "stuck",
        }
    }

    /// Whether nobody is known who may still accept it.
    pub const fn is_dead(self) -> bool {
        matches!(self, Self::DeadConfirmed | Self::DeadUnprobed)
    }
}

impl fmt::Display for ClosedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One verifier of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedVerifier {
    /// The name that it is registered under, and which instance it is.
    pub name: String,
    /// What it guards; none: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<ResourceName>,
    /// `enforces`, `waiting`, `offline` or `unproven`.
    pub state: String,
    /// How long after the end it said that it enforces it, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_millis: Option<u64>,
    /// When it refuses everything at the latest, if it did not.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "text_option")]
    pub accepts_until: Option<Timestamp>,
}

/// Why a text is no receipt of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// It is not what it should be from outside, or was not signed by one of the keys.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is signed, and says something that a receipt does not say.
    #[error("the receipt is signed, but is none: {0}")]
    Unsound(String),
}

impl ClosureReceipt {
    /// A receipt about a task; leases, verifiers and the rest are set by whoever makes it.
    pub fn new(iss: String, now: Timestamp, tenant: TenantId, task: ClosedTask) -> Self {
        Self {
            v: VERSION,
            iss,
            iat: now.as_secs(),
            tenant,
            task,
            tasks_below: 0,
            leases_total: 0,
            leases: Vec::new(),
            verifiers: Vec::new(),
            others_uncounted: false,
            audit: String::new(),
        }
    }

    /// How many leases had this outcome.
    pub fn count(&self, outcome: ClosedOutcome) -> usize {
        self.leases.iter().filter(|lease| lease.outcome == outcome).count()
    }

    /// When the last of its leases is refused at the latest; `None`: all are known to be dead.
    pub fn open_until(&self) -> Option<Timestamp> {
        self.leases.iter().filter_map(|lease| lease.until).max()
    }

    fn check(&self) -> Result<(), String> {
        let task = self.task.path.task();
        let listed = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        if self.v != VERSION {
            return Err(format!("its version is {}, not {VERSION}", self.v));
        }
        if self.task.ended_at < self.task.started_at || task.is_none() {
            return Err("its task ended before it began".to_owned());
        }
        if self.leases.len() > MAX_CLOSED_LEASES || self.leases_total < listed {
            return Err("it lists more leases than there were".to_owned());
        }
        for lease in &self.leases {
            if lease.outcome.is_dead() != lease.until.is_none() {
                return Err(format!("lease {} is {} and has no fitting time", lease.id, lease.outcome));
            }
        }
        Ok(())
    }
}

impl TokenSigner {
    /// Signs a receipt.
    pub fn sign_closure(&self, receipt: &ClosureReceipt) -> Result<String, SignError> {
        receipt.check().map_err(SignError::Primitive)?;
        let payload = serde_json::to_vec(receipt).map_err(|error| SignError::Primitive(error.to_string()))?;
        let text = self.compact(&self.header(CLOSURE_TYP), &payload)?;
        if text.len() > MAX_CLOSURE_BYTES { Err(SignError::TooLong(text.len())) } else { Ok(text) }
    }
}

impl TokenKeys {
    /// Reads a receipt that one of these keys signed. Costs one verification and one pass; needs no network and no broker.
    pub fn verify_closure(&self, text: &str) -> Result<ClosureReceipt, ClosureError> {
        let payload = self.verify_typed(Segments::within(text.trim(), MAX_CLOSURE_BYTES)?, CLOSURE_TYP)?;
        let receipt: ClosureReceipt =
            object::from_json(&payload).map_err(|error| ClosureError::Unsound(error.to_string()))?;
        receipt.check().map_err(ClosureError::Unsound)?;
        Ok(receipt)
    }
}

/// What a receipt that was signed here a moment ago says: to compare it with what was to be signed (I4).
pub fn read_back_closure(text: &str) -> Result<ClosureReceipt, ClosureError> {
    let payload = super::verify::decode(Segments::within(text, MAX_CLOSURE_BYTES)?.payload)?;
    object::from_json(&payload).map_err(|error| ClosureError::Unsound(error.to_string()))
}

/// A time as people read it.
mod text {
    use super::{FromStr, Timestamp};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

mod text_option {
    use super::Timestamp;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::text::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        super::text::deserialize(deserializer).map(Some)
    }
}
