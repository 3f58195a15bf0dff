//! From text to cases. Every mistake of every file is collected, and any mistake refuses the suite.

use super::{
    MAX_CASES,
    case::{Case, Expected},
    form,
};
use crate::{
    annotation::{self, Kind},
    decide::Effect,
    facts::{AgentFacts, ResourceFacts, TaskFacts, UserFacts},
    problem::{PolicyError, Position, Problem, one_line},
    request::Verb,
    source::{MAX_BYTES, Sources},
};
use serde_saphyr::{Location, MessageFormatter as _, Options, Spanned, UserMessageFormatter};
use std::collections::BTreeMap;
use taskpass_types::{AgentId, GroupName, Obligations, ResourceName, TaskKind, Ttl};

/// How much is kept of a parser's message, which can quote a file, and of a case's name.
const MAX_CHARS: usize = 200;
/// How deep a file may nest; the form needs 5.
const MAX_DEPTH: usize = 16;
/// How many scalars, lists and maps a file may have, those that its aliases repeat included.
const MAX_NODES: usize = 500_000;
/// How long a credential of a case lives that does not say: 5 minutes.
const DEFAULT_TTL_SECS: u64 = 300;

/// The owner of an agent that has none.
const NOBODY: &str = "nobody";
/// The kind of a task that has none.
const DEFAULT_KIND: &str = "task";

/// Reads all files.
pub(super) fn load(sources: &Sources) -> Result<Vec<Case>, PolicyError> {
    let mut cases = Vec::new();
    let mut problems = Vec::new();
    for (name, text) in sources.iter() {
        match parse(name, text) {
            Ok(form) => {
                let file = File { name, known: Known::of(name, &form.facts, &mut problems) };
                for case in form.cases {
                    match file.case(case) {
                        Ok(case) => cases.push(case),
                        Err(problem) => problems.push(problem),
                    }
                }
            }
            Err(problem) => problems.push(problem),
        }
        if cases.len() > MAX_CASES {
            let what = format!("with this file there are more than {MAX_CASES} cases");
            return Err(Problem::of_file(name, what).into());
        }
    }
    if problems.is_empty() { Ok(cases) } else { Err(PolicyError::new(problems)) }
}

fn parse(name: &str, text: &str) -> Result<form::File, Problem> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let what = one_line(&UserMessageFormatter.format_message(&error), MAX_CHARS);
        match error.location() {
            Some(location) => Problem::at(name, position(location), what),
            None => Problem::of_file(name, what),
        }
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES, max_total_scalar_bytes: MAX_BYTES },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
    }
}

fn position(location: Location) -> Position {
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
    Position { line: count(location.line()), column: count(location.column()) }
}

/// What a file knows.
struct Known {
    agents: BTreeMap<AgentId, AgentFacts>,
    users: BTreeMap<String, UserFacts>,
    resources: BTreeMap<ResourceName, ResourceFacts>,
}

impl Known {
    fn of(file: &str, facts: &form::Facts, problems: &mut Vec<Problem>) -> Self {
        let users = facts.users.iter().map(|(name, form::User { groups, labels })| {
            let groups = groups.iter().map(GroupName::as_str);
            (name.as_str().to_owned(), UserFacts::new(name.as_str(), groups, labels))
        });
        let resources = facts.resources.iter().map(|(name, resource)| {
            let form::Resource { labels, environment, sensitivity } = resource;
            let facts = ResourceFacts::new(name, labels, environment.as_deref(), sensitivity.as_deref());
            (name.clone(), facts)
        });
        let mut known =
            Self { agents: BTreeMap::new(), users: users.collect(), resources: resources.collect() };
        for (id, agent) in &facts.agents {
            let form::Agent { owner, groups, labels, attested } = agent;
            let owner = match owner {
                Some(owner) => {
                    known.user(file, owner.value.as_str(), owner.referenced).unwrap_or_else(|problem| {
                        problems.push(problem);
                        UserFacts::stranger(owner.value.as_str())
                    })
                }
                None => known.nobody(),
            };
            let facts = AgentFacts::new(id, &owner, groups.iter().map(GroupName::as_str), labels, attested);
            known.agents.insert(id.clone(), facts);
        }
        known
    }

    /// Who answers for an agent of which the file does not say it.
    fn nobody(&self) -> UserFacts {
        self.users.get(NOBODY).cloned().unwrap_or_else(|| UserFacts::stranger(NOBODY))
    }

    /// A user; a stranger when the file lists none.
    fn user(&self, file: &str, name: &str, at: Location) -> Result<UserFacts, Problem> {
        match self.users.get(name) {
            Some(user) => Ok(user.clone()),
            None if self.users.is_empty() => Ok(UserFacts::stranger(name)),
            None => Err(unlisted(file, at, "user", name, "users")),
        }
    }

