//! The clients: each begins tasks, takes and renews tokens, hands tasks on and ends most of them, at whichever broker
//! answers; and tries at both whether what was just ended still gets something.

use super::history::{Ending, History, Who};
use crate::{Client, Refused, start, token};
use fastrand::Rng;
use std::{cell::Cell, rc::Rc, time::Duration};
use taskpass_client::Endpoint;
use taskpass_proto::v1::{RenewCredentialRequest, credential::Form};
use tokio::time::{sleep, timeout};
use tonic::Code;

/// How long a client waits for an answer before it takes it for lost.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a client asks for the same again before it gives up.
const TRIES: usize = 60;
/// What a loss makes of what was there.
const GONE: [&str; 5] =
    ["TASK_ENDED", "TASK_NOT_FOUND", "LEASE_ENDED", "LEASE_NOT_FOUND", "SIGNER_UNAVAILABLE"];

/// Asks brokers in turn, and remembers what it was told.
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) who: Who,
    /// As an agent.
    pub(super) endpoints: Vec<Endpoint>,
    /// As an operator.
    pub(super) operator: Vec<Endpoint>,
    pub(super) history: History,
    pub(super) random: Rng,
    pub(super) stop: Rc<Cell<bool>>,
}

impl Worker {
    /// Works until it is told to stop.
    pub(super) async fn work(mut self) {
        for turn in 0.. {
            if self.stop.get() {
                return;
            }
            let id = format!("{}-{turn}", self.name);
            self.story(&id).await;
            // Clients think, too: the load is what two cores bear, and every round is checked whole.
            sleep(Duration::from_millis(self.random.u64(2..25))).await;
        }
    }

    /// A task, perhaps one below it, and how they end.
    async fn story(&mut self, id: &str) -> Option<()> {
        let (renews, delegates, how) =
            (self.random.u8(..3) == 0, self.random.u8(..4) == 0, self.random.u8(..8));
        let number = self.begin(id, "").await?;
        if renews {
            self.renew(id, number).await;
        }
        let mut under = vec![number];
        if delegates {
            let parent = self.history.get(number).task;
            under.extend(self.begin(&format!("{id}-below"), &parent).await);
        }
        match how {
            0 => return Some(()),
            1 | 2 => {
                under.truncate(1);
                self.kill(number).await?;
            }
            _ => self.complete(&under).await?,
        }
        self.history.ending(&under, Ending::Acknowledged);
        self.probe(&under).await;
        Some(())
    }

    /// A task with a token.
    async fn begin(&mut self, id: &str, parent: &str) -> Option<usize> {
        let mut begin = start();
        begin.request_id = format!("{id}-start");
        begin.parent_task_id = parent.to_owned();
        let task = self.ask(&self.endpoints, async |client| client.start_task(begin.clone()).await).await?.id;
        let request_id = format!("{id}-token");
        let number = self.history.begin(self.who, task.clone(), !parent.is_empty(), request_id.clone());
        let mut request = token(&task);
        request.request_id = request_id;
        let issue = async |client: Client| client.issue_token(request.clone()).await;
        let (lease, jwt) = self.ask(&self.endpoints, issue).await?;
        self.history.released(number, lease.id, jwt);
        Some(number)
    }

    async fn renew(&self, id: &str, number: usize) -> Option<()> {
        let lease_id = self.history.get(number).lease?;
        let request =
            RenewCredentialRequest { request_id: format!("{id}-renewal"), lease_id, ..Default::default() };
        let renew = async |client: Client| client.renew(request.clone()).await;
        match self.ask(&self.endpoints, renew).await? {
            (lease, Form::Token(jwt)) => self.history.released(number, lease.id, jwt),
            (lease, Form::Certificate(_)) => {
                self.history.broken(format!("{} is no token any more", lease.id))
            }
        }
        Some(())
    }

    async fn kill(&self, number: usize) -> Option<()> {
        let lease = self.history.get(number).lease?;
        self.history.ending(&[number], Ending::Asked);
        self.ask(&self.operator, async |client| client.kill(&lease).await).await.map(drop)
    }

    /// Completes the first; the others are below it.
    async fn complete(&self, numbers: &[usize]) -> Option<()> {
        let task = self.history.get(*numbers.first()?).task;
        self.history.ending(numbers, Ending::Asked);
        self.ask(&self.endpoints, async |client| client.complete(&task).await).await.map(drop)
    }

    /// I5: from the moment of the acknowledgement, no broker grants anything under it.
    async fn probe(&self, numbers: &[usize]) {
        for number in numbers {
            let told = self.history.get(*number);
            for endpoint in &self.endpoints {
                if let Some(client) = connect(endpoint).await {
                    granted(&client, &told.task, told.lease.as_deref(), &self.history).await;
                }
            }
        }
    }

    /// The answer of whoever gives one; `None`: nobody did, or it was refused.
    async fn ask<T>(
        &self,
        endpoints: &[Endpoint],
        call: impl AsyncFn(Client) -> Result<T, Refused>,
    ) -> Option<T> {
        let first = usize::from(self.name.ends_with('1'));
        for attempt in 0..TRIES {
            if attempt > 1 && self.stop.get() {
                return None;
            }
            let endpoint = &endpoints[(first + attempt) % endpoints.len()];
            let answer = match connect(endpoint).await {
                Some(client) => timeout(ANSWER, call(client)).await.ok(),
                None => None,
            };
            match answer {
                Some(Ok(answer)) => {
                    self.history.answered();
                    return Some(answer);
                }
                Some(Err(refused)) if !asks_again(&refused) => {
                    self.refused(&refused);
                    return None;
                }
                _ => self.history.unanswered(),
            }
            sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// Nobody is refused what he may have, unless a loss took it from him; or the broker that was asked first cancelled
    /// what it could not release.
    fn refused(&self, refused: &Refused) {
        self.history.answered();
        let expected = self.history.is_lossy() && GONE.contains(&refused.reason.as_str())
            || refused.about("end_reason") == "cancelled";
        if !expected {
            self.history.broken(format!("an answer that nobody expects: {refused:?}"));
        }
    }
}

/// Whether the same may be asked again.
fn asks_again(refused: &Refused) -> bool {
    let final_one = refused.reason == "SIGNER_UNAVAILABLE";
    !final_one && matches!(refused.code, Code::Unavailable | Code::Cancelled | Code::Unknown)
}

/// Tries to get something under what was ended.
pub(super) async fn granted(client: &Client, task: &str, lease: Option<&str>, history: &History) {
    if let Ok(Ok((lease, _))) = timeout(ANSWER, client.issue_token(token(task))).await {
        history.lost(format!("I5: {} was granted under the ended {task}", lease.id));
    }
    let Some(lease) = lease else { return };
    let renewal = RenewCredentialRequest { lease_id: lease.to_owned(), ..Default::default() };
    if let Ok(Ok(_)) = timeout(ANSWER, client.renew(renewal)).await {
        history.lost(format!("I5: {lease} was renewed after its end"));
    }
}

/// A connection, if somebody listens.
pub(super) async fn connect(endpoint: &Endpoint) -> Option<Client> {
    timeout(ANSWER, endpoint.connect()).await.ok()?.ok().map(Client::on)
}
