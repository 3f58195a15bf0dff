//! Says to the fleet which verifiers follow this broker, whenever that or what they enforce changes, and often enough that the
//! others know that it is there.

use crate::Broker;
use std::time::Duration;

/// Between two rounds: acknowledgements come in bursts.
const BREATH: Duration = Duration::from_millis(100);
/// How often though nothing changed.
const PERIOD: Duration = Duration::from_secs(3);

pub(super) async fn run(broker: Broker) {
    let mut told = broker.verifiers_told();
    loop {
        told.mark_unchanged();
        // The next round is the retry.
        if let Err(refusal) = broker.share_followers().await {
            tracing::debug!(?refusal, "the fleet was not told which verifiers follow this broker");
        }
        tokio::time::sleep(BREATH).await;
        drop(tokio::time::timeout(PERIOD, told.changed()).await);
    }
}
