//! Whether what was told still holds.
//!
//! A credential is *live* when its lease is in the ledger and has not ended. Of every one that was released:
//! - both brokers say the same about it;
//! - whoever accepts it accepts something live (I1): what a loss took away is cut off;
//! - it is not live once its end was acknowledged (I6), and no broker grants anything under it (I5);
//! - else it is live and accepted, and its request has that one lease (I3), unless a loss took it away.

use super::{
    fleet::Fleet,
    history::{Ending, Told, Who},
    now,
    work::{connect, granted},
};
use crate::{Client, start, token, until};
use std::time::Duration;
use taskpass_proto::v1::{ListLeasesRequest, lease_service_client::LeaseServiceClient};
use tokio::time::timeout;

/// How long what was written may be on its way to those who were told to wait for it.
const SETTLES: Duration = Duration::from_secs(5);
/// How long verifiers may take to follow their brokers again.
const CATCHES_UP: Duration = Duration::from_secs(20);
/// How many ended and live credentials are looked at again after later faults, and until which age: they live longer.
const KEPT: (usize, usize) = (40, 12);
const AGE: Duration = Duration::from_secs(150);

/// What a broker says of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Ended,
    Gone,
}

impl Fleet {
    /// Holds the history of the scene against what is now; says how long the verifiers took to follow.
    pub(super) async fn check(&self) -> Duration {
        let followed = self.catch_up().await;
        let clients = [self.clients(Who::Local).await, self.clients(Who::Certified).await];
        let fresh = self.history.is_lossy();
        for told in self.history.told() {
            let clients = &clients[usize::from(told.who == Who::Certified)];
            if told.ending == Ending::Acknowledged {
                self.check_ended(&told, clients).await;
            } else if told.ending == Ending::No && !told.lossy {
                self.check_live(&told, clients).await;
            }
            self.check_agreed(&told, clients, fresh).await;
        }
        self.forget(&clients).await;
        followed
    }

    /// Waits until the verifiers have heard of everything that was written up to now: records come in their order.
    async fn catch_up(&self) -> Duration {
        let began = now();
        let client = &self.clients(Who::Local).await[0];
        let task = until("it grants", async || client.start_task(start()).await.ok()).await;
        let (_, jwt) = until("it grants", async || client.issue_token(token(&task.id)).await.ok()).await;
        self.all_say(&jwt, "accepted", |says| says == "accepted").await;
        let followed = began.elapsed();
        until("it ends", async || client.complete(&task.id).await.ok()).await;
        self.all_say(&jwt, "ended", |says| says.contains("ended")).await;
        followed
    }

    async fn all_say(&self, jwt: &str, what: &str, expected: impl Fn(&str) -> bool) {
        for (number, verifier) in self.verifiers.iter().enumerate() {
            let says = || {
                let answer = verifier.verifier.verify_token(jwt);
                answer.map_or_else(|why| why.to_string(), |_| "accepted".to_owned())
            };
            let said = async || until("verifiers hear", async || expected(&says()).then_some(())).await;
            if timeout(CATCHES_UP, said()).await.is_err() {
                let says = says();
                self.history.broken(format!("verifier {number} does not say {what} but: {says}"));
            }
        }
    }

    async fn clients(&self, who: Who) -> Vec<Client> {
        let mut clients = Vec::new();
        for endpoint in self.endpoints(who) {
            clients.push(until("it listens", async || connect(&endpoint).await).await);
        }
        clients
    }

    async fn check_ended(&self, told: &Told, clients: &[Client]) {
        for client in clients {
            granted(client, &told.task, told.lease.as_deref(), &self.history).await;
        }
        let Some(lease) = &told.lease else { return };
        for client in clients {
            if state(client, lease).await == Some(State::Live) {
                self.history.lost(format!("I6: {lease} is live although its end was acknowledged"));
            }
        }
        if self.accepted(told) {
            self.history.lost(format!("I6: {lease} is accepted although its end was acknowledged"));
        }
    }

