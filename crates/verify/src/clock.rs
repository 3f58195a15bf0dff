//! A clock for staleness: it goes on while the machine sleeps, and nobody can set it.

use taskpass_types::{Clock, Timestamp};

/// Since when it counts: long before the machine started, so that what was heard before then has a time of its own.
#[cfg(target_os = "linux")]
const ORIGIN: u64 = 1 << 42;

/// Time since the machine started, suspension included (Linux `CLOCK_BOOTTIME`), and a constant. Elsewhere the wall clock's high-water
/// mark stands in: it goes on during suspension too, but a step forward looks like silence, which fails closed.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    #[cfg(not(target_os = "linux"))]
    wall: taskpass_types::SystemClock,
}

impl Clock for Stopwatch {
    #[cfg(target_os = "linux")]
    fn now(&self) -> Timestamp {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let millis = |time: rustix::time::Timespec| {
            u64::try_from(time.tv_sec)
                .ok()?
                .checked_mul(1000)?
                .checked_add(u64::try_from(time.tv_nsec).ok()? / 1_000_000)
        };
        Timestamp::from_millis(millis(time).unwrap_or(u64::MAX).saturating_add(ORIGIN))
    }

    #[cfg(not(target_os = "linux"))]
    fn now(&self) -> Timestamp {
        self.wall.now()
    }
}
