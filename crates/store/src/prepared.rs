//! The proof that something is durable.

use taskpass_lease::{Lease, Outcome};
use taskpass_types::Grant;

/// The outcome of a step that is durable.
#[derive(Debug)]
pub struct Committed(Outcome);

impl Committed {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self(outcome)
    }

    /// What happened.
    pub fn outcome(&self) -> &Outcome {
        &self.0
    }

    /// What happened.
    pub fn into_outcome(self) -> Outcome {
        self.0
    }

    /// The lease that may now be signed.
    ///
    /// # Errors
    /// Itself, if it did not plan, renew or replay one.
    pub fn into_prepared(self) -> Result<Prepared, Self> {
        match self.0 {
            Outcome::Planned(lease) | Outcome::Renewed(lease) => Ok(Prepared { lease, replayed: false }),
            Outcome::ReplayedLease(lease) => Ok(Prepared { lease, replayed: true }),
            other => Err(Self(other)),
        }
    }
}

/// A lease whose intent is durable. It cannot be made in any other way than by a store's commit, and signing consumes
/// it: nothing is signed that a crash could make us forget (I1).
#[derive(Debug)]
pub struct Prepared {
    lease: Box<Lease>,
    replayed: bool,
}

impl Prepared {
    /// The lease.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What the credential has to say.
    pub fn grant(&self) -> Grant {
        self.lease.grant()
    }

    /// Whether the same request was answered before.
    pub fn replayed(&self) -> bool {
        self.replayed
    }
}
