//! The chain: each entry names its number, a time not before the last one's, and the hash of the entry before it.

use crate::{
    Anchor, LeafHash, Receipt,
    canonical::{self, Value, push_integer},
    event::Body,
    hash::push_hex,
};
use taskpass_types::Timestamp;

/// 9999-12-30T22:00:00Z: up to here every time is written with the same width, in every time zone.
const MAX_TIME: u64 = 253_402_207_200_000;

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It ends at another byte than `HEAD` says.
    #[error("it ends at byte {found}, but `HEAD` says {expected}")]
    End {
        /// What `HEAD` says.
        expected: u64,
        /// Where it ends.
        found: u64,
    },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Actor, Entry, Event, MAX_ENTRY_BYTES};
    use proptest::prelude::*;
    use taskpass_types::{ActionName, Reason, Refusal, ResourceName, Scope, TenantId};

    fn line(chain: &mut Chain, event: &Event, millis: u64) -> Vec<u8> {
        let mut out = Vec::new();
        chain.append(&mut out, &event.encode(), Timestamp::from_millis(millis));
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    fn hostile(text: &str) -> Event {
        let refusal = Refusal::new(Reason::FieldInvalid, text).because("a secret");
        Event::outcome(&TenantId::default(), Action::RequestRefuse, Actor::Peer(text.to_owned()))
            .purpose(text)
            .labels([(text, text), ("team", "billing")])
            .policies([text])
            .jti(text)
            .refusal(&refusal)
    }

    proptest! {
        #[test]
        fn whatever_is_written_follows_and_reads_back(texts: Vec<String>, times: Vec<u64>) {
            let (mut written, mut read) = (Chain::new(), Chain::new());
            for (text, time) in texts.iter().zip(times) {
                let line = line(&mut written, &hostile(text), time);
                prop_assert!(line.len() < MAX_ENTRY_BYTES && !line.contains(&b'\n'));
                prop_assert_eq!(read.accept(&line), Ok(()));
                let entry: Entry = serde_json::from_slice(&line).unwrap();
                prop_assert_eq!((entry.seq, entry.code.as_str()), (written.seq, "TP602F"));
                prop_assert!(!entry.message.unwrap().contains("a secret"));
            }
            prop_assert_eq!(read.anchor(), written.anchor());
        }
    }

    #[test]
    fn the_largest_event_fits_and_says_what_was_cut() {
        for text in ["x", "\"", "\u{e0001}", "\u{1b}", "🦀"] {
            let name = "r".repeat(200);
            let scope = Scope {
                resource: ResourceName::new(name).unwrap(),
                action: ActionName::new("a".repeat(100)).unwrap(),
            };
            let event = hostile(&text.repeat(100_000))
                .scopes(&vec![scope.clone(); 10_000])
                .actions(&vec![scope.action; 10_000])
                .attested(vec![text.repeat(1_000); 100])
                .obligations(vec![text.repeat(1_000); 100])
                .sensitivity(&text.repeat(100_000));
            let line = line(&mut Chain::new(), &event, 0);
            assert!(line.len() < MAX_ENTRY_BYTES, "{} bytes", line.len());
            let entry: Entry = serde_json::from_slice(&line).unwrap();
            let cut = ["actions", "actor", "jti", "labels", "message", "policies", "purpose", "scopes"];
            assert!(
                cut.iter().all(|name| entry.truncated.iter().any(|cut| cut == name)),
                "{:?}",
                entry.truncated
            );
            assert!(entry.scopes.len() > 30);
        }
    }

    #[test]
    fn time_never_goes_back_and_keeps_its_width() {
        let mut chain = Chain::new();
        let event = hostile("");
        for (millis, expected) in [
            (1_000, "1970-01-01T00:00:01.000Z"),
            (0, "1970-01-01T00:00:01.000Z"),
            (u64::MAX, "9999-12-30T22:00:00.000Z"),
        ] {
            line(&mut chain, &event, millis);
            assert_eq!(chain.time, expected);
        }
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let mut chain = Chain::new();
        let first = line(&mut chain, &hostile("a"), 5);
        let second = line(&mut chain, &hostile("b"), 9);
        let earlier = String::from_utf8(second.clone()).unwrap().replace(".009Z", ".004Z");
        let after_first = Chain::after(&first).unwrap();
        assert_eq!(after_first.clone().accept(&first), Err(Fault::Seq { found: 1 }));
        assert_eq!(after_first.clone().accept(earlier.as_bytes()), Err(Fault::Time));
        let mut other = Chain { hash: LeafHash::GENESIS, ..after_first.clone() };
        assert_eq!(other.accept(&second), Err(Fault::Prev));
        assert_eq!(after_first.clone().accept(&second), Ok(()));
        assert!(matches!(after_first.clone().accept(b"{\"seq\":2}"), Err(Fault::Form(_))));
    }
}
