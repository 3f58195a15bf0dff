//! A caller: an attested identity and what it is registered as here.

use crate::registry::Registration;
use std::{collections::BTreeSet, sync::Arc};
use taskpass_attest::Identity;
use taskpass_audit::Actor;
use taskpass_policy::AgentFacts;
use taskpass_types::{AgentId, Owner, Reason, Refusal, ResourceName, TenantId, UserName};

/// What a caller may be besides an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Lists, kills, releases, reads the audit log.
    Operator,
    /// Starts tasks for agents and ends them.
    Orchestrator,
    /// Follows the deny feed.
    Verifier,
}

impl Role {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Orchestrator => "orchestrator",
            Self::Verifier => "verifier",
        }
    }
}

/// An attested identity and what it is registered as. Never empty: it is an agent, or a person, or has a role.
#[derive(Debug)]
pub struct Caller {
    /// The evidence, verified.
    pub identity: Arc<Identity>,
    /// The tenant that it acts in.
    pub tenant: TenantId,
    /// The agent.
    pub(crate) agent: Option<AgentCaller>,
    /// The person.
    pub(crate) user: Option<UserName>,
    /// The roles, with the name that each is registered under.
    pub(crate) roles: Vec<(Role, String)>,
    /// The resources whose feed it may follow as a verifier; `None`: any.
    pub(crate) guards: Option<BTreeSet<ResourceName>>,
    /// The resources that it is as a verifier: whose tokens it may ask about.
    pub(crate) audiences: BTreeSet<ResourceName>,
}

/// The agent that a caller is.
#[derive(Debug)]
pub(crate) struct AgentCaller {
    pub(crate) registration: Arc<Registration>,
    /// What its evidence proved.
    pub(crate) attested: Vec<String>,
    /// `None` without an owner.
    pub(crate) facts: Option<AgentFacts>,
}

impl Caller {
    /// The agent's name, if it is one.
    pub fn agent(&self) -> Option<&AgentId> {
        self.agent.as_ref().map(|agent| &agent.registration.id)
    }

    /// Who answers for the agent, if it is one and someone does.
    pub fn owner(&self) -> Option<&Owner> {
        self.agent.as_ref().and_then(|agent| agent.registration.owner.as_ref())
    }

    /// The person's name, if it is one.
    pub fn user(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    /// What the agent's evidence proved, for the record of what was decided.
    pub(crate) fn attested(&self) -> Vec<String> {
        self.agent.as_ref().map(|agent| agent.attested.clone()).unwrap_or_default()
    }

    /// The roles besides that of an agent.
    pub fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        self.roles.iter().map(|(role, _)| *role)
    }

    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles().any(|has| has == role)
    }

    /// The agent, if someone answers for it.
    ///
    /// # Errors
    /// `NOT_PERMITTED` for who is no agent, `AGENT_WITHOUT_OWNER`.
    pub(crate) fn owned_agent(&self) -> Result<(&AgentId, &AgentFacts), Refusal> {
        let agent = self.agent.as_ref().ok_or_else(|| {
            Refusal::new(Reason::NotPermitted, "only a registered agent can hold credentials")
                .fix("register the caller under [[agents]]")
        })?;
        agent.registration.owned()?;
        let facts = agent
            .facts
            .as_ref()
            .ok_or_else(|| Refusal::new(Reason::Internal, "an owned agent has no facts"))?;
        Ok((&agent.registration.id, facts))
    }

    /// # Errors
    /// `NOT_PERMITTED` for who has none of `roles`.
    pub fn require(&self, roles: &[Role]) -> Result<(), Refusal> {
        if self.roles().any(|has| roles.contains(&has)) {
            return Ok(());
        }
        let needed = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
        Err(Refusal::new(Reason::NotPermitted, format!("this needs the role {needed}"))
            .fix(format!("register the caller as {needed} in the broker's configuration"))
            .with("role", needed))
    }

    /// The role that it follows the feed as, and its name there, if it may learn what is denied at `resource`; `None`:
    /// everywhere.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, also for a verifier of other resources.
    pub(crate) fn require_guard(&self, resource: Option<&ResourceName>) -> Result<&str, Refusal> {
        let roles = [Role::Verifier, Role::Operator];
        self.require(&roles)?;
        let named = self.roles.iter().find_map(|(role, name)| roles.contains(role).then_some(name.as_str()));
        match (&self.guards, resource) {
            (None, _) => {}
            (Some(guarded), Some(resource)) if guarded.contains(resource) => {}
            (Some(guarded), asked) => {
                let asked = asked.map_or_else(|| "every resource".to_owned(), |name| format!("`{name}`"));
                let list = guarded.iter().map(ResourceName::as_str).collect::<Vec<_>>().join(", ");
                return Err(Refusal::new(
                    Reason::NotPermitted,
                    format!("this verifier guards {list}, and asks for {asked}"),
                )
                .fix("ask for what it guards, or add the resource to its entry under [[verifiers]]")
                .with("resources", list));
            }
        }
        Ok(named.unwrap_or_default())
    }

    /// The caller in the audit log, acting on a task that `holder` holds: as agent on its own, else by its role.
    pub(crate) fn actor(&self, holder: Option<&AgentId>) -> Actor {
        match (self.agent(), self.roles.first()) {
            (Some(agent), None) => Actor::Agent(agent.clone()),
            (Some(agent), Some(_)) if holder == Some(agent) => Actor::Agent(agent.clone()),
            (_, Some((Role::Operator, name))) => Actor::Operator(name.clone()),
            (_, Some((Role::Orchestrator, name))) => Actor::Orchestrator(name.clone()),
            _ => match &self.user {
                Some(user) => Actor::User(user.clone()),
                None => Actor::Peer(self.identity.description.clone()),
            },
        }
    }
}
