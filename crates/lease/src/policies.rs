//! Which policies are in force, and which were before: what counts, and what can be brought back.

use crate::{Effects, Outcome, View, plan::policies_changed, step::bounded};
use serde::{Deserialize, Serialize};
use taskpass_types::{PolicyRevision, Refusal, Timestamp};

/// From now on decisions count only if they were made under these policies.
#[derive(Clone, Debug)]
pub struct SetPolicies {
    /// Their revision.
    pub revision: PolicyRevision,
    /// Their files, as name and text.
    pub sources: Vec<(String, String)>,
    /// Who, in words.
    pub by: String,
    /// How they came.
    pub origin: PolicyOrigin,
    /// Only if these are in force until now.
    pub fence: Option<PolicyRevision>,
}

/// How a set of policies came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyOrigin {
    /// An operator applied it.
    Applied,
    /// It was read from the policy directory.
    Files,
    /// An operator went back to it.
    RolledBack,
}

impl PolicyOrigin {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Files => "files",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// One entry of the history of policies, without their text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySetInfo {
    /// Counts the sets that were ever put in force; the greatest is in force.
    pub number: u64,
    /// Its revision.
    pub revision: PolicyRevision,
    /// Who put it in force, in words.
    pub by: String,
    /// How it came.
    pub origin: PolicyOrigin,
    /// Since when it was in force.
    pub at: Timestamp,
    /// How many bytes its files have, names included.
    pub bytes: u64,
}

/// One entry of the history of policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySet {
    /// What it is.
    pub info: PolicySetInfo,
    /// Its files, as name and text.
    pub sources: Vec<(String, String)>,
}

pub(crate) fn set_policies(view: View, set: &SetPolicies, now: Timestamp) -> Result<Effects, Refusal> {
    let in_force = view.policy_revision.as_ref();
    if let Some(expected) = &set.fence
        && in_force != Some(expected)
    {
        return Err(policies_changed("the policies changed while this was being prepared")
            .fix("look at the change again before you apply it")
            .with("expected", expected));
    }
    if set.origin == PolicyOrigin::Files && in_force == Some(&set.revision) {
        return Ok(Effects::default());
    }
    let bytes = set.sources.iter().map(|(name, text)| name.len().saturating_add(text.len()));
    let info = PolicySetInfo {
        number: view.newest_policies.saturating_add(1),
        revision: set.revision.clone(),
        by: bounded(&set.by),
        origin: set.origin,
        at: now,
        bytes: bytes.fold(0, |sum, bytes| sum.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))),
    };
    Ok(Effects {
        policies: Some(Box::new(PolicySet { info: info.clone(), sources: set.sources.clone() })),
        outcome: Outcome::PoliciesSet(Box::new(info)),
        ..Effects::default()
    })
}
