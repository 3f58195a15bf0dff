//! `[[drift]]`: what follows when what is out would no longer be allowed.

use crate::span::Span;
use serde::{Deserialize, Deserializer, de};
use taskpass_broker::{DriftRule, Then, Trigger};
use taskpass_types::{AgentId, DriftRuleId, ResourceName};

/// A rule; the first that matches counts, and behind the last of them is a default for everything.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftConfig {
    /// Its name, in the log and in previews.
    pub id: DriftRuleId,
    /// What happened.
    #[serde(deserialize_with = "trigger")]
    pub when: Trigger,
    /// What follows.
    #[serde(deserialize_with = "then")]
    pub then: Then,
    /// Only these agents and all below them.
    #[serde(default)]
    pub agents: Vec<AgentId>,
    /// Only these resources and all below them.
    #[serde(default)]
    pub resources: Vec<ResourceName>,
    /// Only write down what would follow.
    #[serde(default)]
    pub shadow: bool,
}

impl From<DriftConfig> for DriftRule {
    fn from(config: DriftConfig) -> Self {
        let DriftConfig { id, when, then, agents, resources, shadow } = config;
        Self { id, when, agents, resources, then, shadow }
    }
}

fn trigger<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Trigger, D::Error> {
    let word = String::deserialize(deserializer)?;
    Trigger::parse(&word).ok_or_else(|| {
        let words = Trigger::ALL.map(|trigger| format!("`{trigger}`")).join(", ");
        de::Error::custom(format!(
            "`{}` is nothing that happens, expected one of {words}",
            word.escape_debug()
        ))
    })
}

/// `report`, `shorten`, `revoke`, `hold`, `kill`, or `grace 5m`.
fn then<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Then, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "hold" => Ok(Then::Hold),
        "kill" => Ok(Then::Kill),
        "report" => Ok(Then::Report),
        "revoke" => Ok(Then::Revoke),
        "shorten" => Ok(Then::Shorten),
        other => match other.strip_prefix("grace ").map(str::parse::<Span>) {
            Some(Ok(span)) => Ok(Then::Grace(span.as_duration())),
            Some(Err(error)) => Err(de::Error::custom(error)),
            None => Err(de::Error::custom(format!(
                "`{}` is nothing that can follow, expected `report`, `shorten`, `grace 5m`, `revoke`; for behaviour \
                 `report`, `hold`, `kill`",
                other.escape_debug()
            ))),
        },
    }
}
