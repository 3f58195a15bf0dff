//! An instant in the words that policies use for it: `context.now`, in UTC.

use taskpass_types::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// When, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) unix_seconds: u64,
    pub(crate) weekday: &'static str,
}

impl Moment {
    pub(crate) const fn of(at: Timestamp) -> Self {
        let unix_seconds = at.as_secs();
        Self {
            hour: unix_seconds % DAY / HOUR,
            minute: unix_seconds % HOUR / MINUTE,
            unix_seconds,
            // The epoch was a Thursday.
            weekday: match unix_seconds / DAY % 7 {
                0 => "thursday",
                1 => "friday",
                2 => "saturday",
                3 => "sunday",
                4 => "monday",
                5 => "tuesday",
                _ => "wednesday",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_has_an_hour_a_minute_and_a_weekday() {
        for (unix_seconds, hour, minute, weekday) in [
            (0, 0, 0, "thursday"),
            (86_399, 23, 59, "thursday"),
            (86_400, 0, 0, "friday"),
            // 2024-02-29T17:05:59Z
            (1_709_226_359, 17, 5, "thursday"),
            // 2026-01-05T09:00:00Z
            (1_767_603_600, 9, 0, "monday"),
            // 2026-01-11T23:59:00Z
            (1_768_175_940, 23, 59, "sunday"),
        ] {
            let expected = Moment { hour, minute, unix_seconds, weekday };
            assert_eq!(Moment::of(Timestamp::from_secs(unix_seconds)), expected, "{unix_seconds}");
        }
        assert!(Moment::of(Timestamp::from_millis(u64::MAX)).hour < 24);
    }
}
