//! Brokers whose clock is wrong: libfaketime, where it is installed, is loaded into the process and reads its offset from a
//! file, so that the clock can jump while the broker serves. The monotonic clock goes on as it does on a real machine.

use super::fleet::Fleet;
use fastrand::Rng;
use std::{path::Path, time::Duration};
use tokio::time::sleep;

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// The file with the offset, in a broker's directory.
const OFFSET: &str = "clock.offset";
/// How long the library takes to look at the file again, and a little more.
const NOTICED: Duration = Duration::from_millis(1200);

/// Whether clocks can be stepped here.
pub(super) fn is_there() -> bool {
    Path::new(LIBRARY).exists()
}

/// Starts a broker with a wrong clock, lets that jump forward and back, and gives it the true one again.
pub(super) async fn step(fleet: &mut Fleet, broker: usize, random: &mut Rng) {
    let file = fleet.worlds[broker].path(OFFSET);
    let environment = [
        ("LD_PRELOAD", LIBRARY),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let set = |fleet: &Fleet, seconds: i64| fleet.worlds[broker].write(OFFSET, &format!("{seconds:+}\n"));
    set(fleet, random.i64(-40..40));
    fleet.start_in(broker, &environment).await;
    for seconds in [random.i64(1..60), random.i64(-60..0)] {
        set(fleet, seconds);
        sleep(NOTICED).await;
    }
    fleet.start_in(broker, &[]).await;
}
