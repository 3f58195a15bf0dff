//! What the follower writes and the checks read: keys, denies, freshness. Readers never wait for I/O.

use crate::{Rejected, denies::Denies, keys::Keys, meter::Meter};
use arc_swap::ArcSwapOption;
use parking_lot::RwLock;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use taskpass_types::{Clock, Epoch, ResourceName, TenantId, Timestamp};
use tokio::sync::watch;

pub(crate) struct Shared {
    pub(crate) meter: Meter,
    pub(crate) audience: ResourceName,
    pub(crate) tenant: TenantId,
    /// `None`: what is held counts until what it accepts has expired.
    pub(crate) max_stale: Option<Duration>,
    /// What expiry is measured by.
    pub(crate) wall: Arc<dyn Clock>,
    /// What staleness is measured by.
    pub(crate) stopwatch: Arc<dyn Clock>,
    pub(crate) keys: ArcSwapOption<Keys>,
    pub(crate) denies: Arc<RwLock<Denies>>,
    /// Told at every new record.
    pub(crate) epoch: watch::Sender<Option<Epoch>>,
    /// When the newest message was sent, by the stopwatch; 0: there was none.
    sent_at: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        (audience, tenant): (ResourceName, TenantId),
        max_stale: Option<Duration>,
        (wall, stopwatch): (Arc<dyn Clock>, Arc<dyn Clock>),
        denies: Arc<RwLock<Denies>>,
    ) -> Self {
        Self {
            meter: Meter::new(&audience),
            audience,
            tenant,
            max_stale,
            wall,
            stopwatch,
            keys: ArcSwapOption::empty(),
            denies,
            epoch: watch::Sender::new(None),
            sent_at: AtomicU64::new(0),
        }
    }

    /// After a message was applied: freshness goes up only now, so that it never speaks of what is not yet enforced.
    pub(crate) fn note(&self, sent_at: Timestamp, epoch: Option<Epoch>, news: bool) {
        self.sent_at.fetch_max(sent_at.as_millis().max(1), Ordering::AcqRel);
        self.meter.enforces(epoch);
        self.epoch.send_if_modified(|held| {
            let changed = news || *held != epoch;
            *held = epoch;
            changed
        });
    }

    /// How old what is held is at most; `None` before the first snapshot.
    pub(crate) fn staleness(&self) -> Option<Duration> {
        match self.sent_at.load(Ordering::Acquire) {
            0 => None,
            sent_at => Some(self.stopwatch.now().since(Timestamp::from_millis(sent_at))),
        }
    }

    pub(crate) fn check_fresh(&self) -> Result<(), Rejected> {
        let age = self.staleness().ok_or(Rejected::NotReady)?;
        match self.max_stale {
            Some(max) if age > max => Err(Rejected::FeedStale { age, max }),
            _ => Ok(()),
        }
    }
}
