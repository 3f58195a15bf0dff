//! The signing keys of one broker and their life: published, active, retired, gone.
//!
//! A *generation* is a pair of keys, one for tokens and one for certificates, that live and die together, so that one
//! deny record for a [`KeyGeneration`](taskpass_types::KeyGeneration) cuts off all that either of them signed.
//! Invariants: private keys exist on disk only sealed (`seal`); a key signs only after its file is durable and
//! verifiers had the time to fetch it; it stays published until all that it signed is dead; there is exactly one
//! active generation; at most [`MAX_GENERATIONS`] are published.

mod directory;
mod error;
mod generation;
mod policy;
mod ring;
mod seal;
mod share;

pub use error::KeyError;
pub use generation::KeyState;
pub use policy::KeyPolicy;
pub use ring::{KeyEvent, KeyInfo, KeyRing};
pub use seal::SealKey;

/// How many generations may be published at once.
pub const MAX_GENERATIONS: usize = 4;
