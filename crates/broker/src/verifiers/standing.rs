//! How verifiers stand to an end.

use crate::ProbeCount;
use std::time::Duration;
use taskpass_types::{Epoch, ResourceName, Timestamp};

/// Who enforces an end by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    /// The end's number.
    pub epoch: Epoch,
    /// When it was written.
    pub at: Timestamp,
    /// How many of all verifiers that it concerns enforce it.
    pub enforced: usize,
    /// How many these are.
    pub all: usize,
    /// When the last of the others refuses it at the latest; `None`: all enforce it.
    pub accepted_until: Option<Timestamp>,
    /// Each, those first that do not enforce it; at most 256.
    pub verifiers: Vec<VerifierStanding>,
    /// Some verifiers that follow other brokers of the fleet are not counted, because there are too many.
    pub others_uncounted: bool,
    /// How many were asked about a credential under the end, and how many refused it.
    pub probed: ProbeCount,
}

impl Enforcement {
    /// Whether everybody enforces it, and whoever was asked has answered.
    pub(super) fn is_settled(&self) -> bool {
        self.is_complete() && self.probed.asked == self.probed.refused
    }

    /// Whether nobody is known here who may still accept it.
    pub fn is_complete(&self) -> bool {
        self.enforced == self.all
    }
}

/// One verifier and an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierStanding {
    /// The name that it is registered under, and which instance it is.
    pub name: String,
    /// What it guards; `None`: anything.
    pub audience: Option<ResourceName>,
    /// How it stands.
    pub standing: Standing,
}

impl VerifierStanding {
    pub(super) fn enforces(&self) -> bool {
        matches!(self.standing, Standing::Enforces { .. })
    }

    /// Until when it may accept what has ended; `None`: it enforces the end.
    pub fn accepts_until(&self) -> Option<Timestamp> {
        match self.standing {
            Standing::Enforces { .. } => None,
            Standing::Offline { accepts_until }
            | Standing::Unproven { accepts_until }
            | Standing::Waiting { accepts_until } => Some(accepts_until),
        }
    }
}

/// How a verifier stands to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It says so, so long after the end was written.
    Enforces {
        /// From the end to the acknowledgement.
        after: Duration,
    },
    /// It follows no more.
    Offline {
        /// It refuses everything by then.
        accepts_until: Timestamp,
    },
    /// It claimed to enforce what it was never sent, so nothing that it says counts.
    Unproven {
        /// It should refuse everything by then.
        accepts_until: Timestamp,
    },
    /// It follows, and has not said so yet.
    Waiting {
        /// It refuses everything by then.
        accepts_until: Timestamp,
    },
}
