//! Places on status lists (draft-ietf-oauth-status-list): the number by which a list, and not a name, tells of a token.

use crate::KeyGeneration;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Names one status list. It says which keys were in use when the list was begun, so that all of a list can be cut off with
/// them, and is random besides, so that no two brokers use one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatusListId {
    generation: KeyGeneration,
    random: [u8; 12],
}

/// Why a text names no status list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the name of a status list: expected a number, a hyphen and 24 hexadecimal digits")]
pub struct ParseStatusListIdError;

impl StatusListId {
    /// How many tokens have a place on one.
    pub const SIZE: u32 = 65_536;

    /// A list for leases that `generation` signs first.
    pub const fn new(generation: KeyGeneration, random: [u8; 12]) -> Self {
        Self { generation, random }
    }

    /// The keys that were in use when it was begun.
    pub const fn generation(&self) -> KeyGeneration {
        self.generation
    }
}

impl fmt::Display for StatusListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.generation.0)?;
        self.random.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for StatusListId {
    type Err = ParseStatusListIdError;

    fn from_str(text: &str) -> Result<Self, ParseStatusListIdError> {
        let parse = || {
            let (generation, hex) = text.split_once('-')?;
            let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
            let mut random = [0; 12];
            for (byte, pair) in random.iter_mut().zip(pairs) {
                *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            }
            Some(Self { generation: KeyGeneration(generation.parse().ok()?), random })
        };
        // One text for one list: what does not come back the same is none.
        parse().filter(|list| list.to_string() == text).ok_or(ParseStatusListIdError)
    }
}

/// Where a lease's tokens are on a list; all its renewals have one place, for they end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatusIndex {
    /// The list.
    pub list: StatusListId,
    /// The place, below [`StatusListId::SIZE`].
    pub index: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_one_list() {
        let list = StatusListId::new(KeyGeneration(7), [0xab; 12]);
        assert_eq!(list.to_string(), format!("7-{}", "ab".repeat(12)));
        assert_eq!(list.to_string().parse(), Ok(list));
        let good = "ab".repeat(12);
        for bad in [
            String::new(),
            good.clone(),
            format!("-{good}"),
            format!("07-{good}"),
            format!("+7-{good}"),
            format!("7-{}", good.to_uppercase()),
            format!("7-{good}ab"),
            format!("7-{}", &good[2..]),
            format!("7-{}", &good[1..]),
            format!("7-+a{}", &good[2..]),
            format!("4294967296-{good}"),
            format!("7-{good} "),
        ] {
            assert_eq!(bad.parse::<StatusListId>(), Err(ParseStatusListIdError), "{bad}");
        }
    }
}
