//! The hash of an entry: RFC 6962 section 2.1's leaf hash, so that the same entries can later carry a Merkle tree.

use ring::digest;
use std::{fmt, str::FromStr};

/// SHA-256 of a zero byte and the entry's bytes, without its newline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafHash([u8; 32]);

/// Why a text is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 characters of 0-9 and a-f")]
pub struct ParseHashError;

impl LeafHash {
    /// What the first entry names as the one before it.
    pub const GENESIS: Self = Self([0; 32]);

    /// Of one entry.
    pub fn of(entry: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&[0]);
        context.update(entry);
        Self(digest_bytes(&context.finish()))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest_bytes(&digest::digest(&digest::SHA256, bytes))
}

fn digest_bytes(digest: &digest::Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

/// Appends `bytes` as lower-case hex.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for LeafHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(ParseHashError) };
        if pairs.len() != 32 {
            return Err(ParseHashError);
        }
        let mut hash = [0; 32];
        for (to, [high, low]) in hash.iter_mut().zip(pairs) {
            *to = nibble(*high).zip(nibble(*low)).map(|(high, low)| high << 4 | low).ok_or(ParseHashError)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for LeafHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LeafHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_leaf_is_rfc_6962s() {
        let expected = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(LeafHash::of(b"").to_string(), expected);
        assert_eq!(expected.parse(), Ok(LeafHash::of(b"")));
    }

    #[test]
    fn a_hash_has_one_text() {
        let good = LeafHash::of(b"x").to_string();
        for bad in ["", "00", &good[1..], &format!("{good}0"), &good.to_uppercase(), &good.replace('a', "g")]
        {
            assert!(bad.parse::<LeafHash>().is_err(), "{bad:?} was accepted");
        }
    }
}
