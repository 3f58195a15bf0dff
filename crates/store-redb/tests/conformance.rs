//! The embedded store against the suite; twice, since a process may end in two ways.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::{fs, path::PathBuf};
use taskpass_lease::Limits;
use taskpass_store::conformance::Home;
use taskpass_store_redb::{RedbBackend, RedbStore};
use tempfile::TempDir;

struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self, name: &str, limits: Limits) -> RedbStore {
        RedbStore::new(RedbBackend::open(self.file(name), limits).unwrap())
    }
}

mod stopped {
    //! The process stops in order.

    use super::*;

    struct Stopped(Directory);

    impl Home for Stopped {
        type Store = RedbStore;

        fn open(&self, limits: Limits) -> RedbStore {
            self.0.store("store.redb", limits)
        }

        fn crash(&self, store: RedbStore, limits: Limits) -> RedbStore {
            drop(store);
            self.open(limits)
        }
    }

    taskpass_store::conformance_suite!(Stopped(Directory::new()));
}

mod killed {
    //! The process is killed: what is in the file at this moment is all there is.

    use super::*;
    use parking_lot::Mutex;

    struct Killed {
        directory: Directory,
        life: Mutex<u32>,
    }

    impl Killed {
        fn new() -> Self {
            Self { directory: Directory::new(), life: Mutex::default() }
        }
    }

    impl Home for Killed {
        type Store = RedbStore;

        fn open(&self, limits: Limits) -> RedbStore {
            self.directory.store("life-0.redb", limits)
        }

        fn crash(&self, store: RedbStore, limits: Limits) -> RedbStore {
            let mut life = self.life.lock();
            let old = *life;
            *life += 1;
            let [old, new] = [old, *life].map(|life| format!("life-{life}.redb"));
            fs::copy(self.directory.file(&old), self.directory.file(&new)).unwrap();
            drop(store);
            self.directory.store(&new, limits)
        }
    }

    taskpass_store::conformance_suite!(Killed::new());
}
