//! One policy of a set: what it is called, what it says about itself, and its compiled form.

use crate::{annotation::Annotations, problem::Position, reads::Reads};
use cedar_policy::{Policy, PolicyId};
use std::{fmt, sync::Arc};
use taskpass_types::Obligations;

/// How a policy is named wherever it is spoken of: `refunds.cedar:14 "refund-limit"`; the quoted part is its `@id`.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Arc<Name>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    file: String,
    line: usize,
    id: Option<String>,
}

impl PolicyName {
    /// The file's name.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// The line where the policy begins, from 1.
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// Its `@id`.
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file, self.0.line)?;
        match &self.0.id {
            Some(id) => write!(f, " \"{id}\""),
            None => Ok(()),
        }
    }
}

/// What a policy does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleEffect {
    /// Denies, whatever others permit.
    Forbid,
    /// Allows, unless another forbids.
    Permit,
}

/// One policy, for lists.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a> {
    /// What it is called.
    pub name: &'a PolicyName,
    /// What it does.
    pub effect: RuleEffect,
    /// Its `@description`.
    pub description: Option<&'a str>,
    /// What it ties a permission to; of a `forbid`, at most what its denial leads to.
    pub obligations: &'a Obligations,
}

/// What Cedar calls the policy with this number.
pub(crate) fn policy_id(number: usize) -> PolicyId {
    PolicyId::new(number.to_string())
}

/// The number of the policy that Cedar speaks of.
pub(crate) fn number(id: &PolicyId) -> Option<usize> {
    let id: &str = id.as_ref();
    id.parse().ok()
}

/// One policy, compiled. Cedar knows it by its number in the set.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: PolicyName,
    pub(crate) position: Position,
    pub(crate) effect: RuleEffect,
    pub(crate) description: Option<String>,
    pub(crate) obligations: Obligations,
    /// What of the context its conditions read.
    pub(crate) reads: Reads,
    pub(crate) policy: Policy,
}

impl Rule {
    pub(crate) fn new(file: &str, position: Position, annotations: Annotations, policy: Policy) -> Self {
        let Annotations { id, description, obligations } = annotations;
        let effect = match policy.effect() {
            cedar_policy::Effect::Forbid => RuleEffect::Forbid,
            cedar_policy::Effect::Permit => RuleEffect::Permit,
        };
        let name = PolicyName(Arc::new(Name { file: file.to_owned(), line: position.line, id }));
        Self { name, position, effect, description, obligations, reads: Reads::of(&policy), policy }
    }

    pub(crate) fn summary(&self) -> Summary<'_> {
        Summary {
            name: &self.name,
            effect: self.effect,
            description: self.description.as_deref(),
            obligations: &self.obligations,
        }
    }
}
