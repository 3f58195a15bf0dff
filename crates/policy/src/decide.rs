//! One request against the policies: allow or deny, which policies made it so, and what they oblige us to.

use crate::{
    explain,
    policies::Policies,
    reads::Reads,
    request::Request,
    rule::{self, PolicyName, Rule, RuleEffect},
};
use cedar_policy::{AuthorizationError, Authorizer, Entities, PolicySet, Response};
use taskpass_types::{Obligations, PolicyRevision, Reason, Refusal};

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A policy permits it, none forbids it, and all could be evaluated.
    Allow,
    /// Anything else.
    Deny,
}

/// Why it was decided so, for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What decided: lower case, no full stop.
    pub why: String,
    /// What to do about a denial; empty when allowed.
    pub fix: String,
}

/// What was decided, under which policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Allow or deny.
    pub effect: Effect,
    /// The policies that made it so, by file and line: permits when allowed; when denied those that could not be
    /// evaluated and those that forbid, or none when nothing permits.
    pub determining: Vec<PolicyName>,
    /// What a permission is tied to: of every permit that applied, the strictest. Of a denial, at most what it leads to:
    /// the harshest `outside_scope` of every `forbid` that applied.
    pub obligations: Obligations,
    /// The policies that were asked.
    pub revision: PolicyRevision,
    /// Why.
    pub explanation: Explanation,
}

impl Decision {
    /// Whether it is allowed.
    pub fn allows(&self) -> bool {
        self.effect == Effect::Allow
    }

    /// A denial as the caller gets it; `None` when allowed.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.allows() {
            return None;
        }
        let refusal = Refusal::new(Reason::PolicyDenied, self.explanation.why.clone())
            .fix(self.explanation.fix.clone())
            .with("policy_revision", &self.revision);
        Some(
            self.determining
                .iter()
                .take(explain::MAX_NAMED)
                .fold(refusal, |refusal, name| refusal.with("policy", name)),
        )
    }
}

/// What the evaluation of a slice gave, in the order of the policies.
#[derive(Debug, Default)]
pub(crate) struct Verdict<'a> {
    pub(crate) permits: Vec<&'a Rule>,
    pub(crate) forbids: Vec<&'a Rule>,
    /// Rules that could not be evaluated and why; a rule is missing when not even the request could be built.
    pub(crate) errors: Vec<(Option<&'a Rule>, String)>,
}

impl<'a> Verdict<'a> {
    /// Evaluates a set of policies, numbered as in `rules`, which read no more than `reads`.
    pub(crate) fn of(
        rules: &'a [Rule],
        request: &Request<'_>,
        reads: Reads,
        policies: &PolicySet,
        entities: &Entities,
    ) -> Result<Self, String> {
        Ok(Self::new(rules, &Authorizer::new().is_authorized(&request.question(reads)?, policies, entities)))
    }

    /// Evaluates the policies that can apply.
    pub(crate) fn ask(policies: &'a Policies, request: &Request<'_>) -> Self {
        let Policies { rules, slices, .. } = policies;
        let evaluated = slices.find(rules, request).and_then(|slice| {
            let entities = slices.entities(slice.reads, request)?;
            Verdict::of(rules, request, slice.reads, &slice.policies, &entities)
        });
        evaluated.unwrap_or_else(Self::of_nothing)
    }

    /// When not even the request could be built.
    fn of_nothing(why: String) -> Self {
        Self { errors: vec![(None, why)], ..Self::default() }
    }

    fn new(rules: &'a [Rule], response: &Response) -> Self {
        let diagnostics = response.diagnostics();
        let mut applied: Vec<usize> = diagnostics.reason().filter_map(rule::number).collect();
        applied.sort_unstable();
        let applied = applied.into_iter().filter_map(|number| rules.get(number));
        let (permits, forbids) = applied.partition(|rule| rule.effect == RuleEffect::Permit);
        let mut errors: Vec<_> = diagnostics.errors().map(|error| named_error(rules, error)).collect();
        errors.sort_by(|(a, _), (b, _)| a.map(|rule| &rule.name).cmp(&b.map(|rule| &rule.name)));
        Self { permits, forbids, errors }
    }

    /// Only an undisturbed permission allows.
    pub(crate) fn allows(&self) -> bool {
        self.errors.is_empty() && self.forbids.is_empty() && !self.permits.is_empty()
    }

    pub(crate) fn determining(&self) -> Vec<PolicyName> {
        if self.allows() {
            return self.permits.iter().map(|rule| rule.name.clone()).collect();
        }
        let failed = self.errors.iter().filter_map(|(rule, _)| *rule);
        let mut names: Vec<_> =
            failed.chain(self.forbids.iter().copied()).map(|rule| rule.name.clone()).collect();
        names.sort_unstable();
        names
    }

    fn obligations(&self) -> Obligations {
        let applied = if self.allows() { &self.permits } else { &self.forbids };
        applied.iter().fold(Obligations::default(), |mut strictest, rule| {
            strictest.and(&rule.obligations);
            strictest
        })
    }
}

fn named_error<'a>(rules: &'a [Rule], error: &AuthorizationError) -> (Option<&'a Rule>, String) {
    match error {
        AuthorizationError::PolicyEvaluationError(error) => {
            (rule::number(error.policy_id()).and_then(|number| rules.get(number)), error.inner().to_string())
        }
    }
}

pub(crate) fn decide(policies: &Policies, request: &Request<'_>) -> Decision {
    conclude(policies, request, &Verdict::ask(policies, request))
}

/// Makes a decision of a verdict.
pub(crate) fn conclude(policies: &Policies, request: &Request<'_>, verdict: &Verdict<'_>) -> Decision {
    Decision {
        effect: if verdict.allows() { Effect::Allow } else { Effect::Deny },
        determining: verdict.determining(),
        obligations: verdict.obligations(),
        revision: policies.revision().clone(),
        explanation: explain::explain(policies, request, verdict),
    }
}
