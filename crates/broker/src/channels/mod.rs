//! Standard channels for those who do not follow the feed: revocation lists, introspection, revocation by token.
//!
//! Each reads the same deny records and leases as the feed does; none has a memory of its own that could disagree with it.
//! Invariant: a channel that cannot know says so (503), and never that something is good.

mod crl;
mod cuts;
mod denied;
mod lists;
mod statuses;
mod tokens;
mod wide;

pub use lists::{AuthorityCrls, Crl, Crls};
pub use tokens::RevokedToken;

use denied::Denied;
use statuses::{Places, Statuses};
use std::{sync::Arc, time::Duration};
use taskpass_types::{KeyGeneration, Timestamp};
use wide::Wide;

/// What the channels say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSettings {
    /// The URL below which certificates say that their revocation lists are, without a slash at its end.
    pub crl_base: String,
    /// How long a revocation list or a status list may be relied on.
    pub crl_validity: Duration,
    /// Whether tokens say where a status list tells of them.
    pub status_lists: bool,
    /// The longest that a certificate can live: one whose record cannot be read is dead by then.
    pub certificate_life: Duration,
    /// The most certificates that one list names of everything that is cut off; with more there are only the lists of its
    /// parts.
    pub longest_list: usize,
}

impl ChannelSettings {
    /// With lists below the URL `crl_base`: good for a minute, of 250,000 certificates that live for an hour; tokens have
    /// their place on status lists.
    pub fn new(crl_base: String) -> Self {
        Self {
            crl_base,
            crl_validity: Duration::from_secs(60),
            status_lists: true,
            certificate_life: Duration::from_secs(3600),
            longest_list: 250_000,
        }
    }
}

/// What a broker keeps for them.
#[derive(Default)]
pub(crate) struct Channels {
    places: Places,
    denied: tokio::sync::Mutex<Option<Denied>>,
    wide: tokio::sync::Mutex<Option<Wide>>,
    published: arc_swap::ArcSwapOption<Published>,
}

/// The lists, and until when they are known to be all that there is to say.
struct Published {
    crls: Arc<Crls>,
    statuses: Arc<Statuses>,
    /// The authorities that they are of.
    generations: Vec<KeyGeneration>,
    /// When the oldest of them was signed.
    signed: Timestamp,
    /// When the store last said that there is nothing newer.
    confirmed: Timestamp,
}
