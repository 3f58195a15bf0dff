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
    /// How the world reaches `listen.http` for revocation lists.
    pub crl_url: Option<CrlUrl>,
}

/// Below which certificates say that their revocation lists are: an `http` or `https` URL without query, fragment, or slash at
/// its end. RFC 5280 section 4.2.1.13 warns of `https`: who fetches the list would have to check a certificate for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CrlUrl(String);

impl CrlUrl {
    /// Longer ones have no place in a certificate.
    const MAX_BYTES: usize = 256;

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CrlUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const WRONG: &str = "it is not the URL of a server, expected one such as `http://crl.acme.test` without query, fragment, or slash at its end";
        let uri: http::Uri = text.parse().map_err(|_| WRONG)?;
        let server = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        let bare = uri.query().is_none() && !text.contains(['#', '@']) && !text.ends_with('/');
        if server && bare && text.len() <= Self::MAX_BYTES { Ok(Self(text)) } else { Err(WRONG) }
    }
}

impl Default for Channels {
    fn default() -> Self {
        Self { crl_validity: Duration::from_secs(60), status_lists: true, api_url: None, crl_url: None }
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
