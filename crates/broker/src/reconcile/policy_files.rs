//! Notices when the policy files change, and puts them in force if they are valid.

use crate::Broker;
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use taskpass_policy::Policies;
use taskpass_types::{Reason, Refusal};

/// Watches a directory of policies by looking: that also sees the symlinks which Kubernetes swaps.
#[derive(Clone, Debug)]
pub struct PolicyFiles {
    /// The directory.
    pub dir: PathBuf,
    /// How often to look. A change is taken up when two looks agree, so that a half-written file is not.
    pub poll: Duration,
}

/// What a look sees of each file: enough to notice every change that an editor, `cp` or `mv` makes.
type Look = Vec<(PathBuf, u64, i64, i64, u64)>;

impl PolicyFiles {
    pub(super) async fn run(self, broker: Broker) {
        let mut loaded = self.look();
        let mut last = loaded.clone();
        loop {
            tokio::time::sleep(self.poll).await;
            let seen = self.look();
            if seen != loaded && seen == last {
                loaded = seen.clone();
                self.load(&broker).await;
            }
            last = seen;
        }
    }

    fn look(&self) -> Look {
        look_at(&self.dir).unwrap_or_default()
    }

    async fn load(&self, broker: &Broker) {
        let dir = self.dir.clone();
        let loaded = tokio::task::spawn_blocking(move || Policies::load_dir(&dir)).await;
        let policies = match loaded {
            Ok(Ok(policies)) => policies,
            Ok(Err(error)) => return broker.refuse_policies(&invalid(&error)),
            Err(error) => return broker.refuse_policies(&invalid(&error)),
        };
        if let Err(refusal) = broker.adopt_policies(policies).await {
            broker.refuse_policies(&refusal);
        }
    }
}

fn invalid(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Reason::FieldInvalid, format!("the policies are not valid: {error}"))
        .fix("see `taskpass policy check DIR`")
}

fn look_at(dir: &Path) -> std::io::Result<Look> {
    let mut look = Look::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            let meta = std::fs::metadata(&path)?;
            look.push((path, meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()));
        }
    }
    look.sort_unstable();
    Ok(look)
}
