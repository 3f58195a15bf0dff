//! What is known about an agent, a user, a resource and a task: built once, used for many decisions.
//!
//! Invariants: facts do not depend on the policies, so that they outlive a reload; two that say the same have the same
//! fingerprint, wherever they came from.

use crate::{
    fingerprint::{Fingerprint, Writer},
    plain::{self, Plain},
    schema,
};
use cedar_policy::{Entity, EntityUid};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use taskpass_types::{AgentId, ResourceName, TaskKind};

/// An entity and everything it is in: exactly what the scope of a policy can match.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    uids: Arc<[EntityUid]>,
    fingerprint: Fingerprint,
}

impl Lineage {
    fn new(itself: EntityUid, mut ancestors: Vec<EntityUid>) -> Self {
        ancestors.sort_unstable();
        ancestors.dedup();
        ancestors.insert(0, itself);
        let mut writer = Writer::new();
        for uid in &ancestors {
            writer.text(uid.type_name().basename()).text(uid.id().unescaped());
        }
        Self { fingerprint: writer.finish(), uids: ancestors.into() }
    }

    /// The entity itself, then what it is in, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &EntityUid> {
        self.uids.iter()
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

#[derive(Debug)]
struct Facts<Name> {
    name: Name,
    lineage: Lineage,
    entity: Entity,
    fingerprint: Fingerprint,
}

impl<Name> Facts<Name> {
    /// Builds the entity. Attributes are literals, whose evaluation cannot fail; if it ever did, the entity would have no
    /// attributes and a policy that reads one would fail, which denies.
    fn new<const N: usize>(
        name: Name,
        lineage: Lineage,
        attributes: [(&'static str, Option<Plain<'_>>); N],
    ) -> Self {
        let mut writer = Writer::new();
        writer.fingerprint(lineage.fingerprint());
        for (_, value) in attributes {
            plain::write(value, &mut writer);
        }
        let values: HashMap<_, _> = attributes
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.cedar())))
            .collect();
        let mut all = lineage.iter().cloned();
        let itself = all.next().unwrap_or_else(|| schema::group(""));
        let parents: HashSet<_> = all.collect();
        let entity =
            Entity::new(itself.clone(), values, parents).unwrap_or_else(|_| Entity::with_uid(itself));
        Self { name, lineage, entity, fingerprint: writer.finish() }
    }
}

/// What policies know about a person, or about a program that starts tasks. Cheap to clone; keep it as long as the
/// user's record.
///
/// The owner of an agent, the initiator of a task and the owner of who it is delegated to may be one person: then all of
/// them have to say the same, or else the request is denied, for a contradiction is no knowledge.
#[derive(Clone, Debug)]
pub struct UserFacts(Arc<Facts<Box<str>>>);

/// What policies know about an agent. Cheap to clone; keep it as long as the agent's record and its attestation.
#[derive(Clone, Debug)]
pub struct AgentFacts {
    facts: Arc<Facts<AgentId>>,
    owner: UserFacts,
}

/// What policies know about a resource. Cheap to clone; keep it as long as the resource's record.
#[derive(Clone, Debug)]
pub struct ResourceFacts(Arc<Facts<ResourceName>>);

impl UserFacts {
    /// A user by the name of a person (`maya@acme.test`) or of a program (`orchestrator/scheduler`), the groups that the
    /// operator put it in, and its labels. It is in no group by its name: who starts a task may choose what it is called.
    pub fn new<'a>(
        name: &str,
        groups: impl IntoIterator<Item = &'a str>,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let lineage = Lineage::new(schema::user(name), groups.into_iter().map(schema::group).collect());
        let attributes = [("labels", Some(Plain::Texts(&pairs(labels))))];
        Self(Arc::new(Facts::new(name.into(), lineage, attributes)))
    }

    /// A user of whom nothing is known but the name.
    pub fn stranger(name: &str) -> Self {
        Self::new(name, [], &BTreeMap::new())
    }

    /// The user.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn entity(&self) -> &Entity {
        &self.0.entity
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }
}

impl AgentFacts {
    /// An agent, who answers for it, the groups that the operator put it in, its labels, and the selectors that its
    /// attestation proved. It is also in the group of every path above its name: `dev/maya/helper` in `dev` and
    /// `dev/maya`.
    pub fn new<'a>(
        id: &AgentId,
        owner: &UserFacts,
        groups: impl IntoIterator<Item = &'a str>,
        labels: &BTreeMap<String, String>,
        attested: &[String],
    ) -> Self {
        let groups = groups.into_iter().map(schema::group);
        let groups = groups.chain(paths_above(id.as_str()).map(schema::group)).collect();
        let lineage = Lineage::new(schema::agent(id.as_str()), groups);
        let mut attested = attested.to_vec();
        attested.sort_unstable();
        attested.dedup();
        let attributes = [
            ("attested", Some(Plain::Texts(&attested))),
            ("labels", Some(Plain::Texts(&pairs(labels)))),
            ("owner", Some(Plain::User(owner))),
        ];
        Self { facts: Arc::new(Facts::new(id.clone(), lineage, attributes)), owner: owner.clone() }
    }

    /// The agent.
    pub fn id(&self) -> &AgentId {
        &self.facts.name
    }

    /// Who answers for it.
    pub fn owner(&self) -> &UserFacts {
        &self.owner
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.facts.lineage
    }

    pub(crate) fn entity(&self) -> &Entity {
        &self.facts.entity
    }

    /// Also of all that is known about the owner.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
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
        let attributes = [
            ("environment", environment.map(Plain::Text)),
            ("labels", Some(Plain::Texts(&pairs(labels)))),
            ("sensitivity", sensitivity.map(Plain::Text)),
        ];
        Self(Arc::new(Facts::new(name.clone(), lineage, attributes)))
    }

    /// The resource.
    pub fn name(&self) -> &ResourceName {
        &self.0.name
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.0.lineage
    }

    pub(crate) fn entity(&self) -> &Entity {
        &self.0.entity
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }
}

