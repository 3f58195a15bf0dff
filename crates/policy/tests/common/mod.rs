//! A request that tests bend to what they are about.

use std::{collections::BTreeMap, time::Duration};
use taskpass_policy::{AgentFacts, Decision, Policies, Request, ResourceFacts, TaskFacts, Verb};
use taskpass_types::{
    ActionName, AgentId, CredentialKind, Initiator, Owner, ResourceName, Revocability, TaskKind, Ttl,
};

/// What is asked, by whom; change what matters.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) agent: &'static str,
    pub(crate) groups: &'static [&'static str],
    pub(crate) verb: Verb,
    pub(crate) resource: &'static str,
    pub(crate) sensitivity: Option<&'static str>,
    pub(crate) action: &'static str,
    pub(crate) ttl_secs: u64,
    pub(crate) bound: bool,
    pub(crate) depth: usize,
    pub(crate) attested_secs_ago: u64,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            agent: "dev/maya",
            groups: &[],
            verb: Verb::Issue,
            resource: "demo-api",
            sensitivity: None,
            action: "invoice:read",
            ttl_secs: 600,
            bound: false,
            depth: 0,
            attested_secs_ago: 5,
        }
    }
}

impl Ask {
    /// Puts the question.
    pub(crate) fn of(&self, policies: &Policies) -> Decision {
        let groups: Vec<String> = self.groups.iter().map(ToString::to_string).collect();
        let labels = BTreeMap::from([("team".to_owned(), "fin".to_owned())]);
        let agent = AgentFacts::new(
            &AgentId::new(self.agent).unwrap(),
            &Owner::new("maya@acme.test").unwrap(),
            &groups,
            &labels,
            &["unix:uid:1000".to_owned()],
        );
        let resource = ResourceFacts::new(
            &ResourceName::new(self.resource).unwrap(),
            &labels,
            Some("prod"),
            self.sensitivity,
        );
        let initiator = Initiator::new("maya@acme.test").unwrap();
        let kind = TaskKind::new("close-books").unwrap();
        policies.decide(&Request {
            agent: &agent,
            verb: self.verb,
            resource: &resource,
            action: &ActionName::new(self.action).unwrap(),
            kind: CredentialKind::Jwt,
            revocability: Revocability::Bounded,
            ttl: Ttl::from_secs(self.ttl_secs).unwrap(),
            bound: self.bound,
            task: &TaskFacts::new(&kind, "close November", &initiator, self.depth, &labels),
            attestation_age: Duration::from_secs(self.attested_secs_ago),
        })
    }
}

/// One file of policies.
pub(crate) fn policies(text: &str) -> Policies {
    Policies::from_sources([("p.cedar", text)]).unwrap()
}
