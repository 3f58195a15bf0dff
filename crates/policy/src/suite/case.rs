//! One case: the request that it puts, and the judgement of what came of it.

use super::report::CaseReport;
use crate::{
    annotation::{self, Kind},
    decide::{Decision, Effect},
    facts::{AgentFacts, ResourceFacts, TaskFacts},
    policies::Policies,
    problem::one_line,
    request::{Request, Verb},
};
use std::{fmt::Write as _, time::Duration};
use taskpass_types::{ActionName, Counters, CredentialKind, Revocability, Timestamp, ToolName, Ttl};

/// How long a line of a report may be.
const MAX_CHARS: usize = 1000;

#[derive(Debug)]
pub(super) struct Case {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) agent: AgentFacts,
    pub(super) verb: Verb,
    pub(super) resource: ResourceFacts,
    pub(super) action: ActionName,
    pub(super) kind: CredentialKind,
    pub(super) revocability: Revocability,
    pub(super) ttl: Ttl,
    pub(super) bound: bool,
    pub(super) task: TaskFacts,
    pub(super) attestation_age: Duration,
    pub(super) now: Timestamp,
    pub(super) counters: Counters,
    pub(super) tool: Option<ToolName>,
    pub(super) delegate_to: Option<AgentFacts>,
    pub(super) expected: Expected,
}

/// What has to come of it.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) effect: Effect,
    /// The `@id` of a policy that has to be among those that made it so.
    pub(super) by: Option<String>,
    /// Obligations as an annotation says them; `None`: there must be none of the kind.
    pub(super) obligations: Vec<(Kind, Option<String>)>,
    /// What the explanation has to contain.
    pub(super) message: Option<String>,
}

impl Case {
    pub(super) fn put(&self, policies: &Policies) -> Decision {
        policies.decide(&Request {
            agent: &self.agent,
            verb: self.verb,
            resource: &self.resource,
            action: &self.action,
            kind: self.kind,
            revocability: self.revocability,
            ttl: self.ttl,
            bound: self.bound,
            task: &self.task,
            attestation_age: self.attestation_age,
            now: self.now,
            counters: self.counters,
            tool: self.tool.as_ref(),
            delegate_to: self.delegate_to.as_ref(),
        })
    }

    pub(super) fn judge(&self, policies: &Policies, decision: &Decision) -> CaseReport {
        CaseReport {
            file: self.file.clone(),
            line: self.line,
            name: self.name.clone(),
            expected: line(&self.expected.describe()),
            got: line(&got(decision)),
            why: decision.explanation.why.clone(),
            wrong: self.expected.compare(policies, decision).iter().map(|wrong| line(wrong)).collect(),
        }
    }
}

impl Expected {
    /// `allow by "small-refunds" with @max_ttl("5m")`.
    fn describe(&self) -> String {
        let mut text = word(self.effect).to_owned();
        // Writing to a string cannot fail.
        if let Some(id) = &self.by {
            let _ = write!(text, " by \"{id}\"");
        }
        for (i, (kind, value)) in self.obligations.iter().enumerate() {
            let joint = if i == 0 { " with" } else { "," };
            let _ = match value {
                Some(value) => write!(text, "{joint} {}", annotated(kind.name(), value)),
                None => write!(text, "{joint} no @{}", kind.name()),
            };
        }
        if let Some(message) = &self.message {
            let _ = write!(text, ", because `{message}`");
        }
        text
    }

    /// What is not as it has to be.
    fn compare(&self, policies: &Policies, decision: &Decision) -> Vec<String> {
        let mut wrong = Vec::new();
        if decision.effect != self.effect {
            wrong.push(format!("expected {}, got {}", word(self.effect), word(decision.effect)));
        }
        if let Some(id) = &self.by
            && !decision.determining.iter().any(|name| name.id() == Some(id))
        {
            let exists = policies.iter().any(|policy| policy.name.id() == Some(id));
            wrong.push(match exists {
                true => format!("policy \"{id}\" is not among those that made it so"),
                false => format!("no policy has `@id(\"{id}\")`"),
            });
        }
        for (kind, expected) in &self.obligations {
            let got = kind.show(&decision.obligations);
            if got != *expected {
                let (expected, got) = (or_none(expected), or_none(&got));
                wrong.push(format!("expected `@{}` {expected}, got {got}", kind.name()));
            }
        }
        if let Some(message) = &self.message
            && !decision.explanation.why.contains(message)
        {
            wrong.push(format!("the explanation does not contain `{message}`"));
        }
        wrong
    }
}

/// The decision in the form of what was expected.
fn got(decision: &Decision) -> String {
    let mut text = word(decision.effect).to_owned();
    for (i, name) in decision.determining.iter().enumerate() {
        let joint = if i == 0 { " by" } else { "," };
        let _ = write!(text, "{joint} {name}");
    }
    for (i, (name, value)) in annotation::annotations(&decision.obligations).enumerate() {
        let joint = if i == 0 { " with" } else { "," };
        let _ = write!(text, "{joint} {}", annotated(name, &value));
    }
    text
}

/// For a terminal: a suite can have any text.
fn line(text: &str) -> String {
    one_line(text, MAX_CHARS)
}

fn annotated(name: &str, value: &str) -> String {
    format!("@{name}(\"{value}\")")
}

fn or_none(value: &Option<String>) -> String {
    value.as_ref().map_or_else(|| "none".to_owned(), |value| format!("`{value}`"))
}

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}
