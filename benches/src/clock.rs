//! The stopwatch.

use std::time::Instant;

/// Now, to measure by.
#[expect(clippy::disallowed_methods, reason = "measuring is what this package does")]
pub fn now() -> Instant {
    Instant::now()
}
