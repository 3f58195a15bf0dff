//! Whether one thing that is out would be allowed now, given all that a sweep keeps ready.

use super::{rule::Trigger, sweep::Cause};
use crate::{
    decide::{Question, task_facts},
    registry::Registry,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use taskpass_lease::{Lease, Task};
use taskpass_policy::{AgentFacts, Class, Decision, Policies, TaskFacts, Verb};
use taskpass_types::{
    ActionName, AgentId, CredentialKind, Obligations, ResourceName, Revocability, TaskId, TenantId,
    Timestamp, Ttl,
};

/// How something that is out stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It would be allowed as it is.
    Allowed,
    /// It would not be allowed.
    Denied {
        /// What happened.
        when: Trigger,
        /// Why, in words.
        why: String,
    },
    /// It would be allowed, for at most this long.
    Narrowed(Ttl),
}

/// What decides, and what of it was worked out already. Everything here is bounded by the sweep that owns it.
pub(super) struct Judge {
    policies: Arc<Policies>,
    registry: Arc<Registry>,
    cause: Cause,
    /// By class and, because the sentence of a denial names it, by action.
    decisions: HashMap<(Class, ActionName), Arc<Decision>>,
    agents: HashMap<(AgentId, Vec<String>), Option<AgentFacts>>,
    tasks: HashMap<TaskId, TaskFacts>,
}

/// How many decisions and facts are kept ready; when there are more, all are dropped, for they are quick to make.
const KEPT: usize = 100_000;

impl Judge {
    pub(super) fn new(policies: Arc<Policies>, registry: Arc<Registry>, cause: Cause) -> Self {
        Self {
            policies,
            registry,
            cause,
            decisions: HashMap::new(),
            agents: HashMap::new(),
            tasks: HashMap::new(),
        }
    }

    /// A live lease under its task.
    pub(super) fn lease(&mut self, lease: &Lease, task: &Task, now: Timestamp) -> Standing {
        let Some(agent) = lease.agent() else { return Standing::Allowed };
        if let Some(denied) = self.agent_denied(&lease.tenant, agent) {
            return denied;
        }
        let Some(facts) = self.facts(&lease.tenant, agent, Some(&lease.attested)) else {
            return Standing::Allowed;
        };
        let actions: BTreeSet<_> = lease.actions.iter().cloned().collect();
        let task = self.task_facts(task);
        let question = Question {
            agent: &facts,
            verb: Verb::Issue,
            task: &task,
            counters: lease.counters,
            resource: &lease.resource,
            actions: &actions,
            kind: lease.kind,
            revocability: lease.revocability,
            ttl: lease.requested_ttl,
            bound: lease.confirmation.is_some(),
            attestation_age: Duration::from_secs(lease.attestation_age_secs.into()),
            tool: None,
            delegate_to: None,
            now,
        };
        match self.decide(&question) {
            Ok(obligations) => self.owed(lease, &obligations),
            Err(why) => Standing::Denied { when: self.blamed(&lease.tenant, agent, &lease.resource), why },
        }
    }

    /// A task that runs, under its parent if it has one: the parent's holder must still be allowed to hand on each scope.
    pub(super) fn task(&mut self, task: &Task, parent: Option<&Task>, now: Timestamp) -> Standing {
        let Some(agent) = task.agent() else { return Standing::Allowed };
        if let Some(denied) = self.agent_denied(&task.tenant, agent) {
            return denied;
        }
        let Some(parent) = parent else { return Standing::Allowed };
        let Some(giver) = parent.agent() else { return Standing::Allowed };
        let Some(facts) = self.facts(&task.tenant, giver, None) else { return Standing::Allowed };
        let to = self.facts(&task.tenant, agent, None);
        let (ttl, under) = (task.deadline.since(task.created_at), self.task_facts(parent));
        for scope in &task.scopes {
            let question = Question {
                agent: &facts,
                verb: Verb::Delegate,
                task: &under,
                counters: Default::default(),
                resource: &scope.resource,
                actions: &[scope.action.clone()].into(),
                kind: CredentialKind::Jwt,
                revocability: Revocability::Bounded,
                ttl: Ttl::nearest(ttl),
                bound: true,
                attestation_age: Duration::ZERO,
                tool: None,
                delegate_to: to.as_ref(),
                now,
            };
            if let Err(why) = self.decide(&question) {
                return Standing::Denied { when: self.blamed(&task.tenant, giver, &scope.resource), why };
            }
        }
        Standing::Allowed
    }

