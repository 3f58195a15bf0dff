//! The rules that say what a drift leads to.

use std::{fmt, sync::Arc, time::Duration};
use taskpass_types::{AgentId, Consequence, DriftRuleId, ResourceName};

/// What happened to something that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// Its agent is suspended or no longer registered, or is something else to policies than before.
    Agent,
    /// A tool was called outside the declared scopes.
    Behaviour,
    /// Policy still allows it, but not for so long.
    Narrowed,
    /// Nobody answers for its agent any more.
    Owner,
    /// Other policies no longer allow it.
    Policy,
    /// A recheck that was due did not allow it.
    Recheck,
    /// Its resource is something else to policies than before.
    Resource,
}

impl Trigger {
    /// Every trigger, for tables and tests.
    pub const ALL: [Self; 7] = [
        Self::Agent,
        Self::Behaviour,
        Self::Narrowed,
        Self::Owner,
        Self::Policy,
        Self::Recheck,
        Self::Resource,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Behaviour => "behaviour",
            Self::Narrowed => "narrowed",
            Self::Owner => "owner",
            Self::Policy => "policy",
            Self::Recheck => "recheck",
            Self::Resource => "resource",
        }
    }

    /// The trigger that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == word)
    }

    /// What follows when no rule of the operator says otherwise.
    const fn default(self) -> (&'static str, Then) {
        match self {
            Self::Agent => ("default-agent", Then::Revoke),
            Self::Behaviour => ("default-behaviour", Then::Report),
            Self::Narrowed => ("default-narrowed", Then::Shorten),
            Self::Owner => ("default-owner", Then::Revoke),
            Self::Policy => ("default-policy", Then::Revoke),
            Self::Recheck => ("default-recheck", Then::Revoke),
            Self::Resource => ("default-resource", Then::Revoke),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// It ends after that long, and is not renewed.
    Grace(Duration),
    /// For behaviour: the agent, task and resource are held.
    Hold,
    /// For behaviour: the lease, or without one the task, is ended and held.
    Kill,
    /// It is written down.
    Report,
    /// It ends at once.
    Revoke,
    /// It ends when a credential would have ended that is issued now; what is no longer allowed at all is not renewed.
    Shorten,
}

impl Then {
    /// Whether a rule for `when` can lead to it.
    pub const fn fits(self, when: Trigger) -> bool {
        match self {
            Self::Grace(_) | Self::Revoke | Self::Shorten => !matches!(when, Trigger::Behaviour),
            Self::Hold | Self::Kill => matches!(when, Trigger::Behaviour),
            Self::Report => true,
        }
    }

    /// For behaviour, as a consequence.
    pub(crate) const fn consequence(self) -> Consequence {
        match self {
            Self::Hold => Consequence::Hold,
            Self::Kill => Consequence::Kill,
            Self::Grace(_) | Self::Report | Self::Revoke | Self::Shorten => Consequence::Report,
        }
    }
}

/// A rule: when what happens to whom, this follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftRule {
    /// Its name, in the log and in previews.
    pub id: DriftRuleId,
    /// What happened.
    pub when: Trigger,
    /// Only these agents and all whose names begin with one of them and `/`; empty: all.
    pub agents: Vec<AgentId>,
    /// Only these resources and all below them; empty: all.
    pub resources: Vec<ResourceName>,
    /// What follows.
    pub then: Then,
    /// Only watch: it is written down what would follow.
    pub shadow: bool,
}

impl DriftRule {
    fn matches(&self, when: Trigger, agent: &AgentId, resource: Option<&ResourceName>) -> bool {
        let agents = self.agents.is_empty()
            || self.agents.iter().any(|named| is_below(agent.as_str(), named.as_str()));
        let resources = self.resources.is_empty()
            || resource.is_some_and(|resource| {
                self.resources.iter().any(|named| is_below(resource.as_str(), named.as_str()))
            });
        self.when == when && agents && resources
    }
}

