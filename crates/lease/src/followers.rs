//! Which verifiers follow which broker of a fleet, so that each can count them all.
//!
//! Invariant: what a broker says of its verifiers replaces what it said before, and is forgotten when nothing that they might
//! still accept could live.

use crate::{Effects, Outcome, View};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use taskpass_types::{Epoch, HistoryId, ResourceName, TenantId, Timestamp};

/// The longest that a credential may live.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// How many brokers are remembered; the longest silent one makes room.
const MOST: usize = 64;

/// Say which verifiers follow a broker.
#[derive(Clone, Debug)]
pub struct ShareFollowers {
    /// Which broker.
    pub broker: String,
    /// Its verifiers.
    pub followers: Followers,
}

/// The verifiers that follow one broker, as it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followers {
    /// When it said so.
    pub at: Timestamp,
    /// In which history its epochs count.
    pub history: HistoryId,
    /// Whether these are all.
    pub complete: bool,
    /// Each.
    pub verifiers: Vec<Follower>,
}

/// One verifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// Whose tenant it is of.
    pub tenant: TenantId,
    /// The name that it is registered under, and which instance it is.
    pub name: String,
    /// What it guards; `None`: anything.
    pub audience: Option<ResourceName>,
    /// How long it accepts without hearing anything; `None`: until what it accepts has expired.
    pub max_stale: Option<Duration>,
    /// As of when the newest that it was sent was so.
    pub heard: Option<Timestamp>,
    /// Up to which record it says that it enforces everything, and when it said so.
    pub enforces: Option<(Epoch, Timestamp)>,
    /// Nothing that it says counts.
    pub lied: bool,
    /// It follows no more.
    pub gone: bool,
}

pub(crate) fn share_followers(view: View, share: &ShareFollowers, now: Timestamp) -> Effects {
    let mut all: BTreeMap<String, Followers> = view.followers;
    all.retain(|_, followers| now < followers.at.plus(FORGOTTEN));
    all.remove(&share.broker);
    while all.len() >= MOST {
        let oldest = all.iter().min_by_key(|(_, followers)| followers.at).map(|(name, _)| name.clone());
        let Some(oldest) = oldest else { break };
        all.remove(&oldest);
    }
    all.insert(share.broker.clone(), share.followers.clone());
    Effects { followers: Some(all), outcome: Outcome::FollowersShared, ..Effects::default() }
}
