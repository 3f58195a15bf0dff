//! The end of serving: stop accepting, wait for what is under way, then cut.

use std::{future::Future, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The switch that ends a server, shared by its acceptors and tasks.
///
/// A graceful shutdown of a server has no deadline of its own: one open stream, or one silent client, holds it for
/// ever. So [`Drain::finish`] has one, and kills what is left.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    stop: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All connections and tasks ended by themselves.
    InTime,
    /// This many connections and tasks were left at the deadline; their connections were killed.
    Killed(usize),
}

impl Drain {
    /// Nothing is stopping yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tasks that [`Self::finish`] waits for. Spawn on it whatever must not outlive the server.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Resolves when stopping begins; the signal for `serve_with_incoming_shutdown`.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stop.clone().cancelled_owned()
    }

    /// Whether stopping has begun.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Stops accepting. What is connected goes on.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops accepting, waits up to `deadline` for connections and tasks to end, then kills all connections and waits
    /// for the rest, which is short.
    pub async fn finish(&self, deadline: Duration) -> Drained {
        self.stop();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok() {
            return Drained::InTime;
        }
        let left = self.tasks.len();
        self.kill.cancel();
        self.tasks.wait().await;
        Drained::Killed(left)
    }

    /// The kill token of one connection, which also follows the end of the drain.
    pub(crate) fn kill_token(&self) -> CancellationToken {
        self.kill.child_token()
    }
}
