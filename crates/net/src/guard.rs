//! What ends an established connection from our side: age, silence, or a peer that no longer attests.

use crate::{ConnectionId, Limits, connection::Watch};
use std::{sync::atomic::Ordering, time::Duration};
use taskpass_types::{Clock, Refusal};
use tokio::time::{Instant, sleep, sleep_until};

/// Lives as long as the connection does. `attested` is what the first attestation said.
pub(crate) async fn guard(watch: Watch, attested: Result<(), Refusal>, limits: &Limits, clock: &dyn Clock) {
    let peer = watch.peer.clone();
    let why = tokio::select! {
        () = watch.closed.cancelled() => return,
        () = peer.kill_token().cancelled() => "killed",
        () = sleep(jittered(limits.connection_age, peer.id())) => "age",
        () = silence(&watch, limits.idle) => "idle",
        why = disbelief(&watch, attested, limits, clock) => why,
    };
    peer.kill();
    metrics::counter!("taskpass_connections_closed_total", "why" => why).increment(1);
    tracing::debug!(connection = %peer.id(), remote = peer.remote(), why, "closing connection");
    // Whoever holds the connection drops it now; until then it counts, and a drain waits for it.
    watch.closed.cancelled().await;
}

/// Resolves once nothing was heard for a whole period.
async fn silence(watch: &Watch, period: Duration) {
    let mut due = Instant::now();
    while watch.heard.swap(false, Ordering::Relaxed) {
        due += period;
        sleep_until(due).await;
    }
}

/// Resolves when the peer is not, or no more, who it has to be. A peer without evidence was not asked for any.
async fn disbelief(
    watch: &Watch,
    attested: Result<(), Refusal>,
    limits: &Limits,
    clock: &dyn Clock,
) -> &'static str {
    if !watch.peer.has_evidence() {
        return std::future::pending().await;
    }
    if attested.is_err() {
        sleep(limits.refused_connection_life).await;
        return "refused";
    }
    loop {
        let now = clock.now();
        match watch.peer.attested(now).await {
            Ok(identity) => {
                sleep(watch.peer.reattest_at(&identity).since(now).max(Duration::from_millis(10))).await
            }
            Err(refusal) => {
                tracing::info!(connection = %watch.peer.id(), remote = watch.peer.remote(), ?refusal, "identity ended");
                return "identity_ended";
            }
        }
    }
}

/// Nine to eleven tenths of `age`, spread evenly over consecutive connections (multiplication by the golden ratio).
fn jittered(age: Duration, id: ConnectionId) -> Duration {
    let spread = id.as_u64().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let fraction = f64::from(u32::try_from(spread).unwrap_or(0)) / f64::from(u32::MAX);
    age.mul_f64(0.9 + 0.2 * fraction)
}
