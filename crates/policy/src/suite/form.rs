//! The form of a suite's file. What is not in the form is refused, and what is has the grammar of the rest of Taskpass.

use crate::{request::Verb, span};
use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;
use std::{collections::BTreeMap, fmt, str::FromStr as _, time::Duration};
use taskpass_types::{
    ActionName, AgentId, Counters, CredentialKind, GroupName, Initiator, Owner, ResourceName, Revocability,
    TaskKind, Timestamp, ToolName, Ttl,
};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) facts: Facts,
    #[serde(default)]
    pub(super) cases: Vec<Spanned<Case>>,
}

type Labels = BTreeMap<String, String>;

/// Who and what the cases of the file speak of.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Facts {
    pub(super) agents: BTreeMap<AgentId, Agent>,
    pub(super) users: BTreeMap<Initiator, User>,
    pub(super) resources: BTreeMap<ResourceName, Resource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Agent {
    pub(super) owner: Option<Spanned<Owner>>,
    pub(super) groups: Vec<GroupName>,
    pub(super) labels: Labels,
    pub(super) attested: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct User {
    pub(super) groups: Vec<GroupName>,
    pub(super) labels: Labels,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Resource {
    pub(super) labels: Labels,
    pub(super) environment: Option<String>,
    pub(super) sensitivity: Option<String>,
}

/// One request and what has to come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) agent: Spanned<AgentId>,
    #[serde(default)]
    pub(super) verb: VerbWord,
    pub(super) resource: Spanned<ResourceName>,
    pub(super) action: ActionName,
    #[serde(default = "jwt")]
    pub(super) kind: CredentialKind,
    #[serde(default = "bounded")]
    pub(super) revocability: Revocability,
    pub(super) ttl: Option<Lifetime>,
    #[serde(default)]
    pub(super) bound: bool,
    #[serde(default)]
    pub(super) task: Task,
    #[serde(default)]
    pub(super) attestation_age: Age,
    #[serde(default)]
    pub(super) counters: CounterValues,
    #[serde(default)]
    pub(super) at: At,
    pub(super) tool: Option<Spanned<ToolName>>,
    pub(super) delegate_to: Option<Spanned<AgentId>>,
    #[serde(deserialize_with = "expect")]
    pub(super) expect: Expect,
}

fn jwt() -> CredentialKind {
    CredentialKind::Jwt
}

fn bounded() -> Revocability {
    Revocability::Bounded
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Task {
    pub(super) kind: Option<TaskKind>,
    pub(super) purpose: String,
    pub(super) initiator: Option<Spanned<Initiator>>,
    pub(super) depth: u8,
    pub(super) labels: Labels,
    pub(super) sensitivity: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CounterValues {
    credentials: u32,
    live: u32,
    tool_calls: u32,
}

impl From<CounterValues> for Counters {
    fn from(CounterValues { credentials, live, tool_calls }: CounterValues) -> Self {
        Self { credentials, live, tool_calls }
    }
}

/// What has to come of a case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) effect: EffectWord,
    pub(super) by: Option<String>,
    #[serde(default)]
    pub(super) obligations: BTreeMap<String, Spanned<String>>,
    pub(super) message: Option<String>,
}

/// `deny`, or a map with more. Not an untagged enum: that would forget the places of what is in the map.
fn expect<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expect, D::Error> {
    struct WordOrMap;

    impl<'de> Visitor<'de> for WordOrMap {
        type Value = Expect;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`allow`, `deny`, or a map with an `effect`")
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<Expect, E> {
            let effect = EffectWord::deserialize(word.into_deserializer())?;
            Ok(Expect { effect, by: None, obligations: BTreeMap::new(), message: None })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expect, A::Error> {
            Expect::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(WordOrMap)
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EffectWord {
    Allow,
    Deny,
}

/// `issue`, `renew`, `delegate` or `call_tool`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct VerbWord(pub(super) Verb);

impl Default for VerbWord {
    fn default() -> Self {
        Self(Verb::Issue)
    }
}

impl TryFrom<String> for VerbWord {
    type Error = &'static str;
    fn try_from(word: String) -> Result<Self, Self::Error> {
        Verb::parse(&word).map(Self).ok_or("expected `issue`, `renew`, `delegate` or `call_tool`")
    }
}

/// `15m`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Lifetime(pub(super) Ttl);

impl TryFrom<String> for Lifetime {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        span::parse_ttl(&text).map(Self).ok_or("expected a time to live, for example `30s`, `15m`, `2h`")
    }
}

/// `0s`.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Age(pub(super) Duration);

impl TryFrom<String> for Age {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let secs = span::parse_secs(&text).ok_or("expected a span, for example `0s`, `15m`, `2h`")?;
        Ok(Self(Duration::from_secs(secs)))
    }
}

/// An instant, in the form of RFC 3339.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct At(pub(super) Timestamp);

impl Default for At {
    /// Monday, 2026-01-05, 12:00 UTC: a case that does not say when must not change with the day on which it is run.
    fn default() -> Self {
        Self(Timestamp::from_secs(1_767_614_400))
    }
}

impl TryFrom<String> for At {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let at = jiff::Timestamp::from_str(&text).ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
        let at = at.ok_or("expected an instant since 1970, for example `2026-01-05T12:00:00Z`")?;
        Ok(Self(Timestamp::from_millis(at)))
    }
}
