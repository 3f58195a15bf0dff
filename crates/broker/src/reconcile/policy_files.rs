//! Notices when the policy files change, and puts them in force if they are valid.

use crate::Broker;
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use taskpass_policy::Policies;
use taskpass_types::{PolicyRevision, Reason, Refusal};

/// Watches a directory of policies by looking: that also sees the symlinks which Kubernetes swaps.
#[derive(Clone, Debug)]
pub struct PolicyFiles {
    dir: PathBuf,
    poll: Duration,
    /// Where the revision that was last taken up is remembered.
    memory: PathBuf,
    /// What was there when the policies in force were loaded, or newer ones refused.
    settled: Look,
}

/// What a look sees of each file: enough to notice every change that an editor, `cp`, `mv` or `chmod` makes.
type Look = Vec<(PathBuf, u64, i64, i64, u64)>;

impl PolicyFiles {
    /// Takes the first look, so it must be made before the policies that the broker begins with are loaded: what is
    /// edited in between is a change then, and is not missed. Looks at `dir` every `poll`; a change is taken up when two
    /// looks agree, so that a half-written file is not.
    ///
    /// The revision that is taken up is remembered in the file `memory`, so that a start can tell whether the files have
    /// changed since.
    pub fn new(dir: PathBuf, poll: Duration, memory: PathBuf) -> Self {
        let settled = look_at(&dir).unwrap_or_default();
        Self { dir, poll, memory, settled }
    }

    /// The revision that was last taken up here.
    pub fn seen(&self) -> Option<PolicyRevision> {
        PolicyRevision::new(std::fs::read_to_string(&self.memory).ok()?).ok()
    }

    /// These were taken up. Not to know it is no harm but after a restart, when the files count as changed or as the newest
    /// of the store's history.
    pub fn remember(&self, revision: &PolicyRevision) {
        if let Err(error) = std::fs::write(&self.memory, revision.as_str()) {
            tracing::warn!(%error, file = %self.memory.display(), "the revision of the policies cannot be remembered");
        }
    }

    pub(super) async fn run(mut self, broker: Broker) {
        let mut last = self.settled.clone();
        loop {
            let asked = tokio::time::timeout(self.poll, broker.reload_asked()).await.is_ok();
            let seen = look_at(&self.dir).unwrap_or_default();
            if (asked || (seen != self.settled && seen == last)) && self.load(&broker).await {
                self.settled = seen.clone();
            }
            last = seen;
        }
    }

    /// Whether the files are dealt with: in force, or not valid. If not, the next look is the retry.
    async fn load(&self, broker: &Broker) -> bool {
        let dir = self.dir.clone();
        let loaded = tokio::task::spawn_blocking(move || Policies::load_dir(&dir)).await;
        let why = match loaded {
            Ok(Ok(policies)) => {
                let revision = policies.revision().clone();
                let adopted = broker.adopt_policies(policies).await.is_ok();
                if adopted {
                    self.remember(&revision);
                }
                return adopted;
            }
            Ok(Err(error)) => invalid(&error),
            Err(error) => invalid(&error),
        };
        broker.refuse_policies(&why);
        true
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
            // Unlike the time of the last write, nobody can set this one back.
            look.push((path, meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.len()));
        }
    }
    look.sort_unstable();
    Ok(look)
}
