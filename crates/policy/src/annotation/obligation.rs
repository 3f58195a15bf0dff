//! The annotations that oblige: one table says how each is called, read, written and explained.
//!
//! Invariant: what [`Kind::show`] writes, [`Kind::set`] reads back as the same.

use super::{Wrong, cut};
use crate::span;
use std::collections::BTreeMap;
use taskpass_types::{Consequence, GroupName, Obligations, Revocability};

/// One kind of obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Approval,
    Bound,
    MaxCalls,
    MaxCredentials,
    MaxTtl,
    MaxUses,
    OutsideScope,
    Recheck,
    Revocability,
}

/// How many of one group can be asked to approve.
const MAX_APPROVERS: u8 = 9;
/// How many groups can be asked.
const MAX_GROUPS: usize = 4;
/// More often than this would only be load.
const MIN_RECHECK_SECS: u32 = 10;
/// A budget above this is none.
const MAX_BUDGET: u32 = 1_000_000;

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Approval,
        Self::Bound,
        Self::MaxCalls,
        Self::MaxCredentials,
        Self::MaxTtl,
        Self::MaxUses,
        Self::OutsideScope,
        Self::Recheck,
        Self::Revocability,
    ];

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Bound => "bound",
            Self::MaxCalls => "max_calls",
            Self::MaxCredentials => "max_credentials",
            Self::MaxTtl => "max_ttl",
            Self::MaxUses => "max_uses",
            Self::OutsideScope => "outside_scope",
            Self::Recheck => "recheck",
            Self::Revocability => "revocability",
        }
    }

    /// Whether it says something on a policy that permits nothing.
    pub(crate) fn is_for_forbid(self) -> bool {
        self == Self::OutsideScope
    }

    /// Reads a value and keeps it.
    pub(crate) fn set(self, value: &str, obligations: &mut Obligations) -> Result<(), Wrong> {
        self.read(value, obligations).ok_or_else(|| {
            let (noun, help) = self.form();
            (format!("`@{}(\"{}\")` is not {noun}", self.name(), cut(value)), help.to_owned())
        })
    }

    /// What a value has to be, and how it is written.
    const fn form(self) -> (&'static str, &'static str) {
        match self {
            Self::Approval => (
                "a list of who has to approve",
                "use at most 4 groups, each once, and how many people of each, 1 to 9: `finance-leads` or `2 of finance-leads, 1 of security`",
            ),
            Self::Bound => ("`required`", "use `@bound(\"required\")`, or leave it out"),
            Self::MaxCalls => ("a rate", "use 1 to 1000000 calls per minute, for example `30 per minute`"),
            Self::MaxCredentials => ("a budget", "use a whole number, 1 to 1000000"),
            Self::MaxTtl => (
                "a time to live",
                "use whole seconds, minutes or hours, for example `30s`, `15m`, `2h`; at most 31 days",
            ),
            Self::MaxUses => ("a budget", "use a whole number, 1 to 1000000"),
            Self::OutsideScope => ("a consequence", "use `report`, `hold` or `kill`"),
            Self::Recheck => (
                "an interval",
                "use whole seconds, minutes or hours, for example `30s`, `5m`; at least `10s`, at most 31 days",
            ),
            Self::Revocability => (
                "what a credential can promise about its death",
                "use `expiry_only`, `bounded` or `immediate`",
            ),
        }
    }

    fn read(self, value: &str, obligations: &mut Obligations) -> Option<()> {
        match self {
            Self::Approval => obligations.approvals = approvals(value)?,
            Self::Bound => obligations.bound = (value == "required").then_some(true)?,
            Self::MaxCalls => {
                obligations.max_calls_per_minute = Some(budget(value.strip_suffix(" per minute")?)?);
            }
            Self::MaxCredentials => obligations.max_credentials = Some(budget(value)?),
            Self::MaxTtl => obligations.max_ttl = Some(span::parse_ttl(value)?),
            Self::MaxUses => obligations.max_uses = Some(budget(value)?),
            Self::OutsideScope => obligations.outside_scope = Some(Consequence::parse(value)?),
            Self::Recheck => {
                let interval = span::parse_ttl(value)?;
                obligations.recheck = (interval.as_secs() >= MIN_RECHECK_SECS).then_some(interval);
                obligations.recheck?;
            }
            Self::Revocability => {
                let all = [Revocability::ExpiryOnly, Revocability::Bounded, Revocability::Immediate];
                obligations.revocability = Some(all.into_iter().find(|kind| kind.as_str() == value)?);
            }
        }
        Some(())
    }

    /// The value as an annotation has it; `None` when there is no such obligation.
    pub(crate) fn show(self, obligations: &Obligations) -> Option<String> {
        match self {
            Self::Approval => {
                let groups = obligations.approvals.iter();
                let groups: Vec<_> = groups.map(|(group, count)| format!("{count} of {group}")).collect();
                (!groups.is_empty()).then(|| groups.join(", "))
            }
            Self::Bound => obligations.bound.then(|| "required".to_owned()),
            Self::MaxCalls => obligations.max_calls_per_minute.map(|calls| format!("{calls} per minute")),
            Self::MaxCredentials => obligations.max_credentials.map(|count| count.to_string()),
            Self::MaxTtl => obligations.max_ttl.map(span::show),
            Self::MaxUses => obligations.max_uses.map(|count| count.to_string()),
            Self::OutsideScope => obligations.outside_scope.map(|consequence| consequence.to_string()),
            Self::Recheck => obligations.recheck.map(span::show),
            Self::Revocability => obligations.revocability.map(|kind| kind.to_string()),
        }
    }
}

/// Obligations as the annotations that say them: name and value, by name.
pub fn annotations(obligations: &Obligations) -> impl Iterator<Item = (&'static str, String)> {
    Kind::ALL.into_iter().filter_map(|kind| Some((kind.name(), kind.show(obligations)?)))
}

/// `finance-leads` or `2 of finance-leads, 1 of security`.
fn approvals(text: &str) -> Option<BTreeMap<GroupName, u8>> {
    let mut approvals = BTreeMap::new();
    for part in text.split(',').map(str::trim) {
        let (count, group) = match part.split_once(" of ") {
            Some((count, group)) => (number(count)?, group),
            None => (1, part),
        };
        let count = u8::try_from(count).ok().filter(|count| (1..=MAX_APPROVERS).contains(count))?;
        let group = GroupName::new(group).ok()?;
        if approvals.len() >= MAX_GROUPS || approvals.insert(group, count).is_some() {
            return None;
        }
    }
    Some(approvals)
}

fn budget(text: &str) -> Option<u32> {
    number(text).filter(|count| (1..=MAX_BUDGET).contains(count))
}

/// Digits, nothing else: no sign, no space, no zero in front.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}
