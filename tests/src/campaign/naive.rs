//! A store as one would write it first: `SET` and `GET` on whoever is the primary. An end is acknowledged when that one
//! answers: no replica is waited for, no journal is kept, and no history is looked at. Here only to be found out.

use super::control::Ends;
use taskpass_servers::Server;

/// The server that it takes for the primary.
pub(super) struct Naive<'a>(pub(super) &'a Server);

impl Ends for Naive<'_> {
    async fn begin(&self, task: usize) {
        self.0.command(&["SET", &key(task), "running"]).await.accepted();
    }

    async fn end(&self, task: usize) -> bool {
        self.0.command(&["SET", &key(task), "ended"]).await.accepted();
        true
    }

    async fn holds(&self, task: usize) -> bool {
        self.0.command(&["GET", &key(task)]).await.text().as_deref() == Some("ended")
    }
}

fn key(task: usize) -> String {
    format!("task:{task}")
}
