//! What the broker does without being asked.
//!
//! Each reconciler is idempotent and takes no input: it looks at what is and moves it towards what should be. It runs
//! periodically and on a signal, has no retries of its own (the next round is the retry) and may be stopped anywhere.

mod channels;
mod deadlines;
mod deaths;
mod drift;
mod fleet;
mod followers;
mod keys;
mod policy_files;

pub use policy_files::PolicyFiles;

use crate::Broker;
use std::{pin::Pin, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long to wait after a round that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The running reconcilers.
#[derive(Debug)]
pub struct Reconcilers {
    work: TaskTracker,
    stop: CancellationToken,
}

impl Reconcilers {
    /// Starts all of them. `policy_files` is where newer policies appear, if they can.
    pub fn start(broker: &Broker, policy_files: Option<PolicyFiles>) -> Self {
        let (work, stop) = (TaskTracker::new(), CancellationToken::new());
        let run = |round: Pin<Box<dyn Future<Output = ()> + Send>>| {
            drop(work.spawn(stop.clone().run_until_cancelled_owned(round)))
        };
        run(Box::pin(channels::run(broker.clone())));
        run(Box::pin(deadlines::run(broker.clone())));
        run(Box::pin(deaths::run(broker.clone())));
        run(Box::pin(drift::run(broker.clone())));
        run(Box::pin(keys::run(broker.clone())));
        if broker.parts().settings.fleet {
            run(Box::pin(fleet::run(broker.clone())));
            run(Box::pin(followers::run(broker.clone())));
        }
        if let Some(files) = policy_files {
            run(Box::pin(files.run(broker.clone())));
        }
        work.close();
        Self { work, stop }
    }

    /// Stops them and waits until they have.
    pub async fn stop(self) {
        self.stop.cancel();
        self.work.wait().await;
    }
}
