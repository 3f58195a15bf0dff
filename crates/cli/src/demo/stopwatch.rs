//! One time scale for all processes of the demo: the machine's clock, in microseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An instant on the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(Duration);

impl Instant {
    #[expect(clippy::disallowed_methods, reason = "a measurement for people; nothing is decided by it")]
    pub(super) fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// From a timestamp of the API.
    pub(super) fn from_wire(at: &prost_types::Timestamp) -> Self {
        let (secs, nanos) = (u64::try_from(at.seconds).unwrap_or(0), u32::try_from(at.nanos).unwrap_or(0));
        Self(Duration::new(secs, nanos))
    }

    /// The span since `earlier`; nothing when that is later.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