/// What policies know about a task: `context.task`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskFacts(Arc<Task>);

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) kind: TaskKind,
    pub(crate) purpose: Box<str>,
    pub(crate) initiator: UserFacts,
    pub(crate) depth: usize,
    pub(crate) labels: Vec<String>,
    pub(crate) sensitivity: Option<Box<str>>,
}

impl TaskFacts {
    /// A task of a kind, why and by whom it was started, how many tasks are above it, its labels, and how much harm is in
    /// what it handles.
    pub fn new(
        kind: &TaskKind,
        purpose: &str,
        initiator: &UserFacts,
        depth: usize,
        labels: &BTreeMap<String, String>,
        sensitivity: Option<&str>,
    ) -> Self {
        Self(Arc::new(Task {
            kind: kind.clone(),
            purpose: purpose.into(),
            initiator: initiator.clone(),
            depth,
            labels: pairs(labels),
            sensitivity: sensitivity.map(Into::into),
        }))
    }

    pub(crate) fn get(&self) -> &Task {
        &self.0
    }
}

fn pairs(labels: &BTreeMap<String, String>) -> Vec<String> {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// `a/b/c` gives `a` and `a/b`.
fn paths_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn uids(lineage: &Lineage) -> Vec<String> {
        lineage.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_agent_is_in_its_groups_and_in_those_of_the_paths_above_it() {
        let id = AgentId::new("dev/maya/helper").unwrap();
        let owner = UserFacts::stranger("maya@acme.test");
        let agent = AgentFacts::new(&id, &owner, ["night", "dev"], &BTreeMap::new(), &[]);
        let expected =
            [r#"Agent::"dev/maya/helper""#, r#"Group::"dev""#, r#"Group::"dev/maya""#, r#"Group::"night""#];
        assert_eq!(uids(agent.lineage()), expected);
    }

    #[test]
    fn a_user_is_in_no_group_by_its_name() {
        let user = UserFacts::new("finance/scheduler", ["night"], &BTreeMap::new());
        assert_eq!(uids(&user.0.lineage), [r#"User::"finance/scheduler""#, r#"Group::"night""#]);
    }

    #[test]
    fn a_name_without_a_slash_is_in_nothing() {
        let resource =
            ResourceFacts::new(&ResourceName::new("demo-api").unwrap(), &BTreeMap::new(), None, None);
        assert_eq!(resource.lineage().iter().count(), 1);
    }

    #[test]
    fn facts_are_told_apart_by_what_they_say() {
        let user = |name: &str, groups: &[&str], pairs| {
            UserFacts::new(name, groups.iter().copied(), &labels(pairs)).fingerprint()
        };
        assert_eq!(user("maya", &["a", "b"], &[("k", "v")]), user("maya", &["b", "a", "a"], &[("k", "v")]));
        for other in [user("noor", &["a"], &[]), user("maya", &[], &[]), user("maya", &["a"], &[("k", "v")])]
        {
            assert_ne!(user("maya", &["a"], &[]), other);
        }

        let id = AgentId::new("ci/bot").unwrap();
        let agent = |owner: &UserFacts, groups: &[&str], pairs, attested: &[&str]| {
            let attested: Vec<String> = attested.iter().map(ToString::to_string).collect();
            AgentFacts::new(&id, owner, groups.iter().copied(), &labels(pairs), &attested).fingerprint()
        };
        let owner = UserFacts::stranger("maya");
        let one = agent(&owner, &[], &[], &["x", "y"]);
        assert_eq!(one, agent(&UserFacts::stranger("maya"), &["ci"], &[], &["y", "x", "y"]));
        for other in [
            agent(&UserFacts::new("maya", ["leads"], &BTreeMap::new()), &[], &[], &["x", "y"]),
            agent(&owner, &["night"], &[], &["x", "y"]),
            agent(&owner, &[], &[("x", "y")], &["x", "y"]),
            agent(&owner, &[], &[], &["x"]),
        ] {
            assert_ne!(one, other);
        }

        let name = ResourceName::new("s3/reports").unwrap();
        let resource = |environment, sensitivity| {
            ResourceFacts::new(&name, &BTreeMap::new(), environment, sensitivity).fingerprint()
        };
        assert_eq!(resource(Some("prod"), None), resource(Some("prod"), None));
        for other in [resource(None, None), resource(None, Some("prod")), resource(Some("prod"), Some(""))] {
            assert_ne!(resource(Some("prod"), None), other);
        }
    }
}
