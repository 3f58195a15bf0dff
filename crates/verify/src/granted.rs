//! A credential that was accepted, and what it allows.

use crate::Rejected;
use std::{ops::Deref, sync::Arc};
use taskpass_types::{ActionName, Grant};

/// What an accepted credential grants. Only a [`Verifier`](crate::Verifier) makes one, at the moment of its check; for
/// long-lived connections see [`Verifier::recheck`](crate::Verifier::recheck). Clones are cheap.
#[derive(Clone, Debug)]
pub struct Granted(Arc<Grant>);

impl Granted {
    pub(crate) fn new(grant: Grant) -> Self {
        Self(Arc::new(grant))
    }

    /// Whether `action` is granted, letter by letter: nothing is a pattern.
    pub fn allows(&self, action: &str) -> bool {
        self.0.actions.iter().any(|granted| granted.as_str() == action)
    }

    /// Refuses unless `action` is granted.
    pub fn require(&self, action: &ActionName) -> Result<(), Rejected> {
        if self.allows(action.as_str()) { Ok(()) } else { Err(Rejected::ActionNotGranted(action.clone())) }
    }
}

impl Deref for Granted {
    type Target = Grant;

    fn deref(&self) -> &Grant {
        &self.0
    }
}
