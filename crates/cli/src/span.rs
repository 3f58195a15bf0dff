//! Spans of time as people write them: `5m`, `30s`, `1h30m`, `7d`. Never zero.

use serde::{Deserialize, Deserializer, de};
use std::{fmt, str::FromStr, time::Duration};

/// In milliseconds, the largest first: that is also the order in which they are written.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A positive span in whole milliseconds. Its text form has a unit after every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// Why a text is no span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a span of time, expected for example `30s`, `5m` or `1h30m`")]
pub struct ParseSpanError(String);

impl Span {
    /// As a duration.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, ParseSpanError> {
        parse(text)
            .filter(|millis| *millis > 0)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| ParseSpanError(text.escape_debug().take(32).collect()))
    }
}

/// Number and unit, each unit at most once and the larger first.
fn parse(text: &str) -> Option<u64> {
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = after;
    }
    Some(total)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        for (unit, size) in UNITS {
            if millis >= size {
                write!(f, "{}{unit}", millis / size)?;
                millis %= size;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// For fields of type [`Duration`] that are written as a span.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(Span::as_duration)
}

/// The text of a duration.
pub(crate) fn show(duration: Duration) -> String {
    Span(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("1ms", 1),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("90m", 5_400_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().as_duration().as_millis(), millis, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_quotes_it_escaped() {
        for bad in [
            "",
            "0s",
            "0",
            "5",
            "m",
            "-5m",
            "+5m",
            "5 m",
            " 5m",
            "5M",
            "5min",
            "1m1h",
            "1m1m",
            "1.5h",
            "5m\u{1b}[31m",
            "٥m",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            let error = bad.parse::<Span>().expect_err(bad).to_string();
            assert!(!error.contains('\u{1b}') && error.contains("for example"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_span_comes_back(millis in 1..u64::MAX) {
            let span = Span(Duration::from_millis(millis));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<Span>();
        }
    }
}
