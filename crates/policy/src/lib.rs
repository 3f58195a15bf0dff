//! Policy: Cedar policies are loaded, checked, sliced and asked, one scope at a time.
//!
//! ```
//! use taskpass_policy::{AgentFacts, Effect, Policies, Request, ResourceFacts, TaskFacts, Verb};
//! use taskpass_types::{ActionName, AgentId, CredentialKind, Initiator, Owner, ResourceName, Revocability, TaskKind, Ttl};
//! use std::{collections::BTreeMap, time::Duration};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policies = Policies::from_sources([(
//!     "invoices.cedar",
//!     r#"@max_ttl("15m") permit (principal in Group::"ci", action == Action::"issue", resource == Resource::"billing-api")
//!        when { context.action == "invoice:read" };"#,
//! )])?;
//! let agent = AgentFacts::new(&AgentId::new("ci/invoice-bot")?, &Owner::new("maya@acme.test")?, &[], &BTreeMap::new(), &[]);
//! let resource = ResourceFacts::new(&ResourceName::new("billing-api")?, &BTreeMap::new(), None, None);
//! let initiator = Initiator::new("maya@acme.test")?;
//! let task = TaskFacts::new(&TaskKind::new("close-books")?, "close November", &initiator, 0, &BTreeMap::new());
//! let decision = policies.decide(&Request {
//!     agent: &agent,
//!     verb: Verb::Issue,
//!     resource: &resource,
//!     action: &ActionName::new("invoice:read")?,
//!     kind: CredentialKind::Jwt,
//!     revocability: Revocability::Bounded,
//!     ttl: Ttl::from_secs(3600)?,
//!     bound: true,
//!     task: &task,
//!     attestation_age: Duration::from_secs(12),
//! });
//! assert_eq!(decision.effect, Effect::Allow);
//! assert_eq!(decision.obligations.max_ttl, Some(Ttl::from_secs(900)?));
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: a set of policies takes effect whole and strictly validated, or not at all; what is not permitted is
//! denied; an evaluation error denies, because Cedar skips a policy that fails and a skipped `forbid` must not open a
//! door; the slice that is evaluated decides exactly what the whole set would; equal input gives equal text. No I/O
//! except the reading of a directory of policy files, no async.

mod annotation;
mod compile;
mod decide;
pub mod demo;
mod explain;
mod facts;
mod nesting;
mod policies;
mod problem;
mod report;
mod request;
mod rule;
mod schema;
mod slice;
mod source;
#[cfg(test)]
mod tests;

pub use decide::{Decision, Effect, Explanation, Obligations};
pub use facts::{AgentFacts, ResourceFacts, TaskFacts};
pub use policies::Policies;
pub use problem::{PolicyError, Position, Problem};
pub use report::{Loaded, Report};
pub use request::{Request, Verb};
pub use rule::{PolicyName, RuleEffect, Summary};
pub use schema::SCHEMA;
pub use source::{MAX_BYTES, MAX_FILES, MAX_POLICIES};
