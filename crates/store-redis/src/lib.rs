//! Redis or Valkey as the store of a fleet: many brokers on one ledger.
//!
//! The rules stay where they are, in [`taskpass_lease::step()`]: a broker fetches the rows that a transition looks at, runs
//! it, and sends one script that checks that none of these rows has changed and writes all that follows, or nothing.
//! Invariants:
//! - one writer task and one connection for writes: what is acknowledged was confirmed on the connection that wrote it;
//! - a write counts only in the generation of the ledger that its broker serves; every sign of another history (another
//!   server, another generation, a sequence that went back) begins a new one, before which no broker issues anything;
//! - a write whose outcome is unknown is sent again under the same operation id, or reported as unknown, never as failed;
//! - a look is answered only while the last confirmed write on its link is recent, so a broker that hangs on a primary that
//!   was replaced goes silent instead of telling the past.

mod backend;
mod batch;
pub mod check;
mod draft;
mod dump;
mod error;
mod fetch;
mod journal;
mod layout;
mod ledger;
mod link;
mod looks;
mod news;
mod recovery;
#[cfg(test)]
mod rounds;
mod scripts;
mod settings;
mod texts;
mod writer;

pub use backend::{OpenError, RedisBackend};
pub use dump::{Export, Import};
pub use settings::{Account, Address, Durability, Place, Settings, TlsFiles};

/// The store of a fleet.
pub type RedisStore = taskpass_store::Ledger<RedisBackend>;
