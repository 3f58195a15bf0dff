//! Keeps the revocation lists up to date: at once when something was denied, and before they grow old.

use super::AFTER_FAILURE;
use crate::Broker;
use std::time::Duration;

/// How often the store is asked though it said nothing: what it says is served only while it is known to be all.
const PERIOD: Duration = Duration::from_millis(500);
/// Between two rounds, so that a burst of ends is a few lists and not one each.
const BREATH: Duration = Duration::from_millis(50);
/// A round that took long is followed by a longer pause, so that long lists never take more than a fifth of the time; but
/// never by one in which the lists would no longer count as confirmed.
const PAUSE: u32 = 4;
const LONGEST: Duration = Duration::from_secs(2);

pub(super) async fn run(broker: Broker) {
    let mut denied = broker.parts().store.denied();
    let mut well = true;
    loop {
        // Marked before the look, so that a record written after it wakes the wait below.
        denied.mark_unchanged();
        let began = broker.now();
        let pause = match broker.publish_crls().await {
            Ok(()) => {
                well = true;
                PERIOD
            }
            Err(refusal) => {
                if std::mem::replace(&mut well, false) {
                    tracing::warn!(
                        ?refusal,
                        "the revocation lists could not be brought up to date; trying again"
                    );
                }
                AFTER_FAILURE
            }
        };
        let took = broker.now().since(began);
        tokio::time::sleep(took.saturating_mul(PAUSE).clamp(BREATH, LONGEST)).await;
        drop(tokio::time::timeout(pause, denied.changed()).await);
    }
}