    fn agent(&self, file: &str, id: &Spanned<AgentId>) -> Result<AgentFacts, Problem> {
        match self.agents.get(&id.value) {
            Some(agent) => Ok(agent.clone()),
            None if self.agents.is_empty() => {
                Ok(AgentFacts::new(&id.value, &self.nobody(), [], &BTreeMap::new(), &[]))
            }
            None => Err(unlisted(file, id.referenced, "agent", id.value.as_str(), "agents")),
        }
    }

    fn resource(&self, file: &str, name: &Spanned<ResourceName>) -> Result<ResourceFacts, Problem> {
        match self.resources.get(&name.value) {
            Some(resource) => Ok(resource.clone()),
            None if self.resources.is_empty() => {
                Ok(ResourceFacts::new(&name.value, &BTreeMap::new(), None, None))
            }
            None => Err(unlisted(file, name.referenced, "resource", name.value.as_str(), "resources")),
        }
    }
}

fn unlisted(file: &str, at: Location, noun: &str, name: &str, list: &str) -> Problem {
    let what = format!("{noun} `{name}` is not in `facts.{list}`");
    Problem::at(file, position(at), what).help("correct the name, or list it with what is known of it")
}

/// A file while its cases are read.
struct File<'a> {
    name: &'a str,
    known: Known,
}

impl File<'_> {
    fn case(
        &self,
        Spanned { value: form, referenced: at, .. }: Spanned<form::Case>,
    ) -> Result<Case, Problem> {
        let verb = form.verb.0;
        if let Some(tool) = form.tool.as_ref().filter(|_| verb != Verb::CallTool) {
            return Err(self.misplaced(tool.referenced, "tool", Verb::CallTool));
        }
        if let Some(delegate) = form.delegate_to.as_ref().filter(|_| verb != Verb::Delegate) {
            return Err(self.misplaced(delegate.referenced, "delegate_to", Verb::Delegate));
        }
        let agent = self.known.agent(self.name, &form.agent)?;
        let delegate_to = form.delegate_to.map(|id| self.known.agent(self.name, &id)).transpose()?;
        let ttl = form.ttl.map_or_else(|| Ttl::from_secs(DEFAULT_TTL_SECS), |ttl| Ok(ttl.0));
        Ok(Case {
            file: self.name.to_owned(),
            line: position(at).line,
            name: one_line(&form.name, MAX_CHARS),
            task: self.task(&form.task, agent.owner(), at)?,
            agent,
            verb,
            resource: self.known.resource(self.name, &form.resource)?,
            action: form.action,
            kind: form.kind,
            revocability: form.revocability,
            ttl: ttl.map_err(|error| self.problem(at, error.to_string()))?,
            bound: form.bound,
            attestation_age: form.attestation_age.0,
            now: form.at.0,
            counters: form.counters.into(),
            tool: form.tool.map(|tool| tool.value),
            delegate_to,
            expected: self.expected(form.expect)?,
        })
    }

    fn misplaced(&self, at: Location, key: &str, verb: Verb) -> Problem {
        let what = format!("`{key}` means nothing without `verb: {verb}`");
        self.problem(at, what).help(format!("add `verb: {verb}`, or leave it out"))
    }

    fn problem(&self, at: Location, what: String) -> Problem {
        Problem::at(self.name, position(at), what)
    }

    fn task(&self, form: &form::Task, owner: &UserFacts, at: Location) -> Result<TaskFacts, Problem> {
        let form::Task { kind, purpose, initiator, depth, labels, sensitivity } = form;
        let kind = kind.clone().map_or_else(|| TaskKind::new(DEFAULT_KIND), Ok);
        let kind = kind.map_err(|error| self.problem(at, error.to_string()))?;
        let initiator = match initiator {
            Some(name) => self.known.user(self.name, name.value.as_str(), name.referenced)?,
            None => owner.clone(),
        };
        Ok(TaskFacts::new(&kind, purpose, &initiator, usize::from(*depth), labels, sensitivity.as_deref()))
    }

    fn expected(&self, form: form::Expect) -> Result<Expected, Problem> {
        let form::Expect { effect, by, obligations, message } = form;
        let effect = match effect {
            form::EffectWord::Allow => Effect::Allow,
            form::EffectWord::Deny => Effect::Deny,
        };
        Ok(Expected { effect, by, obligations: self.obligations(obligations)?, message })
    }

    /// What an annotation would say, or `none`.
    fn obligations(
        &self,
        forms: BTreeMap<String, Spanned<String>>,
    ) -> Result<Vec<(Kind, Option<String>)>, Problem> {
        let read = |(name, value): (String, Spanned<String>)| {
            let problem = |(what, help): (String, String)| self.problem(value.referenced, what).help(help);
            let kind = Kind::find(&name).ok_or_else(|| problem(annotation::unknown(&name)))?;
            if value.value == "none" {
                return Ok((kind, None));
            }
            let mut only = Obligations::default();
            kind.set(&value.value, &mut only).map_err(problem)?;
            Ok((kind, kind.show(&only)))
        };
        forms.into_iter().map(read).collect()
    }
}
