//! The reference store against the suite. Its memory does not outlive a crash, so it goes on as it is.

#![expect(clippy::expect_used, reason = "tests may panic")]

use taskpass_lease::Limits;
use taskpass_store::{MemoryBackend, MemoryStore, conformance::Home};

struct Memory;

impl Home for Memory {
    type Store = MemoryStore;

    fn open(&self, limits: Limits) -> MemoryStore {
        MemoryStore::new(MemoryBackend::new(limits).expect("an empty store opens"))
    }

    fn crash(&self, store: MemoryStore, _: Limits) -> MemoryStore {
        store
    }
}

taskpass_store::conformance_suite!(Memory);
