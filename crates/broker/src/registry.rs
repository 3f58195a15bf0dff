//! Who is who: registered agents, roles and resources.
//!
//! Invariants: an identity is an agent only if it has all of its selectors; of several that match, the one with the most
//! selectors counts, and a tie is nobody. No owner, no credential.

use crate::callers::{AgentCaller, Caller, Role};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use taskpass_attest::{Identity, Selector};
use taskpass_policy::{AgentFacts, ResourceFacts};
use taskpass_types::{AgentId, Owner, Reason, Refusal, ResourceName, TenantId};

/// An agent as the operator registered it.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name, and the path of its SPIFFE ID here.
    pub id: AgentId,
    /// Who answers for it; without one nothing is issued.
    pub owner: Option<Owner>,
    /// What its evidence has to prove, all of it.
    pub selectors: BTreeSet<Selector>,
    /// For policies.
    pub labels: BTreeMap<String, String>,
    /// For policies.
    pub groups: Vec<String>,
}

impl Registration {
    /// # Errors
    /// `AGENT_WITHOUT_OWNER`.
    pub(crate) fn owned(&self) -> Result<&Owner, Refusal> {
        self.owner.as_ref().ok_or_else(|| {
            Refusal::new(
                Reason::AgentWithoutOwner,
                format!("agent `{}` has no owner, so nothing is issued to it", self.id),
            )
            .fix("name the person who answers for it: `owner` under [[agents]]")
            .with("agent", &self.id)
        })
    }
}

/// A resource as the operator described it.
#[derive(Clone, Debug)]
pub struct ResourceEntry {
    /// Its name.
    pub name: ResourceName,
    /// For policies.
    pub labels: BTreeMap<String, String>,
    /// For policies.
    pub environment: Option<String>,
    /// For policies.
    pub sensitivity: Option<String>,
}

/// Why the registrations contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Two agents have one name.
    #[error("agent `{0}` is registered twice")]
    AgentTwice(AgentId),
    /// Its path would be mistaken for a task's.
    #[error("agent `{0}` cannot be named so: `task` is reserved as a part of its path")]
    ReservedName(AgentId),
    /// Everyone would match.
    #[error("`{0}` has no selectors, so every caller would be it")]
    NoSelectors(String),
}

/// A role as the operator registered it.
type RoleEntry = (Role, String, BTreeSet<Selector>);

/// How many resolved callers, and resources that nobody described, are kept ready; all are dropped when it is full.
const CACHE: usize = 4_096;

/// All registrations.
pub struct Registry {
    tenant: TenantId,
    agents: Vec<Arc<Registration>>,
    roles: Vec<RoleEntry>,
    described: HashMap<ResourceName, ResourceFacts>,
    /// By the address of the identity, which the caller keeps alive, so that no other identity can have it.
    callers: RwLock<HashMap<usize, Arc<Caller>>>,
    undescribed: RwLock<HashMap<ResourceName, ResourceFacts>>,
}

impl Registry {
    /// # Errors
    /// When registrations contradict each other.
    pub fn new(
        tenant: TenantId,
        agents: Vec<Registration>,
        roles: Vec<RoleEntry>,
        resources: Vec<ResourceEntry>,
    ) -> Result<Self, RegistryError> {
        let mut names = BTreeSet::new();
        for agent in &agents {
            if !names.insert(&agent.id) {
                return Err(RegistryError::AgentTwice(agent.id.clone()));
            }
            if agent.id.as_str().split('/').any(|part| part == "task") {
                return Err(RegistryError::ReservedName(agent.id.clone()));
            }
            if agent.selectors.is_empty() {
                return Err(RegistryError::NoSelectors(agent.id.to_string()));
            }
        }
        if let Some((_, name, _)) = roles.iter().find(|(_, _, selectors)| selectors.is_empty()) {
            return Err(RegistryError::NoSelectors(name.clone()));
        }
        let facts = |entry: ResourceEntry| {
            let facts = ResourceFacts::new(
                &entry.name,
                &entry.labels,
                entry.environment.as_deref(),
                entry.sensitivity.as_deref(),
            );
            (entry.name, facts)
        };
        Ok(Self {
            tenant,
            agents: agents.into_iter().map(Arc::new).collect(),
            roles,
            described: resources.into_iter().map(facts).collect(),
            callers: RwLock::default(),
            undescribed: RwLock::default(),
        })
    }

