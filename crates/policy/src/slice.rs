//! Slices: of all policies, those whose scope can match one agent, verb and resource. A decision costs what its slice
//! costs, however many policies there are.
//!
//! Invariant: a slice holds every policy whose scope matches. It may hold more (Cedar evaluates scopes itself), never
//! less; a constraint that the index does not understand counts as unconstrained.

use crate::{
    facts::{AgentFacts, Lineage, ResourceFacts},
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

/// All that a decision needs besides the context of the request.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) policies: Arc<PolicySet>,
    pub(crate) entities: Entities,
    agent: AgentFacts,
    resource: ResourceFacts,
}

type Key = (Lineage, Verb, Lineage);

#[derive(Debug, Default)]
struct Built {
    slices: HashMap<Key, Arc<Slice>>,
    /// Slices and the policies in them, for the bound.
    weight: usize,
}

/// How many slices and policies in slices are kept; when full all are dropped, for they are quick to build.
const MAX_WEIGHT: usize = 100_000;

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

    /// The policies that can apply to a request, ready to be evaluated; or why there are none.
    pub(crate) fn find(&self, rules: &[Rule], request: &Request<'_>) -> Result<Arc<Slice>, String> {
        let key = (request.agent.lineage().clone(), request.verb, request.resource.lineage().clone());
        let kept = self.built.read().slices.get(&key).cloned();
        let policies = match kept {
            Some(slice) if slice.knows(request) => return Ok(slice),
            Some(slice) => Arc::clone(&slice.policies),
            None => Arc::new(self.build(rules, &key)?),
        };
        let slice = Arc::new(Slice {
            policies,
            entities: request.entities()?,
            agent: request.agent.clone(),
            resource: request.resource.clone(),
        });
        self.built.write().keep(key, &slice);
        Ok(slice)
    }

    fn build(&self, rules: &[Rule], (agent, verb, resource): &Key) -> Result<PolicySet, String> {
        let numbers = self.matching(agent, *verb, resource);
        let rules = numbers.into_iter().filter_map(|number| rules.get(number));
        PolicySet::from_policies(rules.map(|rule| rule.policy.clone())).map_err(|error| error.to_string())
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

impl Slice {
    /// Whether its entities say of agent and resource what the request says. Equal scopes are not enough: labels and
    /// attestation change.
    fn knows(&self, request: &Request<'_>) -> bool {
        self.agent.same(request.agent) && self.resource.same(request.resource)
    }
}

impl Built {
    fn keep(&mut self, key: Key, slice: &Arc<Slice>) {
        let weight = slice.policies.num_of_policies() + 1;
        if self.weight + weight > MAX_WEIGHT {
            *self = Self::default();
        }
        if self.slices.insert(key, Arc::clone(slice)).is_none() {
            self.weight += weight;
        }
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
