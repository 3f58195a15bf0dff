//! The question that is put to the policies: may this agent do this, for this scope, under this task?

use crate::{
    facts::{AgentFacts, ResourceFacts, TaskFacts, text},
    schema,
};
use cedar_policy::{Context, Entities, EntityUid, RestrictedExpression as Value};
use std::{fmt, sync::LazyLock, time::Duration};
use taskpass_types::{ActionName, CredentialKind, Revocability, Ttl};

/// What would be done with a credential; Cedar's action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// A resource server reports one tool call.
    CallTool,
    /// A child task may hold the scope.
    Delegate,
    /// A new credential.
    Issue,
    /// The same lease goes on.
    Renew,
}

impl Verb {
    /// Every verb, for tables and tests.
    pub const ALL: [Self; 4] = [Self::CallTool, Self::Delegate, Self::Issue, Self::Renew];

    /// The word, as in `Action::"issue"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallTool => "call_tool",
            Self::Delegate => "delegate",
            Self::Issue => "issue",
            Self::Renew => "renew",
        }
    }

    pub(crate) fn uid(self) -> &'static EntityUid {
        static UIDS: LazyLock<[EntityUid; 4]> =
            LazyLock::new(|| Verb::ALL.map(|verb| schema::action(verb.as_str())));
        let [call_tool, delegate, issue, renew] = &*UIDS;
        match self {
            Self::CallTool => call_tool,
            Self::Delegate => delegate,
            Self::Issue => issue,
            Self::Renew => renew,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One scope to decide on, with all that policies may ask about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who.
    pub agent: &'a AgentFacts,
    /// What would be done with the credential.
    pub verb: Verb,
    /// The scope's resource.
    pub resource: &'a ResourceFacts,
    /// The scope's action.
    pub action: &'a ActionName,
    /// The kind of credential.
    pub kind: CredentialKind,
    /// What that kind promises about its death.
    pub revocability: Revocability,
    /// How long the credential would live.
    pub ttl: Ttl,
    /// Whether it is bound to a key that its holder must prove.
    pub bound: bool,
    /// The task that it is for.
    pub task: &'a TaskFacts,
    /// How long ago the agent was attested.
    pub attestation_age: Duration,
}

impl Request<'_> {
    /// The question in Cedar's terms. No schema is consulted: the types of the fields leave nothing to check, which a
    /// test asserts.
    pub(crate) fn question(self) -> Result<cedar_policy::Request, String> {
        let context = Context::from_pairs(self.context()).map_err(|error| error.to_string())?;
        let principal = self.agent.entity().uid();
        let resource = self.resource.entity().uid();
        cedar_policy::Request::new(principal, self.verb.uid().clone(), resource, context, None)
            .map_err(|error| error.to_string())
    }

    /// The entities that the question speaks of.
    pub(crate) fn entities(self) -> Result<Entities, String> {
        let entities = [self.agent.entity().clone(), self.resource.entity().clone()];
        Entities::from_entities(entities, None).map_err(|error| error.to_string())
    }

    fn context(self) -> [(String, Value); 7] {
        let age = i64::try_from(self.attestation_age.as_secs()).unwrap_or(i64::MAX);
        [
            ("action".to_owned(), text(self.action.as_str())),
            ("attestation_age_seconds".to_owned(), Value::new_long(age)),
            ("bound".to_owned(), Value::new_bool(self.bound)),
            ("kind".to_owned(), text(self.kind.as_str())),
            ("revocability".to_owned(), text(self.revocability.as_str())),
            ("task".to_owned(), self.task.value()),
            ("ttl_seconds".to_owned(), Value::new_long(i64::from(self.ttl.as_secs()))),
        ]
    }
}