    /// Who an identity is here.
    ///
    /// # Errors
    /// `AGENT_NOT_REGISTERED`, `AGENT_AMBIGUOUS`.
    pub(crate) fn resolve(&self, identity: &Arc<Identity>) -> Result<Arc<Caller>, Refusal> {
        let address = Arc::as_ptr(identity).addr();
        if let Some(caller) = self.callers.read().get(&address) {
            return Ok(caller.clone());
        }
        let caller = Arc::new(self.resolve_anew(identity)?);
        let mut callers = self.callers.write();
        if callers.len() >= CACHE {
            callers.clear();
        }
        callers.insert(address, caller.clone());
        Ok(caller)
    }

    fn resolve_anew(&self, identity: &Arc<Identity>) -> Result<Caller, Refusal> {
        let roles: Vec<_> = self
            .roles
            .iter()
            .filter(|(_, _, selectors)| selectors.is_subset(&identity.selectors))
            .map(|(role, name, _)| (*role, name.clone()))
            .collect();
        let registration = self.agent_of(identity)?;
        if registration.is_none() && roles.is_empty() {
            let selectors = identity.selectors.iter().map(Selector::as_str).collect::<Vec<_>>().join(" ");
            return Err(Refusal::new(
                Reason::AgentNotRegistered,
                format!("no registered agent or role matches `{}`", identity.description),
            )
            .fix("register the caller: put some of these selectors under [[agents]]")
            .with("selectors", selectors));
        }
        let attested: Vec<_> = identity.selectors.iter().map(ToString::to_string).collect();
        let agent = registration
            .map(|registration| AgentCaller { facts: agent_facts(&registration, &attested), registration });
        let tenant = agent.as_ref().map_or(&self.tenant, |agent| &agent.registration.tenant).clone();
        Ok(Caller { identity: identity.clone(), tenant, agent, roles })
    }

    fn agent_of(&self, identity: &Identity) -> Result<Option<Arc<Registration>>, Refusal> {
        let matching = || self.agents.iter().filter(|agent| agent.selectors.is_subset(&identity.selectors));
        let Some(most) = matching().map(|agent| agent.selectors.len()).max() else { return Ok(None) };
        let best: Vec<_> = matching().filter(|agent| agent.selectors.len() == most).collect();
        match best.as_slice() {
            [one] => Ok(Some((*one).clone())),
            _ => {
                let names = best.iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>().join("`, `");
                Err(Refusal::new(
                    Reason::AgentAmbiguous,
                    format!("you match several agents equally well: `{names}`"),
                )
                .fix("give one of them a further selector"))
            }
        }
    }

    /// The registration of an agent.
    pub(crate) fn agent(&self, tenant: &TenantId, id: &AgentId) -> Option<&Arc<Registration>> {
        self.agents.iter().find(|agent| agent.id == *id && agent.tenant == *tenant)
    }

    /// What policies know of an agent that is not calling: what its registration demands of its evidence counts as
    /// attested, since a caller had to prove that much.
    pub(crate) fn agent_facts(&self, tenant: &TenantId, id: &AgentId) -> Option<AgentFacts> {
        let registration = self.agent(tenant, id)?;
        let attested: Vec<_> = registration.selectors.iter().map(ToString::to_string).collect();
        agent_facts(registration, &attested)
    }

    /// What policies know of a resource; one that nobody described has no labels.
    pub(crate) fn resource_facts(&self, name: &ResourceName) -> ResourceFacts {
        if let Some(facts) = self.described.get(name) {
            return facts.clone();
        }
        if let Some(facts) = self.undescribed.read().get(name) {
            return facts.clone();
        }
        let facts = ResourceFacts::new(name, &BTreeMap::new(), None, None);
        let mut undescribed = self.undescribed.write();
        if undescribed.len() >= CACHE {
            undescribed.clear();
        }
        undescribed.insert(name.clone(), facts.clone());
        facts
    }
}

/// `None` for an agent without an owner: it never gets as far as a decision.
fn agent_facts(registration: &Registration, attested: &[String]) -> Option<AgentFacts> {
    let owner = registration.owner.as_ref()?;
    Some(AgentFacts::new(&registration.id, owner, &registration.groups, &registration.labels, attested))
}
