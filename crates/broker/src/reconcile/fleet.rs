//! Takes up what the fleet agreed on, and makes whole what a store lost.

use super::AFTER_FAILURE;
use crate::Broker;
use std::time::Duration;

/// How often policies and keys of the fleet are looked at. Whoever is refused for outdated policies waits no longer.
const PERIOD: Duration = Duration::from_millis(500);

/// Policies, and losses.
pub(super) async fn run(broker: Broker) {
    let mut mending = broker.parts().store.mending();
    loop {
        let lost = *mending.borrow_and_update();
        let round = async {
            if lost {
                broker.make_whole("the store has lost what it had acknowledged").await?;
            }
            broker.agree_on_keys().await?;
            broker.follow_policies().await
        };
        let pause = match round.await {
            Ok(_) => PERIOD,
            Err(refusal) => {
                tracing::warn!(?refusal, "what the fleet agreed on could not be taken up; trying again");
                AFTER_FAILURE
            }
        };
        drop(tokio::time::timeout(pause, mending.changed()).await);
    }
}
