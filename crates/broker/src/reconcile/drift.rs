//! Policy and registry reach what is already out: whenever others come into force, everything that lives is decided anew,
//! and the rules say what follows from what is no longer allowed.

use super::AFTER_FAILURE;
use crate::{
    Broker,
    drift::{Cause, Sweep},
};
use std::{sync::Arc, time::Duration};
use taskpass_lease::{Duty, Lease};
use taskpass_types::{PolicyRevision, Refusal, TenantId};

/// How often a broker looks whether the one on duty still is.
const OTHERS: Duration = Duration::from_secs(1);

pub(super) async fn run(broker: Broker) {
    let mut revision = broker.parts().policies.revision();
    let mut registry = broker.parts().registry.changed();
    let mut swept = None;
    loop {
        revision.mark_unchanged();
        registry.mark_unchanged();
        let pause = match round(&broker, &mut swept).await {
            Ok(()) if broker.parts().settings.fleet => OTHERS,
            Ok(()) => Duration::MAX,
            Err(refusal) => {
                tracing::warn!(?refusal, "not all that lives could be decided anew; trying again");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        tokio::select! {
            changed = revision.changed() => if changed.is_err() { return },
            changed = registry.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Decides anew what has not been under what is in force now. What one broker of a fleet does about the policies serves
/// all of them; the registry is each broker's own.
async fn round(broker: &Broker, swept: &mut Option<PolicyRevision>) -> Result<(), Refusal> {
    let current = broker.policies().revision().clone();
    let on_duty = broker.on_duty(Duty::Drift).await?;
    let policies = on_duty && swept.as_ref() != Some(&current);
    if policies || broker.registry_changed() {
        let ended = broker.decide_anew().await?;
        if ended > 0 {
            tracing::info!(ended, "what is no longer allowed was ended, or given an earlier end");
        }
        *swept = Some(current);
    }
    Ok(())
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

    fn registry_changed(&self) -> bool {
        !Arc::ptr_eq(&self.0.swept.load_full(), &self.registry())
    }

    fn sweep_for(&self, cause: Cause) -> Sweep {
        let parts = self.parts();
        let (store, rules) = (parts.store.clone(), parts.drift.load_full());
        Sweep::new(store, rules, self.policies(), self.registry(), cause, self.now())
    }
}
