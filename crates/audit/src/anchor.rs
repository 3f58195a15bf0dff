//! A point of the log that is kept elsewhere, so that someone who can rewrite the whole log is still found out.

use crate::LeafHash;
use std::{fmt, str::FromStr};

/// The hash of one entry; text form `seq:hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The number of the entry; 0 stands for the beginning of the log.
    pub seq: u64,
    /// Its hash.
    pub hash: LeafHash,
}

/// Why a text is no anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is `seq:hash`, for example as `taskpass audit verify` prints it")]
pub struct ParseAnchorError;

impl FromStr for Anchor {
    type Err = ParseAnchorError;

    fn from_str(text: &str) -> Result<Self, ParseAnchorError> {
        let (seq, hash) = text.split_once(':').ok_or(ParseAnchorError)?;
        if !seq.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseAnchorError);
        }
        let seq = seq.parse().map_err(|_| ParseAnchorError)?;
        let hash = hash.parse().map_err(|_| ParseAnchorError)?;
        Ok(Self { seq, hash })
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_its_text() {
        let anchor = Anchor { seq: 88_106, hash: LeafHash::of(b"x") };
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        for bad in ["", ":", "1:", "1", "x:00", &format!("+1:{}", anchor.hash), &format!(":{}", anchor.hash)]
        {
            assert!(bad.parse::<Anchor>().is_err(), "{bad:?} was accepted");
        }
    }
}
