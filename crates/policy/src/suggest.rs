//! The smallest permit that would allow what was denied, for an operator to read, tighten and paste.
//!
//! Invariants: a suggested policy was added to the set, and the request decided again, before it is shown; names are
//! written by Cedar's own escaping, so that none of them can end a text and go on as policy.

use crate::{
    decide::Verdict,
    explain,
    policies::Policies,
    request::{Request, Verb},
    rule::PolicyName,
};
use cedar_policy::{EntityId, EntityUid};
use std::fmt;

/// What would have to change for a request to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// Nothing: it is allowed.
    Nothing,
    /// One more policy: Cedar text, which allows exactly this agent, verb, resource and action.
    Permit(String),
    /// No permit can help.
    Blocked {
        /// The policies that forbid it or that cannot be evaluated.
        by: Vec<PolicyName>,
        /// Which forbids it and which cannot be evaluated: lower case, no full stop.
        why: String,
    },
}

/// How many characters of the parts go into an `@id`; with a number behind it is still short enough for one.
const MAX_ID_CHARS: usize = 80;
/// How many names are tried before there is no suggestion.
const MAX_TRIES: usize = 1000;

impl Suggestion {
    pub(crate) fn of(policies: &Policies, request: &Request<'_>) -> Self {
        let verdict = Verdict::ask(policies, request);
        if verdict.allows() {
            return Self::Nothing;
        }
        if !verdict.errors.is_empty() || !verdict.forbids.is_empty() {
            let why = explain::explain(policies, request, &verdict).why;
            return Self::Blocked { by: verdict.determining(), why };
        }
        match permit(policies, request) {
            Ok(text) => Self::Permit(text),
            Err(why) => Self::Blocked { by: Vec::new(), why },
        }
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing to add: it is allowed"),
            Self::Permit(text) => f.write_str(text),
            Self::Blocked { why, .. } => write!(f, "no permit can help: {why}"),
        }
    }
}

/// The permit, checked; or why there is none.
fn permit(policies: &Policies, request: &Request<'_>) -> Result<String, String> {
    let id = unused(&id(request), |name| policies.iter().all(|policy| policy.name.id() != Some(name)))?;
    let file = unused("suggestion", |name| policies.sources().all(|(file, _)| file != name))?;
    let text = text(&id, request);
    let sources = policies.sources().chain([(file.as_str(), text.as_str())]);
    let extended = Policies::from_sources(sources).map_err(|error| error.to_string())?;
    let decision = extended.decide(request);
    if decision.allows() { Ok(text) } else { Err(decision.explanation.why) }
}

fn text(id: &str, request: &Request<'_>) -> String {
    let uid = |uid: &EntityUid| uid.to_string();
    format!(
        "@id({})\npermit (\n    principal == {},\n    action == {},\n    resource == {}\n)\nwhen {{ context.action == {} }};\n",
        quoted(id),
        uid(&request.agent.entity().uid()),
        uid(request.verb.uid()),
        uid(&request.resource.entity().uid()),
        quoted(request.action.as_str()),
    )
}

/// A text as Cedar writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", EntityId::new(text).escaped())
}

/// `ci-bot-may-issue-invoice-read`.
fn id(request: &Request<'_>) -> String {
    let verb = match request.verb {
        Verb::CallTool => "call-a-tool-for",
        verb => verb.as_str(),
    };
    let words =
        format!("{}-may-{verb}-{}-on-{}", request.agent.id(), request.action, request.resource.name());
    words.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(MAX_ID_CHARS).collect()
}

/// The name, or with a number behind it the first that is free.
fn unused(name: &str, is_free: impl Fn(&str) -> bool) -> Result<String, String> {
    let numbered = (2..MAX_TRIES).map(|number| format!("{name}-{number}"));
    let mut names = [name.to_owned()].into_iter().chain(numbered);
    names.find(|name| is_free(name)).ok_or_else(|| format!("too many policies are called `{name}`"))
}
