//! The registry in force, swapped as one.

use super::Registry;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// Holds the registry in force.
pub struct RegistryKeeper {
    current: ArcSwap<Registry>,
    changed: watch::Sender<u64>,
}

impl RegistryKeeper {
    /// Begins with `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { current: ArcSwap::from_pointee(registry), changed: watch::Sender::new(0) }
    }

    pub(crate) fn current(&self) -> Arc<Registry> {
        self.current.load_full()
    }

    /// Changes whenever another registry comes into force.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn swap(&self, registry: Registry) {
        self.current.store(Arc::new(registry));
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}
