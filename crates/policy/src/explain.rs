//! The sentences that go with a decision. A denial says what denied, or which permits come nearest, and what to do.
//!
//! Invariants: deterministic; bounded, whatever the number of policies and the length of their texts.

use crate::{
    decide::{Explanation, Verdict},
    nesting,
    policies::Policies,
    problem::one_line,
    request::{Request, Verb},
    rule::{Rule, RuleEffect},
    slice,
};
use std::collections::BTreeMap;

/// How many policies a sentence names.
pub(crate) const MAX_NAMED: usize = 3;
/// How much is quoted of a policy, or of what Cedar says about one.
const MAX_CHARS: usize = 200;
/// How many policies are looked at to find those.
const MAX_SEARCHED: usize = 1000;

pub(crate) fn explain(policies: &Policies, request: &Request<'_>, verdict: &Verdict<'_>) -> Explanation {
    if !verdict.errors.is_empty() {
        return failed(verdict);
    }
    if !verdict.forbids.is_empty() {
        return forbidden(request, &verdict.forbids);
    }
    if !verdict.permits.is_empty() {
        let why = format!("{} permits it", list(verdict.permits.iter().map(|rule| policy(rule))));
        return Explanation { why, fix: String::new() };
    }
    uncovered(policies, request)
}

fn failed(verdict: &Verdict<'_>) -> Explanation {
    let causes = verdict.errors.iter().map(|(rule, cause)| match rule {
        Some(rule) => format!("{} cannot be evaluated: {}", policy(rule), one_line(cause, MAX_CHARS)),
        None => format!("the request cannot be evaluated: {cause}"),
    });
    let mut why = list(causes);
    if !verdict.forbids.is_empty() {
        why = format!("{why}; {} forbids it", list(verdict.forbids.iter().map(|rule| policy(rule))));
    }
    Explanation {
        why,
        fix: "have an operator correct the policy; until then it denies what it covers".to_owned(),
    }
}

fn forbidden(request: &Request<'_>, forbids: &[&Rule]) -> Explanation {
    let why = list(forbids.iter().map(|rule| match &rule.description {
        Some(description) => format!("{} forbids it: {description}", policy(rule)),
        None => format!("{} forbids it", policy(rule)),
    }));
    let fix = format!(
        "ask for another action than `{}`, or have an operator change the policy that forbids it",
        request.action
    );
    Explanation { why, fix }
}

fn uncovered(policies: &Policies, request: &Request<'_>) -> Explanation {
    let Request { agent, verb, resource, action, .. } = request;
    let mut asked = format!("`{}` to {} `{action}` on `{}`", agent.id(), act(*verb), resource.name());
    if let Some(delegate) = request.delegate_to {
        asked = format!("{asked} to `{}`", delegate.id());
    }
    let (nearest, ask) = match Nearest::find(policies, request) {
        Nearest::Nothing => ("no policy names this agent for anything like it".to_owned(), ""),
        Nearest::OtherResource(rules) => {
            let places =
                rules.into_iter().map(|rule| format!("{} permits it on {}", policy(rule), place(rule)));
            (list(places), "ask for a resource that a policy permits, or ")
        }
        Nearest::OtherVerb(verb, rules) => {
            let named = list(rules.into_iter().map(policy));
            (format!("{named} only permits to {}", act(verb)), "")
        }
        Nearest::Unmet(rules) => {
            let named =
                list(rules.into_iter().map(|rule| format!("{} would {}", policy(rule), conditions(rule))));
            (named, "ask for what the conditions allow, or ")
        }
    };
    Explanation {
        why: format!("no policy permits {asked}; {nearest}"),
        fix: format!("{ask}have an operator add a policy that permits {asked}"),
    }
}

/// The permits that come nearest to a request that none covers.
enum Nearest<'a> {
    /// There are none for this agent.
    Nothing,
    /// For this agent and verb, on other resources.
    OtherResource(Vec<&'a Rule>),
    /// For this agent and resource, to do something else with the credential.
    OtherVerb(Verb, Vec<&'a Rule>),
    /// For exactly this, under conditions that do not hold.
    Unmet(Vec<&'a Rule>),
}

impl<'a> Nearest<'a> {
    fn find(policies: &'a Policies, request: &Request<'_>) -> Self {
        let (agent, resource) = (request.agent.lineage(), request.resource.lineage());
        let permits = |numbers: Vec<usize>| -> Vec<&'a Rule> {
            let rules = numbers.into_iter().filter_map(|number| policies.rules.get(number));
            rules.filter(|rule| rule.effect == RuleEffect::Permit).take(MAX_NAMED).collect()
        };
        let unmet = permits(policies.slices.matching(agent, request.verb, resource));
        if !unmet.is_empty() {
            return Self::Unmet(unmet);
        }
        for verb in Verb::ALL {
            let rules = permits(policies.slices.matching(agent, verb, resource));
            if !rules.is_empty() {
                return Self::OtherVerb(verb, rules);
            }
        }
        let elsewhere = policies.slices.for_agent(agent, request.verb).flat_map(BTreeMap::values).flatten();
        let elsewhere = permits(elsewhere.copied().take(MAX_SEARCHED).collect());
        if elsewhere.is_empty() { Self::Nothing } else { Self::OtherResource(elsewhere) }
    }
}

/// `refunds.cedar:14 "refund-limit"` as part of a sentence.
fn policy(rule: &Rule) -> String {
    format!("policy {}", rule.name)
}

/// The resource that a rule's scope names.
fn place(rule: &Rule) -> String {
    slice::resource(rule)
        .map_or_else(|| "any resource".to_owned(), |uid| format!("`{}`", uid.id().unescaped()))
}

/// The conditions of a rule as its author wrote them, on one line and bounded.
fn conditions(rule: &Rule) -> String {
    let text = rule.policy.to_cedar().unwrap_or_default();
    let Some(conditions) = nesting::conditions(&text) else {
        return "under conditions that do not hold".to_owned();
    };
    one_line(conditions, MAX_CHARS)
}

fn act(verb: Verb) -> &'static str {
    match verb {
        Verb::CallTool => "call a tool for",
        Verb::Delegate => "delegate",
        Verb::Issue => "be issued",
        Verb::Renew => "renew",
    }
}

/// The first few, and how many more there are.
fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(MAX_NAMED);
    let shown = items.take(MAX_NAMED).collect::<Vec<_>>().join("; ");
    if more == 0 { shown } else { format!("{shown}; and {more} more") }
}
