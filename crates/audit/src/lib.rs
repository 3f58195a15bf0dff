//! What was asked, decided and done, in a file that shows every later change.
//!
//! An [`Event`] is typed, so that no secret can slip into it. The [`AuditLog`] writes it as one canonical line which
//! names the hash of the line before it; [`verify_dir`] checks the whole chain. Invariants: `record` returns only when
//! the entry is durable, and fails when it cannot be (no audit, no grant); `note` never blocks and keeps what it was
//! given until the disk takes it, so that a full disk never delays a revocation; entries are never changed or reordered.

mod action;
mod anchor;
mod canonical;
mod chain;
mod details;
mod entry;
mod error;
mod event;
mod file;
mod hash;
mod inputs;
mod log;
mod open;
mod queue;
mod read;
mod recorder;
pub mod testing;
mod verify;
mod writer;

pub use action::{Action, Phase};
pub use anchor::{Anchor, ParseAnchorError};
pub use chain::Fault;
pub use entry::{Entry, EntryLine};
pub use error::AuditError;
pub use event::{Actor, Event};
pub use file::{HEAD_FILE, Head, LOCK_FILE, LOG_FILE, LogFile};
pub use hash::{LeafHash, ParseHashError};
pub use inputs::{Inputs, ParseInputsError};
pub use log::AuditLog;
pub use read::read_dir;
pub use recorder::{Health, Receipt, Recorder};
pub use verify::{Broken, Report, VerifyError, verify_dir};

/// No entry is longer, its newline included.
pub const MAX_ENTRY_BYTES: usize = 32 * 1024;
