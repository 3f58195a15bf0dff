//! Time: one clock for all decisions, and spans that cannot be zero or infinite.

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    num::NonZeroU32,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds since the Unix epoch; saturates.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: a credential that carries them never outlives the lease.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The same instant without its milliseconds.
    pub const fn floor_to_secs(self) -> Self {
        Self::from_secs(self.as_secs())
    }

    /// This plus a span; saturates.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This less a span; saturates at the epoch.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The span from `earlier` to this; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(at) => f.write_str(&DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&at)),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// The text is no instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an instant, expected RFC 3339 such as `2026-11-23T22:12:52Z`")]
pub struct ParseTimestampError;

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// RFC 3339, from 1970 on; what is finer than milliseconds is cut.
    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let at: jiff::Timestamp = text.parse().map_err(|_| ParseTimestampError)?;
        u64::try_from(at.as_millisecond()).map(Self).map_err(|_| ParseTimestampError)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How long something may live: whole seconds, 1 to 31 days. There is no zero and no "for ever", so that arithmetic can
/// only end in *expired*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Ttl(NonZeroU32);

/// Why a number of seconds is no TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time to live of {0} s is out of range: use 1 s to 31 days")]
pub struct TtlError(u64);

impl Ttl {
    /// 31 days.
    pub const MAX_SECS: u32 = 31 * 24 * 3600;

    /// From whole seconds, 1 to [`Ttl::MAX_SECS`].
    pub fn from_secs(secs: u64) -> Result<Self, TtlError> {
        u32::try_from(secs)
            .ok()
            .filter(|secs| *secs <= Self::MAX_SECS)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(TtlError(secs))
    }

    /// From a span; its milliseconds are cut.
    pub fn from_duration(span: Duration) -> Result<Self, TtlError> {
        Self::from_secs(span.as_secs())
    }

    /// The nearest there is to a span: at least a second, at most [`Ttl::MAX_SECS`]; its milliseconds are cut.
    pub fn nearest(span: Duration) -> Self {
        let secs = u32::try_from(span.as_secs()).unwrap_or(u32::MAX).min(Self::MAX_SECS);
        Self(NonZeroU32::new(secs).unwrap_or(NonZeroU32::MIN))
    }

    /// Whole seconds.
    pub const fn as_secs(self) -> u32 {
        self.0.get()
    }

    /// As a span.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.get() as u64)
    }
}

impl TryFrom<u32> for Ttl {
    type Error = TtlError;
    fn try_from(secs: u32) -> Result<Self, TtlError> {
        Self::from_secs(u64::from(secs))
    }
}

impl From<Ttl> for u32 {
    fn from(ttl: Ttl) -> u32 {
        ttl.as_secs()
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// Where "now" comes from.
pub trait Clock: Send + Sync + 'static {
    /// Now. Never goes back within one process.
    fn now(&self) -> Timestamp;
}

/// The machine's clock, held at its high-water mark: a step back never lengthens or revives anything.
#[derive(Debug, Default)]
pub struct SystemClock {
    newest_millis: AtomicU64,
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        Timestamp(self.newest_millis.fetch_max(wall, Ordering::AcqRel).max(wall))
    }
}

/// A clock that a test moves.
#[derive(Debug)]
pub struct ManualClock {
    millis: AtomicU64,
}

impl ManualClock {
    /// Starts at `at`.
    pub const fn new(at: Timestamp) -> Self {
        Self { millis: AtomicU64::new(at.as_millis()) }
    }

    /// Moves forward.
    pub fn advance(&self, span: Duration) {
        self.millis.fetch_add(u64::try_from(span.as_millis()).unwrap_or(0), Ordering::AcqRel);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.millis.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_has_no_zero_and_no_infinity() {
        assert!(Ttl::from_secs(0).is_err());
        assert!(Ttl::from_secs(u64::MAX).is_err());
        assert!(Ttl::from_secs(u64::from(Ttl::MAX_SECS) + 1).is_err());
        assert_eq!(Ttl::from_secs(60).unwrap().as_duration(), Duration::from_secs(60));
        for (span, secs) in [(0, 1), (1, 1), (60, 60), (u64::MAX, Ttl::MAX_SECS)] {
            assert_eq!(Ttl::nearest(Duration::from_secs(span)).as_secs(), secs);
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(Timestamp::from_millis(1).minus(Duration::from_secs(9)), Timestamp::from_millis(0));
        assert_eq!(Timestamp::from_millis(1).since(end), Duration::ZERO);
    }

    #[test]
    fn prints_rfc_3339() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!("2023-11-14T22:13:20.123Z".parse(), Ok(at));
        assert_eq!("2023-11-14T23:13:20.1239+01:00".parse(), Ok(at));
        for bad in ["", "2023-11-14", "now", "1969-12-31T23:59:59Z", "2023-11-14T22:13:20"] {
            assert_eq!(bad.parse::<Timestamp>(), Err(ParseTimestampError), "{bad:?}");
        }
    }
}
