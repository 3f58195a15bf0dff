//! A digest that stands for content: what has the same fingerprint says the same, wherever it lies in memory.
//!
//! Invariant: what is written is unambiguous. Every text has its length before it and every value its kind, so that no
//! two contents are written alike; that two have one digest all the same is as likely as a collision of SHA-256.

use ring::digest::{SHA256, digest};

/// SHA-256 of some content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

/// Content on its way to a fingerprint.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        // Enough for most, so that it is allocated once.
        Self(Vec::with_capacity(512))
    }

    pub(crate) fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn number(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.number(i64::try_from(value.len()).unwrap_or(i64::MAX));
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    pub(crate) fn fingerprint(&mut self, value: Fingerprint) -> &mut Self {
        self.0.extend_from_slice(&value.0);
        self
    }

    pub(crate) fn finish(&self) -> Fingerprint {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest(&SHA256, &self.0).as_ref()) {
            *to = *from;
        }
        Fingerprint(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_do_not_run_together() {
        let of = |texts: &[&str]| {
            let mut writer = Writer::new();
            for text in texts {
                writer.text(text);
            }
            writer.finish()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        for other in [vec!["a", "bc"], vec!["abc"], vec!["c", "ab"], vec!["ab", "c", ""]] {
            assert_ne!(of(&["ab", "c"]), of(&other), "{other:?}");
        }
    }
}
