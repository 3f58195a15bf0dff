//! The chain: each entry names its number, a time not before the last one's, and the hash of the entry before it.

use crate::{
    Anchor, LeafHash, Receipt,
    canonical::{self, Value, push_integer},
    event::Body,
    hash::push_hex,
};
use taskpass_types::Timestamp;

/// The last millisecond of the year 9999, so that every time is written with the same width.
const MAX_TIME: u64 = 253_402_300_799_999;

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not in canonical form.
    #[error("it is not in canonical form: {0}")]
    Form(&'static str),
    /// Its hash is not the one that is known from elsewhere.
    #[error("its hash is {found}, but {place} says {expected}")]
    Hash {
        /// Where the expected hash is from.
        place: &'static str,
        /// What was expected.
        expected: LeafHash,
        /// What was computed.
        found: LeafHash,
    },
    /// The log ends before an entry that must be there.
    #[error("the log ends before it, but {place} says that it was durable")]
    Missing {
        /// Who says so.
        place: &'static str,
    },
    /// The entry before it is another than the one after which it was written.
    #[error("its `prev` is not the hash of the entry before it: one of the two was changed")]
    Prev,
    /// It is not the next number.
    #[error("its `seq` is {found}: entries were removed, repeated or moved")]
    Seq {
        /// What it says.
        found: u64,
    },
    /// Its time is before the one of the entry before it.
    #[error("its `time` is before the one of the entry before it")]
    Time,
    /// It does not end.
    #[error("it does not end with a newline")]
    Unended,
}

/// The end of the chain so far.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) seq: u64,
    pub(crate) hash: LeafHash,
    pub(crate) time: String,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self { seq: 0, hash: LeafHash::GENESIS, time: String::new() }
    }

    /// The chain whose last entry is `line`, without asking what was before.
    pub(crate) fn after(line: &[u8]) -> Result<Self, Fault> {
        let link = Link::parse(line)?;
        Ok(Self { seq: link.seq, hash: LeafHash::of(line), time: link.time.to_owned() })
    }

    pub(crate) fn anchor(&self) -> Anchor {
        Anchor { seq: self.seq, hash: self.hash }
    }

    /// Takes the next entry, without its newline, if it follows.
    pub(crate) fn accept(&mut self, line: &[u8]) -> Result<(), Fault> {
        let link = Link::parse(line)?;
        if link.seq != self.seq.saturating_add(1) {
            return Err(Fault::Seq { found: link.seq });
        }
        if link.prev != self.hash {
            return Err(Fault::Prev);
        }
        if link.time < self.time.as_str() {
            return Err(Fault::Time);
        }
        link.time.clone_into(&mut self.time);
        self.seq = link.seq;
        self.hash = LeafHash::of(line);
        Ok(())
    }

    /// Writes the next entry to `out`, with its newline. A time before the last entry's becomes the last entry's.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, body: &Body, time: Timestamp) -> Receipt {
        let time = Timestamp::from_millis(time.as_millis().min(MAX_TIME)).to_string();
        if time > self.time {
            self.time = time;
        }
        self.seq = self.seq.saturating_add(1);
        let start = out.len();
        let part = |from: usize, to: usize| body.bytes.get(from..to).unwrap_or_default();
        out.extend_from_slice(part(0, body.prev));
        out.push(b'"');
        push_hex(out, self.hash.as_bytes());
        out.push(b'"');
        out.extend_from_slice(part(body.prev, body.seq));
        push_integer(out, self.seq);
        out.extend_from_slice(part(body.seq, body.time));
        out.push(b'"');
        out.extend_from_slice(self.time.as_bytes());
        out.push(b'"');
        out.extend_from_slice(part(body.time, body.bytes.len()));
        self.hash = LeafHash::of(out.get(start..).unwrap_or_default());
        out.push(b'\n');
        Receipt { seq: self.seq, hash: self.hash }
    }
}

/// What ties an entry to its place.
pub(crate) struct Link<'a> {
    pub(crate) seq: u64,
    pub(crate) time: &'a str,
    prev: LeafHash,
}

impl<'a> Link<'a> {
    /// Reads a line, which must be canonical and have the three members that every entry has.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, Fault> {
        let (mut seq, mut time, mut prev) = (None, None, None);
        canonical::read(line, |name, value| match (name, value) {
            ("prev", Value::Text(text)) => prev = text.parse().ok(),
            ("seq", Value::Integer(number)) => seq = Some(number),
            ("time", Value::Text(text)) if is_time(text) => time = Some(text),
            _ => {}
        })
        .map_err(Fault::Form)?;
        Ok(Self {
            seq: seq.ok_or(Fault::Form("`seq` is missing or no number"))?,
            time: time
                .ok_or(Fault::Form("`time` is missing or no RFC 3339 time in UTC with milliseconds"))?,
            prev: prev.ok_or(Fault::Form("`prev` is missing or no hash"))?,
        })
    }
}

/// Whether a text has the shape of `2026-11-23T14:27:31.000Z`; texts of this shape sort by time.
fn is_time(text: &str) -> bool {
    let shape = b"0000-00-00T00:00:00.000Z";
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(b, s)| if *s == b'0' { b.is_ascii_digit() } else { b == *s })
}