/// Whether `name` is `above`, or below it in its path.
fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Why rules cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriftRulesError {
    /// Two have one name.
    #[error("drift rule `{0}` comes twice")]
    Twice(DriftRuleId),
    /// What follows cannot follow from that.
    #[error("drift rule `{id}`: what it leads to cannot follow from `{when}`")]
    Unfit {
        /// The rule.
        id: DriftRuleId,
        /// What happened.
        when: Trigger,
    },
}

/// All rules in their order, and behind them one for every trigger that matches everything.
#[derive(Clone, Debug)]
pub struct DriftRules(Vec<Arc<DriftRule>>);

impl DriftRules {
    /// The operator's rules, in their order.
    ///
    /// # Errors
    /// When two have one name, or one leads to what cannot follow from it.
    pub fn new(rules: Vec<DriftRule>) -> Result<Self, DriftRulesError> {
        let mut names = std::collections::BTreeSet::new();
        for rule in &rules {
            if !names.insert(&rule.id) {
                return Err(DriftRulesError::Twice(rule.id.clone()));
            }
            if !rule.then.fits(rule.when) {
                return Err(DriftRulesError::Unfit { id: rule.id.clone(), when: rule.when });
            }
        }
        Ok(Self(rules.into_iter().chain(Trigger::ALL.map(fallback)).map(Arc::new).collect()))
    }

    pub(crate) fn find(
        &self,
        when: Trigger,
        agent: &AgentId,
        resource: Option<&ResourceName>,
    ) -> Arc<DriftRule> {
        let found = self.0.iter().find(|rule| rule.matches(when, agent, resource));
        found.cloned().unwrap_or_else(|| Arc::new(fallback(when)))
    }
}

impl Default for DriftRules {
    fn default() -> Self {
        Self(Trigger::ALL.map(fallback).map(Arc::new).to_vec())
    }
}

#[expect(clippy::expect_used, reason = "the names are literals within the grammar, which a test shows")]
fn fallback(when: Trigger) -> DriftRule {
    let (id, then) = when.default();
    DriftRule {
        id: DriftRuleId::new(id).expect("a literal name"),
        when,
        agents: Vec::new(),
        resources: Vec::new(),
        then,
        shadow: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str, when: Trigger, agent: &str, then: Then) -> DriftRule {
        DriftRule {
            id: DriftRuleId::new(id).unwrap(),
            when,
            agents: vec![AgentId::new(agent).unwrap()],
            resources: Vec::new(),
            then,
            shadow: false,
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts_and_there_always_is_one() {
        let rules = DriftRules::new(vec![
            rule("bots", Trigger::Policy, "ci/bot", Then::Report),
            rule("ci", Trigger::Policy, "ci", Then::Shorten),
        ])
        .unwrap();
        let id = |when, agent: &str| rules.find(when, &AgentId::new(agent).unwrap(), None).id.to_string();
        assert_eq!(id(Trigger::Policy, "ci/bot"), "bots");
        assert_eq!(id(Trigger::Policy, "ci/bot/child"), "bots");
        assert_eq!(id(Trigger::Policy, "ci/bots"), "ci");
        assert_eq!(id(Trigger::Policy, "cinema"), "default-policy");
        for when in Trigger::ALL {
            assert_eq!(id(when, "dev"), when.default().0);
            assert!(when.default().1.fits(when));
            assert_eq!(Trigger::parse(when.as_str()), Some(when));
        }
    }

    #[test]
    fn rules_that_contradict_are_refused() {
        let twice = vec![
            rule("a", Trigger::Policy, "ci", Then::Report),
            rule("a", Trigger::Agent, "ci", Then::Report),
        ];
        assert!(matches!(DriftRules::new(twice), Err(DriftRulesError::Twice(_))));
        for (when, then) in [
            (Trigger::Behaviour, Then::Revoke),
            (Trigger::Behaviour, Then::Grace(Duration::from_secs(1))),
            (Trigger::Policy, Then::Kill),
            (Trigger::Owner, Then::Hold),
        ] {
            let rules = DriftRules::new(vec![rule("a", when, "ci", then)]);
            assert!(matches!(rules, Err(DriftRulesError::Unfit { .. })), "{when} {then:?}");
        }
    }
}
