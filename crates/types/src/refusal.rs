//! The one error that crosses ports, RPC and the command line: what, why, fix, ids; and what only the log may see.

use crate::{Kind, Reason};
use std::fmt;

/// A refusal. The caller sees the reason, message, fix and metadata; [`Refusal::context`] is for the log only.
///
/// ```
/// use taskpass_types::{Reason, Refusal};
/// let refusal = Refusal::new(Reason::TaskEnded, "task `tk_…` ended: completed")
///     .fix("start a new task")
///     .with("task", "tk_…");
/// assert_eq!(refusal.reason(), Reason::TaskEnded);
/// ```
pub struct Refusal(Box<Inner>);

struct Inner {
    reason: Reason,
    message: String,
    fix: Option<String>,
    metadata: Vec<(&'static str, String)>,
    context: Option<String>,
}

impl Refusal {
    /// `message` is lower case, without a full stop, with the caller's input in backticks.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            fix: None,
            metadata: Vec::new(),
            context: None,
        }))
    }

    /// What the caller, or the operator, can do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix = Some(fix.into());
        self
    }

    /// Adds an id or value that the message speaks of, for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.metadata.push((key, value.to_string()));
        self
    }

    /// What only our log may see.
    #[must_use]
    pub fn because(mut self, context: impl fmt::Display) -> Self {
        self.0.context = Some(context.to_string());
        self
    }

    /// The stable code.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The class.
    pub fn kind(&self) -> Kind {
        self.0.reason.kind()
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What can be done about it.
    pub fn fix_text(&self) -> Option<&str> {
        self.0.fix.as_deref()
    }

    /// Ids and values, in the order in which they were added.
    pub fn metadata(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.metadata.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// For the log only.
    pub fn context(&self) -> Option<&str> {
        self.0.context.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.reason, self.0.message)?;
        match &self.0.context {
            Some(context) => write!(f, " ({context})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}
