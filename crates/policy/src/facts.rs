//! What is known about an agent, a resource and a task: built once, used for many decisions.
//!
//! Invariant: facts do not depend on the policies, so that they outlive a reload.

use crate::schema;
use cedar_policy::{Entity, EntityUid, RestrictedExpression as Value};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use taskpass_types::{AgentId, Initiator, Owner, ResourceName, TaskKind};

/// An entity and everything it is in: exactly what the scope of a policy can match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lineage(Arc<[EntityUid]>);

impl Lineage {
    fn new(itself: EntityUid, mut ancestors: Vec<EntityUid>) -> Self {
        ancestors.sort_unstable();
        ancestors.dedup();
        ancestors.insert(0, itself);
        Self(ancestors.into())
    }

    /// The entity itself, then what it is in, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &EntityUid> {
        self.0.iter()
    }

    /// Builds the entity. Attributes here are literals, whose evaluation cannot fail; if it ever did, the entity would
    /// have no attributes and a policy that reads one would fail, which denies.
    fn entity(&self, attributes: HashMap<String, Value>) -> Entity {
        let mut all = self.0.iter().cloned();
        let itself = all.next().unwrap_or_else(|| schema::group(""));
        let parents: HashSet<_> = all.collect();
        Entity::new(itself.clone(), attributes, parents).unwrap_or_else(|_| Entity::with_uid(itself))
    }
}

/// What policies know about an agent. Cheap to clone; keep it as long as the agent's record and its attestation.
#[derive(Clone, Debug)]
pub struct AgentFacts(Arc<Facts<AgentId>>);

/// What policies know about a resource. Cheap to clone; keep it as long as the resource's record.
#[derive(Clone, Debug)]
pub struct ResourceFacts(Arc<Facts<ResourceName>>);

#[derive(Debug)]
struct Facts<Name> {
    name: Name,
    lineage: Lineage,
    entity: Entity,
}

impl AgentFacts {
    /// An agent, who answers for it, the groups that the operator put it in, its labels, and the selectors that its
    /// attestation proved. It is also in the group of every path above its name: `dev/maya/claude` in `dev` and
    /// `dev/maya`.
    pub fn new(
        id: &AgentId,
        owner: &Owner,
        groups: &[String],
        labels: &BTreeMap<String, String>,
        attested: &[String],
    ) -> Self {
        let groups =
            groups.iter().map(String::as_str).chain(paths_above(id.as_str())).map(schema::group).collect();
        let lineage = Lineage::new(schema::agent(id.as_str()), groups);
        let entity = lineage.entity(HashMap::from([
            ("attested".to_owned(), strings(attested.iter().cloned())),
            ("labels".to_owned(), pairs(labels)),
            ("owner".to_owned(), text(owner.as_str())),
        ]));
        Self(Arc::new(Facts { name: id.clone(), lineage, entity }))
    }

    /// The agent.
    pub fn id(&self) -> &AgentId {
        &self.0.name
    }

    /// Whether the two say the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.entity.deep_eq(&other.0.entity)
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.0.lineage
    }

    pub(crate) fn entity(&self) -> &Entity {
        &self.0.entity
    }
}

impl ResourceFacts {
    /// A resource with its labels, where it runs, and how sensitive it is. It is in every path above its name:
    /// `s3/reports` in `s3`.
    pub fn new(
        name: &ResourceName,
        labels: &BTreeMap<String, String>,
        environment: Option<&str>,
        sensitivity: Option<&str>,
    ) -> Self {
        let above = paths_above(name.as_str()).map(schema::resource).collect();
        let lineage = Lineage::new(schema::resource(name.as_str()), above);
        let optional = [("environment", environment), ("sensitivity", sensitivity)];
        let attributes = optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), text(value?))));
        let entity = lineage.entity(attributes.chain([("labels".to_owned(), pairs(labels))]).collect());
        Self(Arc::new(Facts { name: name.clone(), lineage, entity }))
    }

    /// The resource.
    pub fn name(&self) -> &ResourceName {
        &self.0.name
    }

    /// Whether the two say the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.entity.deep_eq(&other.0.entity)
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.0.lineage
    }

    pub(crate) fn entity(&self) -> &Entity {
        &self.0.entity
    }
}

/// What policies know about a task: `context.task`.
#[derive(Clone, Debug)]
pub struct TaskFacts(Value);

impl TaskFacts {
    /// A task of a kind, why and by whom it was started, how many tasks are above it, and its labels.
    pub fn new(
        kind: &TaskKind,
        purpose: &str,
        initiator: &Initiator,
        depth: usize,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let fields = [
            ("depth".to_owned(), Value::new_long(i64::try_from(depth).unwrap_or(i64::MAX))),
            ("initiator".to_owned(), text(initiator.as_str())),
            ("kind".to_owned(), text(kind.as_str())),
            ("labels".to_owned(), pairs(labels)),
            ("purpose".to_owned(), text(purpose)),
        ];
        // Only a key that comes twice could fail; policies that read the text in its place fail, which denies.
        Self(Value::new_record(fields).unwrap_or_else(|_| text("")))
    }

    pub(crate) fn value(&self) -> Value {
        self.0.clone()
    }
}

pub(crate) fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

fn strings(values: impl IntoIterator<Item = String>) -> Value {
    Value::new_set(values.into_iter().map(Value::new_string))
}

fn pairs(labels: &BTreeMap<String, String>) -> Value {
    strings(labels.iter().map(|(key, value)| format!("{key}={value}")))
}

/// `a/b/c` gives `a` and `a/b`.
fn paths_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_in_its_groups_and_in_those_of_the_paths_above_it() {
        let groups = ["night".to_owned(), "dev".to_owned()];
        let id = AgentId::new("dev/maya/claude").unwrap();
        let agent =
            AgentFacts::new(&id, &Owner::new("maya@acme.test").unwrap(), &groups, &BTreeMap::new(), &[]);
        let names: Vec<String> = agent.lineage().iter().map(ToString::to_string).collect();
        let expected =
            [r#"Agent::"dev/maya/claude""#, r#"Group::"dev""#, r#"Group::"dev/maya""#, r#"Group::"night""#];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_name_without_a_slash_is_in_nothing() {
        let resource =
            ResourceFacts::new(&ResourceName::new("demo-api").unwrap(), &BTreeMap::new(), None, None);
        assert_eq!(resource.lineage().iter().count(), 1);
    }
}
