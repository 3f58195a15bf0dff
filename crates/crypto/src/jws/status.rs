//! Status lists (draft-ietf-oauth-status-list, "Token Status List"): one bit for each token, set when it has ended.
//!
//! Invariants: a list always has its full size, so no index is ever beyond it; its `sub` is, byte for byte, the `uri` that
//! tokens name; it has a `typ` of its own, so it is never mistaken for an access token.

use super::signer::TokenSigner;
use crate::{SignError, object::Object};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use miniz_oxide::deflate::compress_to_vec_zlib;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};
use taskpass_types::{StatusIndex, StatusListId, Timestamp};

/// The `typ` of a list, and with `application/` before it its media type.
pub const STATUS_LIST_TYP: &str = "statuslist+jwt";
/// Good for lists that are mostly zero, and fast.
const LEVEL: u8 = 6;

/// Which places of a list are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusList(Vec<u8>);

impl StatusList {
    /// A list of `places`, rounded up to whole bytes, none of which is set.
    pub fn new(places: u32) -> Self {
        Self(vec![0; usize::try_from(places.div_ceil(8)).unwrap_or_default()])
    }

    /// Sets every place: nothing on the list counts any more.
    pub fn set_all(&mut self) {
        self.0.fill(u8::MAX);
    }

    /// Sets one place; the lowest bit of a byte comes first. Whatever is beyond the list is ignored.
    pub fn set(&mut self, place: u32) {
        let byte = usize::try_from(place / 8).ok().and_then(|at| self.0.get_mut(at));
        if let Some(byte) = byte {
            *byte |= 1 << (place % 8);
        }
    }

    /// The bytes as a list says them: zlib, then base64url without padding.
    pub fn encoded(&self) -> String {
        BASE64URL.encode(compress_to_vec_zlib(&self.0, LEVEL))
    }
}

/// What a list says of itself.
#[derive(Clone, Copy, Debug)]
pub struct StatusTerms {
    /// When it was made.
    pub now: Timestamp,
    /// How long it may be relied on.
    pub validity: Duration,
    /// How old a copy may become before another is fetched.
    pub ttl: Duration,
}

#[derive(Serialize)]
struct Payload<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    ttl: u64,
    status_list: Lst,
}

#[derive(Serialize)]
struct Lst {
    bits: u8,
    lst: String,
}

impl TokenSigner {
    /// Signs a status list.
    pub fn sign_status_list(
        &self,
        issuer: &str,
        id: &StatusListId,
        list: &StatusList,
        terms: &StatusTerms,
    ) -> Result<String, SignError> {
        let payload = Payload {
            sub: &list_uri(issuer, id),
            iat: terms.now.as_secs(),
            exp: terms.now.plus(terms.validity).as_secs(),
            ttl: terms.ttl.as_secs().max(1),
            status_list: Lst { bits: 1, lst: list.encoded() },
        };
        let payload =
            serde_json::to_vec(&payload).map_err(|error| SignError::Primitive(error.to_string()))?;
        self.compact(&self.header(STATUS_LIST_TYP), &payload)
    }
}

/// Scheme and host of a URL, without its path.
pub fn origin(url: &str) -> &str {
    let path = url
        .find("://")
        .and_then(|at| at.checked_add(3))
        .and_then(|host| url.get(host..)?.find('/')?.checked_add(host));
    path.and_then(|at| url.get(..at)).unwrap_or(url)
}

/// Where a list of `issuer` is.
fn list_uri(issuer: &str, list: &StatusListId) -> String {
    format!("{}/status-lists/{list}", origin(issuer))
}

/// The claim `status` of a token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status<'a> {
    #[serde(borrow)]
    status_list: Object<Place<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place<'a> {
    idx: u32,
    #[serde(borrow)]
    uri: Cow<'a, str>,
}

impl Status<'_> {
    pub(super) fn of(issuer: &str, status: &StatusIndex) -> Self {
        let uri = Cow::Owned(list_uri(issuer, &status.list));
        Self { status_list: Object(Place { idx: status.index, uri }) }
    }

    /// The place that it says, if it is on a list of `issuer`.
    pub(super) fn place(&self, issuer: &str) -> Option<StatusIndex> {
        let Object(Place { idx, uri }) = &self.status_list;
        let list = uri.rsplit_once('/')?.1.parse().ok()?;
        (*idx < StatusListId::SIZE && list_uri(issuer, &list) == **uri)
            .then_some(StatusIndex { list, index: *idx })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::inflate::decompress_to_vec_zlib;

    fn decoded(lst: &str) -> Vec<u8> {
        decompress_to_vec_zlib(&BASE64URL.decode(lst).unwrap()).unwrap()
    }

    /// The first example of the draft: sixteen tokens, one bit each.
    #[test]
    fn the_drafts_vector_decodes_to_its_bytes_and_ours_to_the_same() {
        let mut list = StatusList::new(16);
        for (place, status) in [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1].into_iter().enumerate() {
            if status == 1 {
                list.set(u32::try_from(place).unwrap());
            }
        }
        assert_eq!(list.0, [0xb9, 0xa3]);
        assert_eq!(decoded("eNrbuRgAAhcBXQ"), [0xb9, 0xa3]);
        assert_eq!(decoded(&list.encoded()), [0xb9, 0xa3]);
        // zlib, and not bare DEFLATE nor gzip.
        assert_eq!(BASE64URL.decode(list.encoded()).unwrap()[0], 0x78);
        assert!(!list.encoded().contains('='));
    }

    #[test]
    fn a_list_has_its_full_size_and_nothing_is_set_beyond_it() {
        let mut list = StatusList::new(StatusListId::SIZE);
        assert_eq!(list.0.len(), 8192);
        list.set(StatusListId::SIZE - 1);
        for beyond in [StatusListId::SIZE, u32::MAX] {
            list.set(beyond);
        }
        let bytes = decoded(&list.encoded());
        assert_eq!(
            (bytes.len(), bytes[8191], bytes.iter().map(|byte| byte.count_ones()).sum()),
            (8192, 0x80, 1)
        );
        list.set_all();
        assert!(decoded(&list.encoded()).iter().all(|byte| *byte == 0xff));
    }
}
