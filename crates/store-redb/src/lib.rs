//! The embedded default store: one redb file.
//!
//! One thread owns all writing. It takes what waits in a bounded queue, applies it in one transaction and answers when
//! that is durable, so that under load many callers share one fsync. Invariants:
//! - nobody is told of a success, or of a refusal, before the state it rests on is durable;
//! - what ends something is taken before what issues, and is not refused because issuing filled its lane;
//! - reads are snapshots of what is durable, and wait for no writer;
//! - a file that cannot be read is an [`OpenError`]; it is never repaired into an empty store, and never a panic;
//! - after a failed write the file is opened anew until the disk is well again, without a restart.

mod backend;
pub mod check;
mod dump;
mod error;
#[cfg(test)]
mod faults;
mod file;
mod queue;
mod tables;
mod writer;

pub use backend::RedbBackend;
pub use dump::{Export, Import};
pub use error::OpenError;

/// The embedded store.
pub type RedbStore = taskpass_store::Ledger<RedbBackend>;