    async fn check_live(&self, told: &Told, clients: &[Client]) {
        let Some(lease) = &told.lease else { return };
        for client in clients {
            let mut again = token(&told.task);
            again.request_id.clone_from(&told.request);
            match client.issue_token(again).await {
                Ok((found, _)) if found.id == *lease => {}
                other => {
                    let what = other.map(|(found, _)| found.id);
                    self.history.broken(format!("I3: {lease} was released; asked again: {what:?}"));
                }
            }
            let leases = leases(client, &told.task).await;
            if leases.as_ref().is_some_and(|leases| leases != std::slice::from_ref(lease)) {
                self.history.broken(format!("I3: {} asked for {lease} and has {leases:?}", told.task));
            }
        }
        let good =
            async || until("what is live is accepted", async || self.all_accept(told).then_some(())).await;
        if timeout(SETTLES, good()).await.is_err() {
            self.history.broken(format!("{lease} is live and refused"));
        }
    }

    /// Both brokers say the same, and what is accepted is live. `settling`: the fleet was just made whole.
    async fn check_agreed(&self, told: &Told, clients: &[Client], settling: bool) {
        let Some(lease) = &told.lease else { return };
        let agreed = async || {
            let (one, two) = (state(&clients[0], lease).await?, state(&clients[1], lease).await?);
            (one == two && (one == State::Live || !self.accepted(told))).then_some(())
        };
        if agreed().await.is_some() {
            return;
        }
        let again = async || until("brokers and verifiers agree", agreed).await;
        let patience = if settling { SETTLES } else { SETTLES / 5 };
        if timeout(patience, again()).await.is_err() {
            let states = (state(&clients[0], lease).await, state(&clients[1], lease).await);
            let accepted = self.accepted(told);
            self.history.broken(format!("I1: {lease}: {states:?}, accepted: {accepted}, {:?}", told.ending));
        }
    }

    /// Whether any verifier accepts any of its credentials.
    fn accepted(&self, told: &Told) -> bool {
        self.verifiers.iter().any(|verifier| {
            told.tokens.iter().any(|jwt| {
                verifier.verifier.verify_bound_token(jwt, self.certificate(told.who).as_ref()).is_ok()
            })
        })
    }

    /// Whether all verifiers accept the newest.
    fn all_accept(&self, told: &Told) -> bool {
        let newest = told.tokens.last().map_or("", String::as_str);
        let certificate = self.certificate(told.who);
        self.verifiers
            .iter()
            .all(|verifier| verifier.verifier.verify_bound_token(newest, certificate.as_ref()).is_ok())
    }

    /// Keeps the newest ended and live ones, which later faults must not change; ends what is live and not kept.
    async fn forget(&self, clients: &[Vec<Client>; 2]) {
        let (mut ended, mut live, mut kept) = (0, 0, Vec::new());
        for told in self.history.told().into_iter().rev() {
            let room = match told.ending {
                Ending::Acknowledged => &mut ended,
                Ending::No | Ending::Asked => &mut live,
            };
            *room += 1;
            let most = if told.ending == Ending::Acknowledged { KEPT.0 } else { KEPT.1 };
            let lasts = told.ending == Ending::Acknowledged || !told.below;
            if *room <= most && lasts && now().duration_since(told.since) < AGE && told.lease.is_some() {
                kept.push(told);
            } else {
                let clients = &clients[usize::from(told.who == Who::Certified)];
                drop(clients[0].complete(&told.task).await);
            }
        }
        kept.reverse();
        self.history.keep(kept);
    }
}

async fn state(client: &Client, lease: &str) -> Option<State> {
    match client.lease(lease).await {
        Ok(lease) if lease.end.is_none() => Some(State::Live),
        Ok(_) => Some(State::Ended),
        Err(refused) if refused.reason == "LEASE_NOT_FOUND" => Some(State::Gone),
        Err(_) => None,
    }
}

/// The leases right under a task.
async fn leases(client: &Client, task: &str) -> Option<Vec<String>> {
    let request = ListLeasesRequest { task_id: task.to_owned(), ..Default::default() };
    let answer = LeaseServiceClient::new(client.channel()).list_leases(request).await.ok()?;
    Some(answer.into_inner().leases.into_iter().map(|lease| lease.id).collect())
}
