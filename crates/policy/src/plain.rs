//! A value as policies see it, in both forms that are needed: for Cedar, which evaluates it, and for a fingerprint, which
//! tells it from others. One type makes both, so that they cannot differ in what they hold.

use crate::{
    facts::{AgentFacts, UserFacts},
    fingerprint::Writer,
};
use cedar_policy::RestrictedExpression as Value;

/// What an attribute holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plain<'a> {
    Agent(&'a AgentFacts),
    Bool(bool),
    Long(i64),
    Text(&'a str),
    Texts(&'a [String]),
    User(&'a UserFacts),
}

impl Plain<'_> {
    /// A count, which Cedar has no type of its own for.
    pub(crate) fn count(value: impl TryInto<i64>) -> Self {
        Self::Long(value.try_into().unwrap_or(i64::MAX))
    }

    pub(crate) fn cedar(self) -> Value {
        match self {
            Self::Agent(facts) => Value::new_entity_uid(facts.entity().uid()),
            Self::Bool(value) => Value::new_bool(value),
            Self::Long(value) => Value::new_long(value),
            Self::Text(value) => Value::new_string(value.to_owned()),
            Self::Texts(values) => Value::new_set(values.iter().cloned().map(Value::new_string)),
            Self::User(facts) => Value::new_entity_uid(facts.entity().uid()),
        }
    }

    /// An agent and a user stand for all that is known of them, because a policy that reads one can go on to that.
    pub(crate) fn write(self, writer: &mut Writer) {
        match self {
            Self::Agent(facts) => writer.byte(1).fingerprint(facts.fingerprint()),
            Self::Bool(value) => writer.byte(2).byte(u8::from(value)),
            Self::Long(value) => writer.byte(3).number(value),
            Self::Text(value) => writer.byte(4).text(value),
            Self::Texts(values) => {
                let length = i64::try_from(values.len()).unwrap_or(i64::MAX);
                values.iter().fold(writer.byte(5).number(length), |writer, value| writer.text(value))
            }
            Self::User(facts) => writer.byte(6).fingerprint(facts.fingerprint()),
        };
    }
}

/// Writes what an attribute holds, or that it is not there.
pub(crate) fn write(value: Option<Plain<'_>>, writer: &mut Writer) {
    match value {
        Some(value) => value.write(writer),
        None => drop(writer.byte(0)),
    }
}