    /// What the registry alone says against an agent.
    fn agent_denied(&self, tenant: &TenantId, agent: &AgentId) -> Option<Standing> {
        let (when, why) = match self.registry.agent(tenant, agent) {
            None => (Trigger::Agent, format!("agent `{agent}` is no longer registered")),
            Some(registration) if registration.suspended => {
                (Trigger::Agent, format!("agent `{agent}` is suspended"))
            }
            Some(registration) if registration.owner.is_none() => {
                (Trigger::Owner, format!("nobody answers for agent `{agent}` any more"))
            }
            Some(_) => return None,
        };
        Some(Standing::Denied { when, why })
    }

    /// The strictest obligations of all actions; or why one of them is denied.
    fn decide(&mut self, question: &Question<'_>) -> Result<Obligations, String> {
        let resource = self.registry.resource_facts(question.resource);
        let mut all = Obligations::default();
        for action in question.actions {
            let request = question.request(&resource, action);
            let class = (self.policies.class(&request), action.clone());
            let decision = match self.decisions.get(&class) {
                Some(decision) => decision.clone(),
                None => {
                    bound(&mut self.decisions);
                    let decision = Arc::new(self.policies.decide(&request));
                    self.decisions.insert(class, decision.clone());
                    decision
                }
            };
            if !decision.allows() {
                return Err(decision.explanation.why.clone());
            }
            all.and(&decision.obligations);
        }
        Ok(all)
    }

    /// Whether a lease that would be allowed also keeps to what the permission would now be tied to.
    fn owed(&self, lease: &Lease, obligations: &Obligations) -> Standing {
        let denied = |why: String| Standing::Denied { when: self.cause.trigger(), why };
        if obligations.revocability.is_some_and(|least| lease.revocability < least) {
            return denied("policy now wants a credential that can be revoked sooner".to_owned());
        }
        if obligations.bound && lease.confirmation.is_none() {
            return denied("policy now wants a credential that is bound to a key".to_owned());
        }
        if !obligations.approvals.is_empty() && lease.approval.is_none() {
            return denied("policy now wants people to approve this, and nobody has".to_owned());
        }
        match obligations.max_ttl {
            Some(max) if lease.expires_at > lease.issued_at.plus(max.as_duration()) => {
                Standing::Narrowed(max)
            }
            _ => Standing::Allowed,
        }
    }

    /// What a denial is put down to: a change of what the registry says of agent or resource, if that is what happened.
    fn blamed(&self, tenant: &TenantId, agent: &AgentId, resource: &ResourceName) -> Trigger {
        let Cause::Registry(before) = &self.cause else { return self.cause.trigger() };
        if before.resource(resource) != self.registry.resource(resource) {
            return Trigger::Resource;
        }
        if before.agent(tenant, agent) != self.registry.agent(tenant, agent) {
            return Trigger::Agent;
        }
        Trigger::Policy
    }

    fn facts(
        &mut self,
        tenant: &TenantId,
        agent: &AgentId,
        attested: Option<&[String]>,
    ) -> Option<AgentFacts> {
        let key = (agent.clone(), attested.unwrap_or_default().to_vec());
        if let Some(known) = self.agents.get(&key) {
            return known.clone();
        }
        bound(&mut self.agents);
        let facts = self.registry.agent_facts(tenant, agent, attested);
        self.agents.insert(key, facts.clone());
        facts
    }

    fn task_facts(&mut self, task: &Task) -> TaskFacts {
        if let Some(known) = self.tasks.get(&task.id) {
            return known.clone();
        }
        bound(&mut self.tasks);
        let facts = task_facts(task, &self.registry);
        self.tasks.insert(task.id, facts.clone());
        facts
    }
}

fn bound<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= KEPT {
        map.clear();
    }
}
