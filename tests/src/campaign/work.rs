//! The clients: each begins tasks, takes tokens, ends most of them, at whichever broker answers.

use super::history::History;
use crate::{Client, Refused, start, token};
use std::{cell::Cell, rc::Rc};
use taskpass_client::Endpoint;
use tonic::Code;

/// Asks brokers in turn, and remembers what it was told.
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) history: History,
    pub(super) stop: Rc<Cell<bool>>,
}

impl Worker {
    /// Works until it is told to stop.
    pub(super) async fn work(self) {
        let mut turn = 0;
        while !self.stop.get() {
            turn += 1;
            // A moment for others: all of a round share one thread.
            tokio::task::yield_now().await;
            let Some(client) = self.client(turn).await else {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                continue;
            };
            let other = self.client(turn + 1).await.unwrap_or_else(|| client.clone());
            self.one(turn, &client, &other).await;
        }
    }

    /// One task: begun at one broker, its token and its end at the other.
    async fn one(&self, turn: usize, client: &Client, other: &Client) -> Option<()> {
        let mut begin = start();
        begin.request_id = format!("{}-{turn}-start", self.name);
        let task = self.heard(client.start_task(begin).await)?;
        let number = self.history.begin(task.id.clone(), format!("{}-{turn}-token", self.name));
        let mut request = token(&task.id);
        request.request_id = format!("{}-{turn}-token", self.name);
        let (lease, jwt) = self.heard(other.issue_token(request).await)?;
        self.history.note(number, |told| told.lease = Some((lease.id.clone(), jwt)));
        match turn % 4 {
            0 => return Some(()),
            1 => {
                self.history.note(number, |told| told.ending = true);
                self.heard(client.kill(&lease.id).await)?;
            }
            _ => {
                self.history.note(number, |told| told.ending = true);
                self.heard(other.complete(&task.id).await)?;
            }
        }
        self.history.note(number, |told| told.ended = true);
        Some(())
    }

    async fn client(&self, turn: usize) -> Option<Client> {
        connect(&self.endpoints[turn % self.endpoints.len()]).await
    }

    /// The answer. While faults strike, brokers may be silent or ask for patience; a ledger that lost something ends tasks.
    fn heard<T>(&self, answer: Result<T, Refused>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.history.answered();
                Some(answer)
            }
            Err(refused) => {
                self.history.unanswered();
                let patient = matches!(refused.code, Code::Unavailable | Code::Cancelled | Code::Unknown);
                let lost = ["TASK_ENDED", "TASK_NOT_FOUND", "LEASE_ENDED", "LEASE_NOT_FOUND"];
                if !patient && !lost.contains(&refused.reason.as_str()) {
                    self.history.broken(format!("an answer that nobody expects: {refused:?}"));
                }
                None
            }
        }
    }
}

/// A connection, if somebody listens.
pub(super) async fn connect(endpoint: &Endpoint) -> Option<Client> {
    endpoint.connect().await.ok().map(Client::on)
}
