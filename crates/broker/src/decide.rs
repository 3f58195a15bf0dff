//! Deciding: every action on its own, by the policies and the registry that are given. Nothing is written here.

use crate::registry::Registry;
use std::{collections::BTreeSet, time::Duration};
use taskpass_audit::{Event, Inputs};
use taskpass_lease::Task;
use taskpass_policy::{AgentFacts, Decision, Policies, Request, ResourceFacts, TaskFacts, Verb, annotations};
use taskpass_types::{
    ActionName, Counters, CredentialKind, DecisionId, Obligations, PolicyRevision, Refusal, ResourceName,
    Revocability, Timestamp, ToolName, Ttl,
};

/// What is to be decided: all actions on one resource for one credential, child task or tool call.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) agent: &'a AgentFacts,
    pub(crate) verb: Verb,
    pub(crate) task: &'a TaskFacts,
    pub(crate) counters: Counters,
    pub(crate) resource: &'a ResourceName,
    pub(crate) actions: &'a BTreeSet<ActionName>,
    pub(crate) kind: CredentialKind,
    pub(crate) revocability: Revocability,
    pub(crate) ttl: Ttl,
    pub(crate) bound: bool,
    pub(crate) attestation_age: Duration,
    pub(crate) tool: Option<&'a ToolName>,
    pub(crate) delegate_to: Option<&'a AgentFacts>,
    pub(crate) now: Timestamp,
}

/// What was decided.
pub(crate) struct Decided {
    pub(crate) id: DecisionId,
    pub(crate) revision: PolicyRevision,
    resource: ResourceName,
    actions: Vec<ActionName>,
    kind: Option<CredentialKind>,
    ttl: Ttl,
    /// The policies that made it so.
    pub(crate) policies: Vec<String>,
    /// The strictest of all actions; of a denial, at most what it leads to.
    pub(crate) obligations: Obligations,
    pub(crate) inputs: Inputs,
    /// Why; of the first action that is denied, if one is.
    pub(crate) why: String,
    /// `None`: every action is allowed.
    pub(crate) denial: Option<Refusal>,
}

impl Question<'_> {
    /// Decides every action on its own; one denial denies all, and says which and why.
    pub(crate) fn decide(&self, policies: &Policies, registry: &Registry) -> Decided {
        let resource = registry.resource_facts(self.resource);
        let credential = matches!(self.verb, Verb::Issue | Verb::Renew);
        let mut decided = Decided {
            id: DecisionId::new(),
            revision: policies.revision().clone(),
            resource: self.resource.clone(),
            actions: self.actions.iter().cloned().collect(),
            kind: credential.then_some(self.kind),
            ttl: self.ttl,
            policies: Vec::new(),
            obligations: Obligations::default(),
            inputs: self.inputs(),
            why: String::new(),
            denial: None,
        };
        for action in self.actions {
            let decision = policies.decide(&self.request(&resource, action));
            decided.add(&decision);
            if decided.denial.is_some() {
                break;
            }
        }
        decided.policies.sort_unstable();
        decided.policies.dedup();
        decided
    }

    /// The question about one action, in the terms of policy.
    pub(crate) fn request<'b>(&'b self, resource: &'b ResourceFacts, action: &'b ActionName) -> Request<'b> {
        Request {
            agent: self.agent,
            verb: self.verb,
            resource,
            action,
            kind: self.kind,
            revocability: self.revocability,
            ttl: self.ttl,
            bound: self.bound,
            task: self.task,
            attestation_age: self.attestation_age,
            now: self.now,
            counters: self.counters,
            tool: self.tool,
            delegate_to: self.delegate_to,
        }
    }

    /// What the audit log keeps of the question beyond its other details.
    pub(crate) fn inputs(&self) -> Inputs {
        Inputs {
            verb: self.verb.as_str(),
            attestation_age_secs: u32::try_from(self.attestation_age.as_secs()).unwrap_or(u32::MAX),
            bound: self.bound,
            counters: self.counters,
        }
    }
}

impl Decided {
    fn add(&mut self, decision: &Decision) {
        self.policies.extend(decision.determining.iter().map(ToString::to_string));
        self.obligations.and(&decision.obligations);
        if self.denial.is_none() {
            self.why.clone_from(&decision.explanation.why);
        }
        self.denial = decision.refusal().map(|refusal| refusal.with("decision", self.id));
    }

    /// Adds what was decided about more of the same request: the strictest holds.
    pub(crate) fn join(&mut self, other: Self) {
        self.policies.extend(other.policies);
        self.policies.sort_unstable();
        self.policies.dedup();
        self.obligations.and(&other.obligations);
    }

    /// # Errors
    /// The denial, with the decision behind it, for the audit log.
    pub(crate) fn allowed(mut self) -> Result<Self, Failure> {
        match self.denial.take() {
            None => Ok(self),
            Some(refusal) => Err(Failure { refusal, decided: Some(Box::new(self)) }),
        }
    }

    /// Adds what was decided to an event: all that it takes to decide it again.
    pub(crate) fn describe(&self, event: Event) -> Event {
        self.kind
            .into_iter()
            .fold(event, Event::kind)
            .resource(&self.resource)
            .actions(&self.actions)
            .ttl(self.ttl)
            .decision(self.id)
            .policies(&self.policies)
            .policy_revision(&self.revision)
            .obligations(obligations(&self.obligations))
            .inputs(self.inputs)
    }
}

/// Something was refused; with the decision that did, when it was policy.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    pub(crate) decided: Option<Box<Decided>>,
}

impl Failure {
    /// Adds what was decided, if policy was asked, to an event.
    pub(crate) fn describe(&self, event: Event) -> Event {
        match &self.decided {
            Some(decided) => decided.describe(event),
            None => event,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, decided: None }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        failure.refusal
    }
}

/// What policies know of a task.
pub(crate) fn task_facts(task: &Task, registry: &Registry) -> TaskFacts {
    let Task { kind, purpose, initiator, path, labels, sensitivity, .. } = task;
    let initiator = registry.user_facts(initiator.as_str());
    TaskFacts::new(kind, purpose, &initiator, path.depth(), labels, sensitivity.as_deref())
}

/// Obligations in words, each `name value`, as policies write them.
pub(crate) fn obligations(obligations: &Obligations) -> Vec<String> {
    annotations(obligations).map(|(name, value)| format!("{name} {value}")).collect()
}
