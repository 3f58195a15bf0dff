//! A set of policies in force.

use crate::{
    class::Class,
    compile::{Compiled, compile},
    decide::Decision,
    problem::{PolicyError, Problem},
    request::Request,
    rule::{Rule, Summary},
    slice::Slices,
    source::Sources,
    suggest::Suggestion,
};
use std::path::Path;
use taskpass_types::PolicyRevision;

/// Policies that passed every check, ready to decide. Immutable: a reload makes another one.
#[derive(Debug)]
pub struct Policies {
    pub(crate) rules: Vec<Rule>,
    pub(crate) slices: Slices,
    revision: PolicyRevision,
    warnings: Vec<Problem>,
    sources: Sources,
}

impl Policies {
    /// Reads every `*.cedar` file directly in `dir`, in the order of their names. Symbolic links are followed; names
    /// that begin with a dot are left out. An empty directory is a set that denies everything.
    ///
    /// # Errors
    /// Everything that is wrong with the directory or with a policy; then nothing of it takes effect.
    pub fn load_dir(dir: &Path) -> Result<Self, PolicyError> {
        Self::compile(Sources::read_dir(dir, "cedar")?)
    }

    /// The same from pairs of file name and text. Their order does not matter; a name may come only once.
    ///
    /// # Errors
    /// Everything that is wrong; then nothing takes effect.
    pub fn from_sources<N: Into<String>, T: Into<String>>(
        sources: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, PolicyError> {
        Self::compile(Sources::collect(sources)?)
    }

    fn compile(sources: Sources) -> Result<Self, PolicyError> {
        let Compiled { rules, warnings } = compile(&sources)?;
        let slices = Slices::new(&rules);
        Ok(Self { rules, slices, revision: sources.revision()?, warnings, sources })
    }

    /// Decides one scope. Deterministic: equal policies and requests give equal decisions, to the letter.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        crate::decide::decide(self, request)
    }

    /// The class of a request: requests of one class get the same effect, determining policies and obligations from this
    /// set, so that of many only one has to be decided. Far cheaper than a decision.
    pub fn class(&self, request: &Request<'_>) -> Class {
        Class::of(self, request)
    }

    /// What would have to be added for a denied request to be allowed. Checks the whole set anew, which takes as long as
    /// loading it.
    pub fn suggest(&self, request: &Request<'_>) -> Suggestion {
        Suggestion::of(self, request)
    }

    /// Names this very text of these very files: 12 hexadecimal digits.
    pub fn revision(&self) -> &PolicyRevision {
        &self.revision
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How many files they came from.
    pub fn files(&self) -> usize {
        self.sources.len()
    }

    /// The texts that it was made of, as pairs of file name and text, by name. [`Policies::from_sources`] makes an equal
    /// set of them, with the same revision.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter()
    }

    /// Every policy, by file and line.
    pub fn iter(&self) -> impl Iterator<Item = Summary<'_>> {
        self.rules.iter().map(Rule::summary)
    }

    /// What is suspicious though valid, such as a policy that can never match.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}
