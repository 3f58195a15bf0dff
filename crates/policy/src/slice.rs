//! Slices: of all policies, those whose scope can match one agent, verb and resource. A decision costs what its slice
//! costs, however many policies there are.
//!
//! Invariant: a slice holds every policy whose scope matches. It may hold more (Cedar evaluates scopes itself), never
//! less; a constraint that the index does not understand counts as unconstrained.

use crate::{
    facts::Lineage,
    fingerprint::Fingerprint,
    reads::Reads,
    request::{Request, Verb},
    rule::Rule,
};
use cedar_policy::{
    ActionConstraint, Entities, EntityUid, PolicySet, PrincipalConstraint, ResourceConstraint,
};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Rules by what their scope names: `None` stands for anything.
type ByResource = BTreeMap<Option<EntityUid>, Vec<usize>>;

/// All rules of a set by scope, and the slices that were built from it.
#[derive(Debug)]
pub(crate) struct Slices {
    scopes: HashMap<(Option<EntityUid>, Verb), ByResource>,
    built: RwLock<Built>,
}

/// The policies that can apply, and what of the context any of them reads.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) policies: PolicySet,
    pub(crate) reads: Reads,
}

/// Agent, verb and resource, as scopes see them.
type Key = (Fingerprint, Verb, Fingerprint);

/// Agent and resource; initiator and delegate when they are asked about. Equal scopes are not enough here: labels and
/// attestation change.
type Cast = (Fingerprint, Fingerprint, Option<Fingerprint>, Option<Fingerprint>);

/// What is kept, because building it takes longer than evaluating it.
#[derive(Debug, Default)]
struct Built {
    slices: HashMap<Key, Arc<Slice>>,
    entities: HashMap<Cast, Arc<Entities>>,
    /// For the bound: slices, the policies in them, and entities.
    weight: usize,
}

/// How much is kept; when full all is dropped, for it is quick to build.
const MAX_WEIGHT: usize = 100_000;
/// What the entities of one request weigh, in policies of a slice.
const ENTITIES_WEIGHT: usize = 10;

impl Slices {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut scopes: HashMap<_, ByResource> = HashMap::new();
        for (number, rule) in rules.iter().enumerate() {
            let principal = principal(rule);
            let resource = resource(rule);
            for verb in verbs(rule) {
                let by_resource = scopes.entry((principal.clone(), verb)).or_default();
                by_resource.entry(resource.clone()).or_default().push(number);
            }
        }
        Self { scopes, built: RwLock::default() }
    }

    /// The policies that can apply to a request; or why there are none.
    pub(crate) fn find(&self, rules: &[Rule], request: &Request<'_>) -> Result<Arc<Slice>, String> {
        let (agent, resource) = (request.agent.lineage(), request.resource.lineage());
        let key = (agent.fingerprint(), request.verb, resource.fingerprint());
        if let Some(slice) = self.built.read().slices.get(&key) {
            return Ok(Arc::clone(slice));
        }
        let numbers = self.matching(agent, request.verb, resource);
        let rules = || numbers.iter().filter_map(|number| rules.get(*number));
        let policies = PolicySet::from_policies(rules().map(|rule| rule.policy.clone()))
            .map_err(|error| error.to_string())?;
        let reads = rules().fold(Reads::default(), |reads, rule| reads.and(rule.reads));
        let slice = Arc::new(Slice { policies, reads });
        let mut built = self.built.write();
        built.make_room(numbers.len() + 1);
        built.slices.insert(key, Arc::clone(&slice));
        Ok(slice)
    }

    /// The entities that the policies of a slice can come to; or why there are none.
    pub(crate) fn entities(&self, reads: Reads, request: &Request<'_>) -> Result<Arc<Entities>, String> {
        let (initiator, delegate) = request.others(reads);
        let cast = (
            request.agent.fingerprint(),
            request.resource.fingerprint(),
            initiator.map(|user| user.fingerprint()),
            delegate.map(|agent| agent.fingerprint()),
        );
        if let Some(entities) = self.built.read().entities.get(&cast) {
            return Ok(Arc::clone(entities));
        }
        let entities = Arc::new(request.entities(reads)?);
        let mut built = self.built.write();
        built.make_room(ENTITIES_WEIGHT);
        built.entities.insert(cast, Arc::clone(&entities));
        Ok(entities)
    }

    /// The numbers of the rules that can apply, ascending.
    pub(crate) fn matching(&self, agent: &Lineage, verb: Verb, resource: &Lineage) -> Vec<usize> {
        let mut numbers = Vec::new();
        for by_resource in self.for_agent(agent, verb) {
            for named in any_or(resource) {
                numbers.extend(by_resource.get(&named).into_iter().flatten().copied());
            }
        }
        numbers.sort_unstable();
        numbers
    }

    /// The rules that can apply to an agent and a verb, by resource.
    pub(crate) fn for_agent<'a>(
        &'a self,
        agent: &'a Lineage,
        verb: Verb,
    ) -> impl Iterator<Item = &'a ByResource> {
        any_or(agent).filter_map(move |named| self.scopes.get(&(named, verb)))
    }
}

impl Built {
    fn make_room(&mut self, weight: usize) {
        if self.weight + weight > MAX_WEIGHT {
            *self = Self::default();
        }
        self.weight += weight;
    }
}

fn any_or(lineage: &Lineage) -> impl Iterator<Item = Option<EntityUid>> {
    [None].into_iter().chain(lineage.iter().cloned().map(Some))
}

fn principal(rule: &Rule) -> Option<EntityUid> {
    match rule.policy.principal_constraint() {
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Some(uid)
        }
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    }
}

/// What the scope of a rule says about the resource.
pub(crate) fn resource(rule: &Rule) -> Option<EntityUid> {
    match rule.policy.resource_constraint() {
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Some(uid)
        }
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    }
}

fn verbs(rule: &Rule) -> Vec<Verb> {
    let named = match rule.policy.action_constraint() {
        ActionConstraint::Any => return Verb::ALL.to_vec(),
        ActionConstraint::Eq(uid) => vec![uid],
        ActionConstraint::In(uids) => uids,
    };
    Verb::ALL.into_iter().filter(|verb| named.contains(verb.uid())).collect()
}
