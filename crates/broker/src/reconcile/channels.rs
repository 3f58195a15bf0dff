//! Keeps the revocation lists up to date: at once when something was denied, and before they grow old.

use super::AFTER_FAILURE;
use crate::Broker;
use std::time::Duration;

/// How often the store is asked though it said nothing: what it says is served only while it is known to be all.
const PERIOD: Duration = Duration::from_millis(500);
/// Between two rounds, so that a burst of ends is a few lists and not one each.
const BREATH: Duration = Duration::from_millis(50);

pub(super) async fn run(broker: Broker) {
    let mut denied = broker.parts().store.denied();
    let mut well = true;
    loop {
        // Marked before the look, so that a record written after it wakes the wait below.
        denied.mark_unchanged();
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
        tokio::time::sleep(BREATH).await;
        drop(tokio::time::timeout(pause, denied.changed()).await);
    }
}
