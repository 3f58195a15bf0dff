//! A request that tests bend to what they are about.

use std::{collections::BTreeMap, time::Duration};
use taskpass_policy::{AgentFacts, Decision, Policies, Request, ResourceFacts, TaskFacts, UserFacts, Verb};
use taskpass_types::{
    ActionName, AgentId, Counters, CredentialKind, ResourceName, Revocability, TaskKind, Timestamp, ToolName,
    Ttl,
};

/// What is asked, by whom; change what matters.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) agent: &'static str,
    pub(crate) groups: &'static [&'static str],
    /// Of the agent's owner, who is maya@acme.test.
    pub(crate) owner_groups: &'static [&'static str],
    pub(crate) verb: Verb,
    pub(crate) resource: &'static str,
    pub(crate) sensitivity: Option<&'static str>,
    pub(crate) action: &'static str,
    pub(crate) kind: CredentialKind,
    pub(crate) ttl_secs: u64,
    pub(crate) bound: bool,
    pub(crate) initiator: &'static str,
    pub(crate) initiator_groups: &'static [&'static str],
    pub(crate) purpose: &'static str,
    pub(crate) depth: usize,
    /// Of the task, its value is its key.
    pub(crate) label: &'static str,
    pub(crate) attested_secs_ago: u64,
    pub(crate) now: Timestamp,
    pub(crate) counters: Counters,
    pub(crate) tool: Option<&'static str>,
    /// With the groups of the agent.
    pub(crate) delegate_to: Option<&'static str>,
    /// Of the delegate's owner, who is noor@acme.test.
    pub(crate) delegate_owner_groups: &'static [&'static str],
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            agent: "dev/maya",
            groups: &[],
            owner_groups: &[],
            verb: Verb::Issue,
            resource: "demo-api",
            sensitivity: None,
            action: "invoice:read",
            kind: CredentialKind::Jwt,
            ttl_secs: 600,
            bound: false,
            initiator: "orchestrator/scheduler",
            initiator_groups: &[],
            purpose: "close November",
            depth: 0,
            label: "month",
            attested_secs_ago: 5,
            // Tuesday, 2024-12-03T18:45:09Z.
            now: Timestamp::from_secs(1_733_251_509),
            counters: Counters::default(),
            tool: None,
            delegate_to: None,
            delegate_owner_groups: &[],
        }
    }
}

impl Ask {
    /// Puts the question.
    pub(crate) fn of(&self, policies: &Policies) -> Decision {
        self.put(|request| policies.decide(request))
    }

    /// Builds the request, for whatever is to be done with it.
    pub(crate) fn put<T>(&self, answer: impl FnOnce(&Request<'_>) -> T) -> T {
        let labels = BTreeMap::from([("team".to_owned(), "fin".to_owned())]);
        let attested = ["unix:uid:1000".to_owned()];
        let owner = UserFacts::new("maya@acme.test", self.owner_groups.iter().copied(), &labels);
        let noor = UserFacts::new("noor@acme.test", self.delegate_owner_groups.iter().copied(), &labels);
        let agent = |id: &str, owner: &UserFacts, attested: &[String]| {
            let id = AgentId::new(id).unwrap();
            AgentFacts::new(&id, owner, self.groups.iter().copied(), &labels, attested)
        };
        let name = ResourceName::new(self.resource).unwrap();
        let initiator = UserFacts::new(self.initiator, self.initiator_groups.iter().copied(), &labels);
        let task_labels = BTreeMap::from([(self.label.to_owned(), self.label.to_owned())]);
        let task = TaskFacts::new(
            &TaskKind::new("close-books").unwrap(),
            self.purpose,
            &initiator,
            self.depth,
            &task_labels,
            self.sensitivity,
        );
        answer(&Request {
            agent: &agent(self.agent, &owner, &attested),
            verb: self.verb,
            resource: &ResourceFacts::new(&name, &labels, Some("prod"), self.sensitivity),
            action: &ActionName::new(self.action).unwrap(),
            kind: self.kind,
            revocability: Revocability::Bounded,
            ttl: Ttl::from_secs(self.ttl_secs).unwrap(),
            bound: self.bound,
            task: &task,
            attestation_age: Duration::from_secs(self.attested_secs_ago),
            now: self.now,
            counters: self.counters,
            tool: self.tool.map(|tool| ToolName::new(tool).unwrap()).as_ref(),
            delegate_to: self.delegate_to.map(|id| agent(id, &noor, &[])).as_ref(),
        })
    }
}

/// One file of policies.
pub(crate) fn policies(text: &str) -> Policies {
    Policies::from_sources([("p.cedar", text)]).unwrap()
}
