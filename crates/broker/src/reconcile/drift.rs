//! Policy and registry reach what is already out: whenever others come into force, everything that lives is decided anew,
//! and the rules say what follows from what is no longer allowed.

use super::AFTER_FAILURE;
use crate::{
    Broker,
    drift::{Cause, Sweep},
};
use std::sync::Arc;
use taskpass_lease::Lease;
use taskpass_types::{Refusal, TenantId};

pub(super) async fn run(broker: Broker) {
    let mut revision = broker.parts().policies.revision();
    let mut registry = broker.parts().registry.changed();
    loop {
        revision.mark_unchanged();
        registry.mark_unchanged();
        match broker.decide_anew().await {
            Ok(ended) => {
                if ended > 0 {
                    tracing::info!(ended, "what is no longer allowed was ended, or given an earlier end");
                }
                tokio::select! {
                    changed = revision.changed() => if changed.is_err() { return },
                    changed = registry.changed() => if changed.is_err() { return },
                }
            }
            Err(refusal) => {
                tracing::warn!(?refusal, "not all that lives could be decided anew; trying again");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

impl Broker {
    /// Decides everything that lives anew, under the policies and the registry in force, and does what the rules say. Says
    /// how much ended or was given an earlier end.
    ///
    /// # Errors
    /// When the store does not answer; the next round begins anew.
    pub async fn decide_anew(&self) -> Result<usize, Refusal> {
        let now = self.registry();
        let before = self.0.swept.load_full();
        let cause = if Arc::ptr_eq(&before, &now) { Cause::Policies } else { Cause::Registry(before) };
        let swept = self.sweep_for(cause).all(&TenantId::default()).await?;
        metrics::gauge!("taskpass_swept").set(f64::from(u32::try_from(swept.examined).unwrap_or(u32::MAX)));
        let acted = self.follow_findings(swept.findings).await?;
        self.0.swept.store(now);
        Ok(acted)
    }

    /// Decides one lease anew whose recheck is due.
    ///
    /// # Errors
    /// When the store does not answer; the lease is checked again at its next recheck.
    pub(crate) async fn recheck(&self, lease: &Lease) -> Result<usize, Refusal> {
        let swept = self.sweep_for(Cause::Recheck).one(lease).await?;
        self.follow_findings(swept.findings).await
    }

    fn sweep_for(&self, cause: Cause) -> Sweep {
        let parts = self.parts();
        let (store, rules) = (parts.store.clone(), parts.drift.load_full());
        Sweep::new(store, rules, self.policies(), self.registry(), cause, self.now())
    }
}
