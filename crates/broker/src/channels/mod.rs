//! Standard channels for those who do not follow the feed: revocation lists, introspection, revocation by token.
//!
//! Each reads the same deny records and leases as the feed does; none has a memory of its own that could disagree with it.
//! Invariant: a channel that cannot know says so (503), and never that something is good.

mod crl;
mod denied;
mod tokens;
mod wide;

pub use crl::{Crl, Crls};
pub use tokens::RevokedToken;

use denied::Denied;
use std::{sync::Arc, time::Duration};
use taskpass_types::{KeyGeneration, Timestamp};
use wide::Wide;

/// What the channels say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSettings {
    /// How long a revocation list may be relied on.
    pub crl_validity: Duration,
    /// The longest that a certificate can live: one whose record cannot be read is dead by then.
    pub certificate_life: Duration,
}

impl Default for ChannelSettings {
    /// A minute, and an hour.
    fn default() -> Self {
        Self { crl_validity: Duration::from_secs(60), certificate_life: Duration::from_secs(3600) }
    }
}

/// What a broker keeps for them.
#[derive(Default)]
pub(crate) struct Channels {
    denied: tokio::sync::Mutex<Option<Denied>>,
    wide: tokio::sync::Mutex<Option<Wide>>,
    published: arc_swap::ArcSwapOption<Published>,
}

/// The lists, and until when they are known to be all that there is to say.
struct Published {
    crls: Arc<Crls>,
    /// The authorities that they are of.
    generations: Vec<KeyGeneration>,
    /// When they were signed.
    signed: Timestamp,
    /// When the store last said that there is nothing newer.
    confirmed: Timestamp,
}
