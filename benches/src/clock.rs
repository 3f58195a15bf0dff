//! The stopwatch.

use std::time::Instant;

/// Now, to measure by.
#[expect(clippy::disallowed_methods, reason = "measuring is what this package does")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day, for records.
pub fn wall() -> taskpass_types::Timestamp {
    use taskpass_types::Clock as _;
    taskpass_types::SystemClock::default().now()
}
