//! Protobuf times as ours.

use serde::Serializer;
use taskpass_types::Timestamp;

/// `None` for unset, and for what is before 1970.
pub(crate) fn timestamp(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    let millis = u64::try_from(time.seconds).ok()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis.checked_add(u64::try_from(time.nanos).ok()? / 1_000_000)?))
}

/// RFC 3339 in UTC with milliseconds, or null.
pub(crate) fn rfc3339<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// Whole seconds that are left; 0 for what is over or has no end.
pub(crate) fn ttl_seconds(end: Option<Timestamp>, now: Timestamp) -> u64 {
    end.map_or(0, |end| end.since(now).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_are_none_and_never_panic() {
        let time = |seconds, nanos| timestamp(Some(prost_types::Timestamp { seconds, nanos }));
        assert_eq!(time(1, 999_999_999), Some(Timestamp::from_millis(1999)));
        for (seconds, nanos) in [(-1, 0), (i64::MAX, 0), (i64::MIN, i32::MIN), (1, -1)] {
            assert_eq!(time(seconds, nanos), None);
        }
        assert_eq!(timestamp(None), None);
    }
}
