//! Drift: what is out is no longer what would be allowed. Whenever other policies or another registry come into force, and
//! when a recheck falls due, live tasks and leases are decided anew, and a rule says what follows.
//!
//! What was asked stays as it was when it was allowed (the kind, the time to live, the binding, what attestation proved
//! and how long before, what had been used); what is known of the world is as it is now (agents, people, resources, the
//! hour). So the same lease comes out the same until the world or the policies change.
//!
//! Invariants: what the preview of a change says is found by the same code as what the change then does
//! ([`sweep::Sweep`]); leases that no policy can tell apart are decided once; a rule in the shadow never does anything.

mod act;
mod rule;
mod standing;
mod sweep;

pub use rule::{DriftRule, DriftRules, DriftRulesError, Then, Trigger};
pub use sweep::{Finding, Subject};

pub(crate) use sweep::{Cause, Sweep};

use crate::Broker;
use std::sync::Arc;
use taskpass_audit::Actor;
use taskpass_types::{AgentId, ResourceName};

/// Who does what follows from drift.
pub(crate) const ACTOR: Actor = Actor::Broker("drift");

impl Broker {
    /// The rule for one drift: the first that matches. The last ones match everything.
    pub(crate) fn drift_rule(
        &self,
        when: Trigger,
        agent: &AgentId,
        resource: &ResourceName,
    ) -> Arc<DriftRule> {
        self.parts().drift.load().find(when, agent, Some(resource))
    }
}
