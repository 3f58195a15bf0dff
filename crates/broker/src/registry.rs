//! Who is who: registered agents, people, roles and resources.
//!
//! Invariants: an identity is an agent only if it has all of its selectors; of several that match, the one with the most
//! selectors counts, and a tie is nobody. No owner, no credential; a suspended agent gets none either. A registry never
//! changes: a reload makes another one, and [`RegistryKeeper`] swaps them as one.

mod keeper;

pub use keeper::RegistryKeeper;

use crate::callers::{AgentCaller, Caller, Role};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use taskpass_attest::{Identity, Selector};
use taskpass_policy::{AgentFacts, ResourceFacts, UserFacts};
use taskpass_types::{AgentId, GroupName, Owner, Reason, Refusal, ResourceName, TenantId, UserName};

/// An agent as the operator registered it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub groups: Vec<GroupName>,
    /// Nothing is issued to it, and what it holds ends.
    pub suspended: bool,
}

impl Registration {
    /// # Errors
    /// `AGENT_WITHOUT_OWNER`, `AGENT_SUSPENDED`.
    pub(crate) fn owned(&self) -> Result<&Owner, Refusal> {
        if self.suspended {
            return Err(Refusal::new(
                Reason::AgentSuspended,
                format!("agent `{}` is suspended, so nothing is issued to it", self.id),
            )
            .fix("an operator can lift it: remove `suspended` under [[agents]]")
            .with("agent", &self.id));
        }
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

/// A person as the operator registered them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    /// Their name, as owners and initiators are called.
    pub name: UserName,
    /// What their evidence has to prove, all of it; empty: they are known but cannot act here.
    pub selectors: BTreeSet<Selector>,
    /// The groups that policies and approvals speak of.
    pub groups: Vec<GroupName>,
    /// For policies.
    pub labels: BTreeMap<String, String>,
}

/// A resource as the operator described it.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleEntry {
    /// The role.
    pub role: Role,
    /// What the audit log calls it.
    pub name: String,
    /// What its evidence has to prove, all of it.
    pub selectors: BTreeSet<Selector>,
    /// For verifiers: the resources that they are, which is all that they are told of. Empty: the feed tells them of
    /// everything, and they may ask about tokens for the resource that is named as they are.
    pub resources: BTreeSet<ResourceName>,
}

/// All that the operator registered.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// Who can hold credentials.
    pub agents: Vec<Registration>,
    /// The people that policies and approvals know.
    pub users: Vec<UserEntry>,
    /// Who has a role.
    pub roles: Vec<RoleEntry>,
    /// What policies know of resources.
    pub resources: Vec<ResourceEntry>,
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
    /// Two people have one name; case does not tell them apart.
    #[error("user `{0}` is registered twice")]
    UserTwice(UserName),
}

/// How many resolved callers, and resources that nobody described, are kept ready; all are dropped when it is full.
const CACHE: usize = 4_096;
/// How many people of one group an approval freezes.
const MAX_MEMBERS: usize = 64;

/// All registrations.
pub struct Registry {
    tenant: TenantId,
    registered: Registered,
    agents: HashMap<AgentId, Arc<Registration>>,
    users: HashMap<String, UserFacts>,
    described: HashMap<ResourceName, (ResourceEntry, ResourceFacts)>,
    /// By the address of the identity, which the caller keeps alive, so that no other identity can have it.
    callers: RwLock<HashMap<usize, Arc<Caller>>>,
    undescribed: RwLock<HashMap<ResourceName, ResourceFacts>>,
}

impl Registry {
    /// # Errors
    /// When registrations contradict each other.
    pub fn new(tenant: TenantId, registered: Registered) -> Result<Self, RegistryError> {
        check(&registered)?;
        let users = registered.users.iter().map(|user| {
            let groups = user.groups.iter().map(GroupName::as_str);
            (user.name.to_string(), UserFacts::new(user.name.as_str(), groups, &user.labels))
        });
        let described = registered.resources.iter().map(|entry| {
            let ResourceEntry { name, labels, environment, sensitivity } = entry;
            let facts = ResourceFacts::new(name, labels, environment.as_deref(), sensitivity.as_deref());
            (name.clone(), (entry.clone(), facts))
        });
        let agents = registered.agents.iter().map(|agent| (agent.id.clone(), Arc::new(agent.clone())));
        Ok(Self {
            tenant,
            agents: agents.collect(),
            users: users.collect(),
            described: described.collect(),
            registered,
            callers: RwLock::default(),
            undescribed: RwLock::default(),
        })
    }

