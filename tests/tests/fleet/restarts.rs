//! Every broker of a fleet is restarted under load, one after the other.

use super::Fleet;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use taskpass_client::Endpoint;
use taskpass_e2e::{Broker, Client, Refused, start, token, until};
use tokio::task::LocalSet;
use tonic::Code;

/// An agent that asks whichever broker answers, and takes nothing but *unavailable* for an answer.
struct Agent {
    endpoints: Vec<Endpoint>,
    connected: Option<Client>,
    next: usize,
}

impl Agent {
    async fn client(&mut self) -> Option<Client> {
        if self.connected.is_none() {
            let endpoint = &self.endpoints[self.next % self.endpoints.len()];
            self.next += 1;
            self.connected = endpoint.connect().await.ok().map(Client::on);
        }
        self.connected.clone()
    }

    /// The answer, once somebody gives one that is not *ask again*.
    async fn ask<T>(&mut self, call: impl AsyncFn(Client) -> Result<T, Refused>) -> T {
        until("somebody answers", async || {
            let client = self.client().await?;
            match call(client).await {
                Ok(answer) => Some(answer),
                Err(refused) => {
                    assert_eq!(refused.code, Code::Unavailable, "{refused:?}");
                    self.connected = None;
                    None
                }
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_costs_nothing_but_asking_again() {
    let mut fleet = Fleet::start(2).await;
    let endpoints: Vec<Endpoint> =
        fleet.worlds.iter().map(|world| world.endpoint(&world.authority.svid("dev/bot"))).collect();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let leases = Arc::new(Mutex::new(Vec::new()));
    let agents = LocalSet::new();
    for number in 0..4 {
        let (endpoints, stop, done, leases) = (endpoints.clone(), stop.clone(), done.clone(), leases.clone());
        agents.spawn_local(async move {
            let mut agent = Agent { endpoints, connected: None, next: number };
            for turn in 0.. {
                let id = format!("agent-{number}-{turn}");
                let mut begin = start();
                begin.request_id = format!("{id}-start");
                let task = agent.ask(async |client| client.start_task(begin.clone()).await).await;
                let mut request = token(&task.id);
                request.request_id = format!("{id}-issue");
                let (lease, _) = agent.ask(async |client| client.issue_token(request.clone()).await).await;
                leases.lock().push((id, lease.id));
                agent.ask(async |client| client.complete(&task.id).await).await;
                done.fetch_add(1, Ordering::Relaxed);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
    }
    agents
        .run_until(async {
            for number in 0..2 {
                let before = done.load(Ordering::Relaxed);
                until("they work", async || (done.load(Ordering::Relaxed) > before + 20).then_some(())).await;
                let broker = fleet.brokers[number].take().unwrap();
                broker.stop().await;
                fleet.brokers[number] = Some(Broker::start(&fleet.worlds[number]).await);
            }
            let before = done.load(Ordering::Relaxed);
            until("they work on", async || (done.load(Ordering::Relaxed) > before + 20).then_some(())).await;
            stop.store(true, Ordering::Relaxed);
        })
        .await;
    agents.await;
    // One request id, one lease, also when the answer was lost and another broker was asked again.
    let mut leases = std::mem::take(&mut *leases.lock());
    let count = leases.len();
    leases.sort();
    leases.dedup_by(|a, b| a.0 == b.0 || a.1 == b.1);
    assert_eq!(leases.len(), count);
    fleet.assert_well().await;
}
