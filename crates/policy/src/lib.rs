//! Policy: Cedar policies are loaded, checked, sliced and asked, one scope at a time; and tested, before they are used.
//!
//! ```
//! use taskpass_policy::{AgentFacts, Effect, Policies, Request, ResourceFacts, TaskFacts, UserFacts, Verb};
//! use taskpass_types::{
//!     ActionName, AgentId, Counters, CredentialKind, ResourceName, Revocability, TaskKind, Timestamp, Ttl,
//! };
//! use std::{collections::BTreeMap, time::Duration};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policies = Policies::from_sources([(
//!     "invoices.cedar",
//!     r#"@max_ttl("15m") permit (principal in Group::"ci", action == Action::"issue", resource == Resource::"billing-api")
//!        when { context.action == "invoice:read" && principal.owner in Group::"finance" };"#,
//! )])?;
//! let maya = UserFacts::new("maya@acme.test", ["finance"], &BTreeMap::new());
//! let agent = AgentFacts::new(&AgentId::new("ci/invoice-bot")?, &maya, [], &BTreeMap::new(), &[]);
//! let resource = ResourceFacts::new(&ResourceName::new("billing-api")?, &BTreeMap::new(), None, None);
//! let task = TaskFacts::new(&TaskKind::new("close-books")?, "close November", &maya, 0, &BTreeMap::new(), None);
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
//!     now: Timestamp::from_secs(1_790_000_000),
//!     counters: Counters::default(),
//!     tool: None,
//!     delegate_to: None,
//! });
//! assert_eq!(decision.effect, Effect::Allow);
//! assert_eq!(decision.obligations.max_ttl, Some(Ttl::from_secs(900)?));
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: a set of policies takes effect whole and strictly validated, or not at all; what is not permitted is
//! denied; an evaluation error denies, because Cedar skips a policy that fails and a skipped `forbid` must not open a
//! door; the slice that is evaluated decides exactly what the whole set would; requests of one class are decided alike;
//! equal input gives equal text. No I/O except the reading of a directory of policies or of a suite, no async.

mod annotation;
mod class;
mod compile;
mod decide;
pub mod demo;
mod explain;
mod facts;
mod fingerprint;
mod moment;
mod nesting;
mod plain;
mod policies;
mod problem;
mod reads;
mod report;
mod request;
mod rule;
mod schema;
mod slice;
mod source;
mod span;
mod suggest;
mod suite;
#[cfg(test)]
mod tests;

pub use annotation::annotations;
pub use class::Class;
pub use decide::{Decision, Effect, Explanation};
pub use facts::{AgentFacts, ResourceFacts, TaskFacts, UserFacts};
pub use policies::Policies;
pub use problem::{PolicyError, Position, Problem};
pub use report::{Loaded, Report};
pub use request::{Request, Verb};
pub use rule::{PolicyName, RuleEffect, Summary};
pub use schema::SCHEMA;
pub use source::{MAX_BYTES, MAX_FILES, MAX_POLICIES};
pub use suggest::Suggestion;
pub use suite::{CaseReport, MAX_CASES, Suite, SuiteReport};