    /// Whose registrations these are.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.tenant
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
        let matches = |selectors: &BTreeSet<Selector>| selectors.is_subset(&identity.selectors);
        let Registered { roles, users, .. } = &self.registered;
        let held = || roles.iter().filter(|entry| matches(&entry.selectors));
        let (guards, audiences) = (guarded(held()), audiences(held()));
        let roles: Vec<_> = held().map(|entry| (entry.role, entry.name.clone())).collect();
        let user = users.iter().find(|user| !user.selectors.is_empty() && matches(&user.selectors));
        let user = user.map(|user| user.name.clone());
        let registration = self.agent_of(identity)?;
        if registration.is_none() && roles.is_empty() && user.is_none() {
            let selectors = identity.selectors.iter().map(Selector::as_str).collect::<Vec<_>>().join(" ");
            return Err(Refusal::new(
                Reason::AgentNotRegistered,
                format!("no registered agent, user or role matches `{}`", identity.description),
            )
            .fix("register the caller: put some of these selectors under [[agents]]")
            .with("selectors", selectors));
        }
        let attested: Vec<_> = identity.selectors.iter().map(ToString::to_string).collect();
        let agent = registration.map(|registration| AgentCaller {
            facts: self.facts_of(&registration, &attested),
            attested,
            registration,
        });
        let tenant = agent.as_ref().map_or(&self.tenant, |agent| &agent.registration.tenant).clone();
        Ok(Caller { identity: identity.clone(), tenant, agent, user, roles, guards, audiences })
    }

    fn agent_of(&self, identity: &Identity) -> Result<Option<Arc<Registration>>, Refusal> {
        let all = &self.registered.agents;
        let matching = || all.iter().filter(|agent| agent.selectors.is_subset(&identity.selectors));
        let Some(most) = matching().map(|agent| agent.selectors.len()).max() else { return Ok(None) };
        let best: Vec<_> = matching().filter(|agent| agent.selectors.len() == most).collect();
        match best.as_slice() {
            [one] => Ok(self.agents.get(&one.id).cloned()),
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

    /// Every agent, as registered.
    pub(crate) fn agents(&self) -> &[Registration] {
        &self.registered.agents
    }

    /// The registration of an agent.
    pub(crate) fn agent(&self, tenant: &TenantId, id: &AgentId) -> Option<&Arc<Registration>> {
        self.agents.get(id).filter(|agent| agent.tenant == *tenant)
    }

    /// The resource as the operator described it, if they did.
    pub(crate) fn resource(&self, name: &ResourceName) -> Option<&ResourceEntry> {
        self.described.get(name).map(|(entry, _)| entry)
    }

    /// What policies know of an agent that is not calling. `attested` is what its evidence proved when it last did;
    /// `None`: what its registration demands counts, since a caller has to prove that much.
    pub(crate) fn agent_facts(
        &self,
        tenant: &TenantId,
        id: &AgentId,
        attested: Option<&[String]>,
    ) -> Option<AgentFacts> {
        let registration = self.agent(tenant, id)?;
        match attested {
            Some(attested) => self.facts_of(registration, attested),
            None => {
                let demanded: Vec<_> = registration.selectors.iter().map(ToString::to_string).collect();
                self.facts_of(registration, &demanded)
            }
        }
    }

    /// `None` for an agent without an owner: it never gets as far as a decision.
    fn facts_of(&self, registration: &Registration, attested: &[String]) -> Option<AgentFacts> {
        let owner = self.user_facts(registration.owner.as_ref()?.as_str());
        let groups = registration.groups.iter().map(GroupName::as_str);
        Some(AgentFacts::new(&registration.id, &owner, groups, &registration.labels, attested))
    }

    /// What policies know of a person, or of a program that starts tasks; of one that is not registered, the name.
    pub(crate) fn user_facts(&self, name: &str) -> UserFacts {
        self.users.get(name).cloned().unwrap_or_else(|| UserFacts::stranger(name))
    }

    /// Who is in a group and could act here, by name; at most so many as an approval freezes.
    pub(crate) fn members(&self, group: &GroupName) -> Vec<UserName> {
        let users = self.registered.users.iter();
        let can_act = users.filter(|user| !user.selectors.is_empty() && user.groups.contains(group));
        let names: BTreeSet<_> = can_act.map(|user| user.name.clone()).collect();
        names.into_iter().take(MAX_MEMBERS).collect()
    }

    /// What policies know of a resource; one that nobody described has no labels.
    pub(crate) fn resource_facts(&self, name: &ResourceName) -> ResourceFacts {
        if let Some((_, facts)) = self.described.get(name) {
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

/// What verifiers among `roles` guard together; `None`: any resource. Operators may look at all of it.
fn guarded<'a>(roles: impl Iterator<Item = &'a RoleEntry>) -> Option<BTreeSet<ResourceName>> {
    let mut guarded = BTreeSet::new();
    for entry in roles {
        match entry.role {
            Role::Operator => return None,
            Role::Orchestrator => {}
            Role::Verifier if entry.resources.is_empty() => return None,
            Role::Verifier => guarded.extend(entry.resources.iter().cloned()),
        }
    }
    Some(guarded)
}

/// The resources that verifiers among `roles` are.
fn audiences<'a>(roles: impl Iterator<Item = &'a RoleEntry>) -> BTreeSet<ResourceName> {
    let verifiers = roles.filter(|entry| entry.role == Role::Verifier);
    let named = |entry: &RoleEntry| match entry.resources.is_empty() {
        true => ResourceName::new(&entry.name).into_iter().collect(),
        false => entry.resources.clone(),
    };
    verifiers.flat_map(named).collect()
}

fn check(registered: &Registered) -> Result<(), RegistryError> {
    let mut names = BTreeSet::new();
    for agent in &registered.agents {
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
    if let Some(entry) = registered.roles.iter().find(|entry| entry.selectors.is_empty()) {
        return Err(RegistryError::NoSelectors(entry.name.clone()));
    }
    let mut people = BTreeSet::new();
    match registered.users.iter().find(|user| !people.insert(user.name.as_str().to_ascii_lowercase())) {
        Some(user) => Err(RegistryError::UserTwice(user.name.clone())),
        None => Ok(()),
    }
}
