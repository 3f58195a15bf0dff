//! The schema that every policy must fit, and the names of its entities.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};
use std::sync::LazyLock;

/// What policies can speak of, in Cedar's schema language, with a comment on each attribute.
pub const SCHEMA: &str = include_str!("../schema/taskpass.cedarschema");

/// The schema, parsed.
#[expect(clippy::expect_used, reason = "a constant of this crate, which every test of a policy parses")]
pub(crate) static PARSED: LazyLock<Schema> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).expect("the embedded schema is valid").0);

static AGENT: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Agent"));
static GROUP: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Group"));
static RESOURCE: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Resource"));
static USER: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("User"));
static ACTION: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Action"));

#[expect(clippy::expect_used, reason = "called with the five constants above only")]
fn type_name(name: &str) -> EntityTypeName {
    name.parse().expect("the name of an entity type is an identifier")
}

pub(crate) fn agent(id: &str) -> EntityUid {
    uid(&AGENT, id)
}

pub(crate) fn group(id: &str) -> EntityUid {
    uid(&GROUP, id)
}

pub(crate) fn resource(id: &str) -> EntityUid {
    uid(&RESOURCE, id)
}

pub(crate) fn user(id: &str) -> EntityUid {
    uid(&USER, id)
}

pub(crate) fn action(id: &str) -> EntityUid {
    uid(&ACTION, id)
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verb;

    #[test]
    fn the_schema_declares_the_verbs_and_nothing_else() {
        let mut declared: Vec<String> = PARSED.actions().map(|uid| uid.id().unescaped().to_owned()).collect();
        declared.sort_unstable();
        assert_eq!(declared, Verb::ALL.map(|verb| verb.as_str().to_owned()));
    }

    #[test]
    fn every_attribute_has_a_comment() {
        let mut above = "";
        for line in SCHEMA.lines().map(str::trim) {
            if line.ends_with(',') && line.contains(": ") && !line.contains('[') && !line.starts_with("//") {
                assert!(above.starts_with("// ") || line.starts_with("context"), "`{line}` has no comment");
            }
            above = line;
        }
    }
}
