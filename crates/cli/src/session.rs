//! What every command runs with: how to show, how to reach the broker, what time it is.

use crate::{
    connect,
    error::{Exit, Failure},
    output::Output,
};
use taskpass_client::Broker;
use taskpass_types::{Clock as _, SystemClock, Timestamp};

/// How a command ends.
pub(crate) type Outcome = Result<Exit, Failure>;

/// One run of the program.
pub(crate) struct Session {
    pub(crate) out: Output,
    pub(crate) address: Option<String>,
    pub(crate) clock: SystemClock,
}

impl Session {
    /// Connects to the broker.
    pub(crate) async fn broker(&self) -> Result<Broker, Failure> {
        connect::broker(self.address.as_deref()).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ends what was tried several times: all done, none, or some.
    pub(crate) fn finish(&self, done: usize, failed: &[Failure]) -> Outcome {
        failed.iter().for_each(|failure| failure.report(&self.out));
        Ok(match (done, failed.first()) {
            (_, None) => Exit::Done,
            (0, Some(first)) => first.exit(),
            (_, Some(_)) => Exit::Partly,
        })
    }

    /// Says that a list was cut, and how to have more of it.
    pub(crate) fn say_if_cut(&self, shown: usize, next: &str) {
        if !next.is_empty() {
            self.out.say(&format!(
                "showing {shown}, there are more; add --limit 0, or go on with --page-token {next}"
            ));
        }
    }
}

/// Runs a command that waits for others, on this thread.
pub(crate) fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
