//! `[channels]`: what those get who do not follow the deny feed.

use super::{Issuer, Problem, place::KeyPath};
use crate::span;
use serde::Deserialize;
use std::{ops::RangeInclusive, time::Duration};

/// A list that is good for less cannot be fetched in time; one that is good for longer is a promise of nothing.
const CRL_VALIDITY: RangeInclusive<Duration> = Duration::from_secs(15)..=Duration::from_secs(24 * 3600);

/// `[channels]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Channels {
    /// How long a revocation list or a status list may be relied on.
    #[serde(deserialize_with = "span::duration")]
    pub crl_validity: Duration,
    /// Whether tokens say where a status list tells of them.
    pub status_lists: bool,
    /// How the world reaches `listen.api`, without a slash at its end; for the metadata.
    pub api_url: Option<Issuer>,
}

impl Default for Channels {
    fn default() -> Self {
        Self { crl_validity: Duration::from_secs(60), status_lists: true, api_url: None }
    }
}

impl Channels {
    pub(super) fn check(&self, text: &str) -> Option<Problem> {
        let path = KeyPath::default().key("channels").key("crl_validity");
        (!CRL_VALIDITY.contains(&self.crl_validity)).then(|| {
            Problem::at(
                text,
                &path,
                "a revocation list cannot be good for so long, or so short a time",
                "use a span from `15s` to `1d`",
            )
        })
    }
}
