//! The question that is put to the policies: may this agent do this, for this scope, under this task?

use crate::{
    facts::{AgentFacts, ResourceFacts, TaskFacts, UserFacts},
    moment::Moment,
    plain::Plain,
    reads::{Attribute, RECORDS, Reads},
    schema,
};
use cedar_policy::{Context, Entities, EntityUid, RestrictedExpression as Value};
use std::{fmt, sync::LazyLock, time::Duration};
use taskpass_types::{ActionName, Counters, CredentialKind, Revocability, Timestamp, ToolName, Ttl};

/// What would be done with a credential; Cedar's action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// One tool call, before it is made.
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

    /// The verb that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
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
    /// The task that it is for; the parent, when it is delegated.
    pub task: &'a TaskFacts,
    /// How long ago the agent was attested.
    pub attestation_age: Duration,
    /// When it is asked.
    pub now: Timestamp,
    /// What the root task and everything below it has used so far.
    pub counters: Counters,
    /// The tool that would be called.
    pub tool: Option<&'a ToolName>,
    /// The agent that would hold the child task. When it is the agent itself, what is known of that counts.
    pub delegate_to: Option<&'a AgentFacts>,
}

impl<'a> Request<'a> {
    /// The question in Cedar's terms, with no more of the context than is read. No schema is consulted: the types of the
    /// fields leave nothing to check, which a test asserts.
    pub(crate) fn question(self, reads: Reads) -> Result<cedar_policy::Request, String> {
        let context = self.context(reads).map_err(|error| error.to_string())?;
        let principal = self.agent.entity().uid();
        let resource = self.resource.entity().uid();
        cedar_policy::Request::new(principal, self.verb.uid().clone(), resource, context, None)
            .map_err(|error| error.to_string())
    }

    /// The entities that policies which read so much can come to.
    pub(crate) fn entities(self, reads: Reads) -> Result<Entities, String> {
        let (initiator, delegate) = self.others(reads);
        let known = [self.agent.entity(), self.agent.owner().entity(), self.resource.entity()];
        let delegate = delegate.into_iter().flat_map(|agent| [agent.entity(), agent.owner().entity()]);
        let others = initiator.map(|user| user.entity()).into_iter().chain(delegate);
        Entities::from_entities(known.into_iter().chain(others).cloned(), None)
            .map_err(|error| error.to_string())
    }

    /// Those besides the agent and the resource of whom policies which read so much can ask something.
    pub(crate) fn others(self, reads: Reads) -> (Option<&'a UserFacts>, Option<&'a AgentFacts>) {
        let initiator = reads.contains(Attribute::Initiator).then(|| &self.task.get().initiator);
        let delegate = self
            .delegate_to
            .filter(|agent| reads.contains(Attribute::DelegateTo) && agent.id() != self.agent.id());
        (initiator, delegate)
    }

    fn context(self, reads: Reads) -> Result<Context, String> {
        let mut outer: Vec<(String, Value)> = Vec::new();
        for record in [None].into_iter().chain(RECORDS.map(Some)) {
            let within = reads.iter().filter(|attribute| attribute.place().0 == record).collect::<Vec<_>>();
            let fields = within.iter().filter_map(|attribute| {
                Some((attribute.place().1.to_owned(), self.get(*attribute)?.cedar()))
            });
            match record {
                None => outer.extend(fields),
                Some(_) if within.is_empty() => {}
                Some(record) => {
                    let fields = Value::new_record(fields).map_err(|error| error.to_string())?;
                    outer.push((record.to_owned(), fields));
                }
            }
        }
        Context::from_pairs(outer).map_err(|error| error.to_string())
    }

    /// What an attribute of the context holds; `None` when it is not there.
    pub(crate) fn get(self, attribute: Attribute) -> Option<Plain<'a>> {
        let task = self.task.get();
        let moment = Moment::of(self.now);
        Some(match attribute {
            Attribute::Action => Plain::Text(self.action.as_str()),
            Attribute::AttestationAge => Plain::count(self.attestation_age.as_secs()),
            Attribute::Bound => Plain::Bool(self.bound),
            Attribute::Credentials => Plain::count(self.counters.credentials),
            Attribute::Live => Plain::count(self.counters.live),
            Attribute::ToolCalls => Plain::count(self.counters.tool_calls),
            Attribute::DelegateTo => Plain::Agent(self.delegate_to?),
            Attribute::Kind => Plain::Text(self.kind.as_str()),
            Attribute::Hour => Plain::count(moment.hour),
            Attribute::Minute => Plain::count(moment.minute),
            Attribute::UnixSeconds => Plain::count(moment.unix_seconds),
            Attribute::Weekday => Plain::Text(moment.weekday),
            Attribute::Revocability => Plain::Text(self.revocability.as_str()),
            Attribute::Depth => Plain::count(task.depth),
            Attribute::Initiator => Plain::User(&task.initiator),
            Attribute::TaskKind => Plain::Text(task.kind.as_str()),
            Attribute::Labels => Plain::Texts(&task.labels),
            Attribute::Purpose => Plain::Text(&task.purpose),
            Attribute::Sensitivity => Plain::Text(task.sensitivity.as_deref()?),
            Attribute::Tool => Plain::Text(self.tool?.as_str()),
            Attribute::Ttl => Plain::count(self.ttl.as_secs()),
        })
    }
}
