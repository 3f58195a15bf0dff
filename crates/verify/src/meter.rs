//! What a verifier counts, with the `metrics` crate: nothing is kept unless the process has installed a recorder.

use crate::{Rejected, shared::Shared};
use metrics::SharedString;
use std::{convert::Infallible, sync::Arc, time::Duration};
use taskpass_types::{Epoch, ResourceName};
use tokio::time::{MissedTickBehavior, interval};

/// How often gauges that change by themselves are set.
const TICK: Duration = Duration::from_secs(1);

/// Counts under the audience, for a process may have more than one verifier.
pub(crate) struct Meter(SharedString);

impl Meter {
    pub(crate) fn new(audience: &ResourceName) -> Self {
        Self(SharedString::from_shared(Arc::from(audience.as_str())))
    }

    /// A credential was presented.
    pub(crate) fn checked<T>(&self, result: &Result<T, Rejected>) {
        match result {
            Ok(_) => metrics::counter!("taskpass_verifier_accepted_total", "audience" => self.0.clone()),
            Err(rejected) => metrics::counter!(
                "taskpass_verifier_refused_total", "audience" => self.0.clone(), "reason" => rejected.code()
            ),
        }
        .increment(1);
    }

    /// A session of the feed came to its end.
    pub(crate) fn lost(&self, why: &'static str) {
        metrics::counter!("taskpass_verifier_feeds_lost_total", "audience" => self.0.clone(), "why" => why)
            .increment(1);
    }

    /// Something became of the cache.
    pub(crate) fn cache(&self, outcome: &'static str) {
        metrics::counter!("taskpass_verifier_cache_total", "audience" => self.0.clone(), "outcome" => outcome)
            .increment(1);
    }

    pub(crate) fn enforces(&self, epoch: Option<Epoch>) {
        let epoch = epoch.unwrap_or_default().0 as f64;
        metrics::gauge!("taskpass_verifier_epoch", "audience" => self.0.clone()).set(epoch);
    }

    /// Of what grows old in silence.
    pub(crate) async fn run(shared: Arc<Shared>) -> Infallible {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let audience = &shared.meter.0;
            let records = shared.denies.read().len() as f64;
            metrics::gauge!("taskpass_verifier_records", "audience" => audience.clone()).set(records);
            // Never heard: as old as can be said.
            let age = shared.staleness().map_or(f64::INFINITY, |age| age.as_secs_f64());
            metrics::gauge!("taskpass_verifier_staleness_seconds", "audience" => audience.clone()).set(age);
        }
    }
}
