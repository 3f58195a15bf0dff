//! What a permission is tied to, and what was true when it was given: policy says it, the state machine holds to it.

use crate::{GroupName, Revocability, Ttl};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// What a permission is tied to. Of several, the strictest of each holds ([`Obligations::and`]), so that one more permit
/// can never loosen another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligations {
    /// The longest that the credential, or the child task, may live.
    pub max_ttl: Option<Ttl>,
    /// The least that the credential's kind has to promise about its death.
    pub revocability: Option<Revocability>,
    /// Whether the credential has to be bound to a key that its holder proves.
    pub bound: bool,
    /// How many people of which groups have to approve first.
    pub approvals: BTreeMap<GroupName, u8>,
    /// How many credentials may ever be issued under the root task, children included.
    pub max_credentials: Option<u32>,
    /// How many tool calls may be made in a minute under the root task, children included.
    pub max_calls_per_minute: Option<u32>,
    /// How many tool calls may be made with one credential.
    pub max_uses: Option<u32>,
    /// How often a live lease is decided anew.
    pub recheck: Option<Ttl>,
    /// What a tool call outside the declared scopes leads to.
    pub outside_scope: Option<Consequence>,
}

impl Obligations {
    /// Adds another permission's: of each obligation, the stricter one stays.
    pub fn and(&mut self, other: &Self) {
        self.max_ttl = least(self.max_ttl, other.max_ttl);
        self.revocability = self.revocability.max(other.revocability);
        self.bound |= other.bound;
        for (group, count) in &other.approvals {
            let most = self.approvals.entry(group.clone()).or_default();
            *most = (*most).max(*count);
        }
        self.max_credentials = least(self.max_credentials, other.max_credentials);
        self.max_calls_per_minute = least(self.max_calls_per_minute, other.max_calls_per_minute);
        self.max_uses = least(self.max_uses, other.max_uses);
        self.recheck = least(self.recheck, other.recheck);
        self.outside_scope = self.outside_scope.max(other.outside_scope);
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What a tool call outside the declared scopes leads to, mildest first. The call itself is denied in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// It is written down.
    Report,
    /// The agent, task and resource are held until an operator releases them.
    Hold,
    /// The lease, or without one the task, is ended, and held.
    Kill,
}

impl Consequence {
    /// Every consequence, mildest first.
    pub const ALL: [Self; 3] = [Self::Report, Self::Hold, Self::Kill];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Hold => "hold",
            Self::Kill => "kill",
        }
    }

    /// The consequence that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|consequence| consequence.as_str() == word)
    }
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a root task and everything below it has used so far. Policies may ask for it; a budget that must hold exactly is
/// an obligation, which the store enforces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counters {
    /// Credentials ever issued.
    pub credentials: u32,
    /// Leases and child tasks directly under the task that live.
    pub live: u32,
    /// Tool calls ever allowed.
    pub tool_calls: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_of_each_holds_whatever_the_order() {
        let group = |name| GroupName::new(name).unwrap();
        let a = Obligations {
            max_ttl: Some(Ttl::from_secs(60).unwrap()),
            approvals: [(group("finance"), 2), (group("security"), 1)].into(),
            max_credentials: Some(5),
            outside_scope: Some(Consequence::Report),
            ..Obligations::default()
        };
        let b = Obligations {
            max_ttl: Some(Ttl::from_secs(30).unwrap()),
            revocability: Some(Revocability::Bounded),
            bound: true,
            approvals: [(group("finance"), 1)].into(),
            max_uses: Some(1),
            outside_scope: Some(Consequence::Kill),
            ..Obligations::default()
        };
        let strictest = Obligations {
            max_ttl: Some(Ttl::from_secs(30).unwrap()),
            revocability: Some(Revocability::Bounded),
            bound: true,
            approvals: [(group("finance"), 2), (group("security"), 1)].into(),
            max_credentials: Some(5),
            max_uses: Some(1),
            outside_scope: Some(Consequence::Kill),
            ..Obligations::default()
        };
        for (mut first, second) in [(a.clone(), b.clone()), (b, a)] {
            first.and(&second);
            assert_eq!(first, strictest);
        }
    }

    #[test]
    fn consequences_parse_back_and_grow_harsher() {
        for consequence in Consequence::ALL {
            assert_eq!(Consequence::parse(consequence.as_str()), Some(consequence));
        }
        assert!(Consequence::ALL.is_sorted());
        assert_eq!(Consequence::parse("revoke"), None);
    }
}
