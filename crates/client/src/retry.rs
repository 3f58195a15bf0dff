//! When to ask again: bounded attempts with full jitter, so that a thousand clients of a restarted broker do not come
//! back at once.

use crate::Error;
use std::time::Duration;

/// How often one call is made at most.
const ATTEMPTS: u32 = 4;
const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(5);

/// How long to wait before attempt `attempt + 1`; `None`: give up.
pub(crate) fn delay(attempt: u32, error: &Error) -> Option<Duration> {
    if attempt >= ATTEMPTS || !error.is_retryable() {
        return None;
    }
    match error.retry_after() {
        Some(asked) if asked > CAP => None,
        asked => Some(asked.unwrap_or_default() + backoff(attempt)),
    }
}

/// A random part of `BASE` doubled per attempt, at most `CAP`.
pub(crate) fn backoff(attempt: u32) -> Duration {
    BASE.saturating_mul(1 << attempt.min(16)).min(CAP).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    fn unavailable(retry_after: Option<Duration>) -> Error {
        let mut details = ErrorDetails::new();
        details.set_retry_info(retry_after);
        Status::with_error_details(Code::Unavailable, "the store does not answer", details).into()
    }

    #[test]
    fn gives_up_in_the_end_and_at_once_when_asking_again_is_no_use() {
        assert!(delay(1, &unavailable(None)).is_some());
        assert_eq!(delay(ATTEMPTS, &unavailable(None)), None);
        assert_eq!(delay(1, &Status::permission_denied("no").into()), None);
    }

    #[test]
    fn waits_as_long_as_asked_and_never_for_minutes() {
        let asked = Duration::from_secs(2);
        assert!(delay(1, &unavailable(Some(asked))).unwrap() >= asked);
        assert_eq!(delay(1, &unavailable(Some(Duration::from_secs(60)))), None);
    }

    #[test]
    fn backoff_is_bounded() {
        assert!((0..100).all(|attempt| backoff(attempt) <= CAP));
    }
}
