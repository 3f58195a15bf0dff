//! Measures how long it takes until an end is enforced everywhere: from its deny record to the last of the verifiers that it
//! concerns. What it finds are metrics; nothing waits for it.

use crate::{Broker, Dead, verifiers::Slowest};
use std::{collections::VecDeque, time::Duration};
use taskpass_types::{Epoch, HistoryId, Refusal};

/// Between two rounds: ends and acknowledgements come in bursts.
const BREATH: Duration = Duration::from_millis(20);
/// How often it looks though nothing was said, for those that are given up.
const PERIOD: Duration = Duration::from_secs(1);
/// How many ends are under way; in a larger burst the rest is not measured.
const MOST: usize = 1_024;
/// After so long an end counts as not confirmed.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// Records that are read at once.
const RECORDS: usize = 512;

/// The ends that are not enforced everywhere yet.
#[derive(Default)]
struct Deaths {
    /// Up to where ends were read; `None`: nowhere, so what was before is not measured.
    read: Option<(HistoryId, Epoch)>,
    pending: VecDeque<Dead>,
}

pub(super) async fn run(broker: Broker) {
    let (mut denied, mut told) = (broker.parts().store.denied(), broker.verifiers_told());
    let mut deaths = Deaths::default();
    loop {
        denied.mark_unchanged();
        told.mark_unchanged();
        // A store that does not answer is asked again; what comes late is late in the metrics too.
        drop(deaths.look(&broker).await);
        tokio::time::sleep(BREATH).await;
        let news = async {
            tokio::select! {
                _ = denied.changed() => {}
                _ = told.changed() => {}
            }
        };
        drop(tokio::time::timeout(PERIOD, news).await);
    }
}

impl Deaths {
    async fn look(&mut self, broker: &Broker) -> Result<(), Refusal> {
        let (store, registry) = (&broker.parts().store, broker.registry());
        let (history, tenant) = (store.history(), registry.tenant());
        loop {
            let after = self.read.filter(|(known, _)| *known == history).map(|(_, epoch)| epoch);
            let denies = store.denies_after(tenant, after.unwrap_or(Epoch(u64::MAX)), RECORDS).await?;
            let last = denies.records.last().map(|record| record.epoch);
            let full = denies.records.len() == RECORDS;
            let reached = last.filter(|_| full).unwrap_or(denies.epoch);
            if after.is_some() {
                let room = MOST.saturating_sub(self.pending.len());
                self.pending.extend(denies.records.iter().map(Dead::from).take(room));
            }
            self.read = Some((history, reached));
            if !full {
                break;
            }
        }
        let now = broker.now();
        self.pending.retain(|dead| match broker.slowest(tenant, dead) {
            Slowest::Nobody => false,
            Slowest::After(span) => {
                metrics::histogram!("taskpass_time_to_dead_seconds").record(span.as_secs_f64());
                false
            }
            Slowest::Unknown if now.since(dead.at()) > GIVEN_UP => {
                metrics::counter!("taskpass_deaths_unconfirmed_total").increment(1);
                false
            }
            Slowest::Unknown => true,
        });
        Ok(())
    }
}
