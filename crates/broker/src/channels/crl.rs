//! The revocation lists (RFC 5280), signed anew whenever something ended, and in time before those before are too old.

use super::{
    Published,
    cuts::Cuts,
    denied::{Denied, Look},
    lists::{Crls, Material},
};
use crate::Broker;
use std::{sync::Arc, time::Duration};
use taskpass_crypto::{CertificateAuthority, x509::CrlTerms};
use taskpass_types::{Reason, Refusal, Timestamp};

/// A list is served only while the store confirmed this lately that there is nothing newer: the time after which
/// verifiers that follow the feed refuse everything.
const CONFIRMED: Duration = Duration::from_secs(5);
/// How much sooner than its making a list begins, for whoever's clock is behind: as much as verifiers may be off.
const BACKDATE: Duration = Duration::from_secs(5);

impl Broker {
    /// The revocation lists, if they are all that there is to say now.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` while that is not known.
    pub fn crls(&self) -> Result<Arc<Crls>, Refusal> {
        Ok(self.published()?.crls.clone())
    }

    /// What was published last, if it is all that there is to say now.
    pub(super) fn published(&self) -> Result<Arc<Published>, Refusal> {
        let mending = *self.parts().store.mending().borrow();
        let published = self.0.channels.published.load_full();
        let known = published.filter(|published| {
            !mending && self.now() < published.confirmed.plus(CONFIRMED) && self.has_keys_of_store()
        });
        known.ok_or_else(|| {
            Refusal::new(
                Reason::StoreUnavailable,
                "it is not known what has ended, so there is no list of it",
            )
            .fix("ask again in a moment; `/readyz` says what is wrong")
        })
    }

    /// Brings the revocation lists up to date with the store; signs them anew if something ended or they grow old.
    ///
    /// # Errors
    /// When the store does not answer, or a list cannot be made. The lists before are served a little longer at most.
    pub async fn publish_crls(&self) -> Result<(), Refusal> {
        if *self.parts().store.mending().borrow() {
            return Err(Refusal::new(Reason::StoreUnavailable, "the store has lost something"));
        }
        self.follow_keys().await?;
        let mut guard = self.0.channels.denied.lock().await;
        let now = self.now();
        let published = self.0.channels.published.load_full();
        let old = published.as_ref().is_none_or(|published| now >= self.renew_at(published));
        let changed = self.follow_denies(&mut guard, now, old).await?;
        let Some(denied) = guard.as_ref() else { return Ok(()) };
        if let Some(until) = denied.blind_until(now) {
            self.0.channels.published.store(None);
            return Err(Refusal::new(Reason::StoreCorrupt, "a record under an end cannot be read")
                .with("until", until));
        }
        let authorities = self.answering(denied);
        let generations: Vec<_> = authorities.iter().map(|one| one.generation()).collect();
        let last =
            published.as_ref().filter(|published| !changed && !old && published.generations == generations);
        let next = match last {
            Some(last) => Published {
                crls: last.crls.clone(),
                statuses: last.statuses.clone(),
                generations,
                signed: last.signed,
                confirmed: now,
            },
            None => {
                let (cuts, statuses) = (denied.cuts(), Arc::new(denied.statuses()));
                drop(guard);
                let kept = published.filter(|_| !old);
                let (signed, before) =
                    kept.map_or((now, None), |kept| (kept.signed, Some(kept.crls.clone())));
                let crls = self.sign_crls(authorities, cuts, before, now).await?;
                Published { crls: Arc::new(crls), statuses, generations, signed, confirmed: now }
            }
        };
        self.0.channels.published.store(Some(Arc::new(next)));
        Ok(())
    }

    /// Reads what was denied since the last look.
    pub(super) async fn follow_denies(
        &self,
        denied: &mut Option<Denied>,
        now: Timestamp,
        anew: bool,
    ) -> Result<bool, Refusal> {
        let (store, settings) = (&self.parts().store, &self.parts().settings.channels);
        let registry = self.registry();
        let look = Look {
            store: &**store,
            tenant: registry.tenant(),
            now,
            keep: settings.crl_validity.saturating_add(BACKDATE),
            life: settings.certificate_life,
        };
        denied.get_or_insert_with(|| Denied::new(store.history())).follow(&look, anew).await
    }

    /// When a list has to make place for the next, though nothing changed: in time for those who fetch seldom.
    fn renew_at(&self, published: &Published) -> Timestamp {
        published.signed.plus(self.parts().settings.channels.crl_validity / 3)
    }

    /// The authorities whose certificates still count.
    fn answering(&self, denied: &Denied) -> Vec<Arc<CertificateAuthority>> {
        let mut authorities = self.parts().keys.authorities();
        authorities.retain(|one| denied.cut_off().is_none_or(|newest| one.generation() > newest));
        authorities
    }

    async fn sign_crls(
        &self,
        authorities: Vec<Arc<CertificateAuthority>>,
        cuts: Cuts,
        before: Option<Arc<Crls>>,
        now: Timestamp,
    ) -> Result<Crls, Refusal> {
        let settings = &self.parts().settings;
        let last = self.0.channels.published.load().as_ref().map_or(0, |published| published.crls.number);
        let terms = CrlTerms {
            number: number(now, &settings.broker).max(last.saturating_add(1)),
            this_update: now.minus(BACKDATE).floor_to_secs(),
            next_update: now.plus(settings.channels.crl_validity).floor_to_secs(),
        };
        metrics::gauge!("taskpass_crl_leases").set(u32::try_from(cuts.leases()).unwrap_or(u32::MAX));
        let (crl_base, longest) = (settings.channels.crl_base.clone(), settings.channels.longest_list);
        let material = Material { authorities, cuts, terms, crl_base, longest, before };
        let signed = tokio::task::spawn_blocking(move || material.sign()).await;
        let failed = |why: &dyn std::fmt::Display| {
            Refusal::new(Reason::SignerUnavailable, "the revocation lists cannot be signed").because(why)
        };
        signed.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }
}

/// Grows with the clock, so that it goes on growing after a restart; the brokers of a fleet differ in its last bits, so that
/// no two lists have one number.
fn number(now: Timestamp, broker: &str) -> u128 {
    let digest = ring::digest::digest(&ring::digest::SHA256, broker.as_bytes());
    let tag = digest.as_ref().first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    (u128::from(now.as_millis()) << 16) | u128::from(tag)
}
