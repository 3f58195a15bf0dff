//! The store port: where tasks, leases and deny records live, and the schedule of what is due.
//!
//! A store runs [`taskpass_lease::step()`] inside its own serialised transaction and answers when the result is durable.
//! That is all there is to a state change, so adapters cannot differ in what they allow. Invariants:
//! - an answer means durable; an error means that nothing was written, unless it says *outcome unknown*;
//! - only a commit makes a [`Prepared`], and only a `Prepared` can be signed;
//! - the schedule is a table sorted by time: nothing is loaded at start, no timer is kept per lease;
//! - a record that cannot be read is set aside and refused, and stops nothing else.
//!
//! [`Ledger`] turns any transactional key-value backend into a store; [`MemoryBackend`] is the reference, and
//! `conformance` is the suite that every adapter has to pass.
//! [`journal::Journaled`] puts a revocation journal in front of a store, so that a kill never waits for its disk.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod dump;
mod engine;
mod foresee;
pub mod journal;
mod ledger;
mod load;
mod memory;
mod policies;
mod port;
mod prepared;
mod query;
mod record;
mod report;
mod save;
mod short;
mod signals;
pub mod tables;
mod tail;
mod terms;
mod work;

pub use engine::{Pending, apply, apply_due, open, spoils};
pub use ledger::{Backend, Ledger};
pub use memory::{MemoryBackend, MemoryStore};
pub use port::{ApprovalQuery, Denies, Due, DueWhat, LeaseQuery, Page, Store, TaskQuery};
pub use prepared::{Committed, Prepared};
pub use report::{Line, Mark, Report};
pub use signals::Signals;
pub use tail::Tail;
pub use work::{Job, Work};
