//! Two brokers on one ledger, the verifiers behind them, and the check of a history.

use super::{
    history::{History, Told},
    now,
    work::{Worker, connect},
};
use crate::{Broker, Settings, World, resource, token, until};
use rustix::process::{Signal, kill_process};
use std::{cell::Cell, rc::Rc, time::Duration};
use taskpass_cli::sandbox::Invoices;
use taskpass_client::Endpoint;
use tokio::task::LocalSet;

/// Workers of a round.
const WORKERS: usize = 3;

pub(super) struct Fleet {
    pub(super) worlds: Vec<World>,
    brokers: Vec<Option<Broker>>,
    verifiers: Vec<Invoices>,
}

impl Fleet {
    /// One broker for each of `ledgers`, the tables of their configurations.
    pub(super) async fn start(ledgers: &[String]) -> Self {
        let settings = |more| Settings { more, ..Settings::default() };
        let first = World::with(settings(&ledgers[0]));
        let mut worlds: Vec<World> =
            ledgers[1..].iter().map(|ledger| first.beside(settings(ledger))).collect();
        worlds.insert(0, first);
        let (mut brokers, mut verifiers) = (Vec::new(), Vec::new());
        for world in &worlds {
            let broker = Broker::start(world).await;
            verifiers.push(resource::serve(world, &broker).await);
            brokers.push(Some(broker));
        }
        Self { worlds, brokers, verifiers }
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.worlds.iter().map(World::local).collect()
    }

    /// Has clients work while `strike` goes on, until enough ends were acknowledged before it and it is over.
    pub(super) async fn under_load<T>(
        &mut self,
        history: &History,
        round: usize,
        strike: impl AsyncFnOnce(&mut Self) -> T,
    ) -> T {
        let (local, stop) = (LocalSet::new(), Rc::new(Cell::new(false)));
        for number in 0..WORKERS {
            let worker = Worker {
                name: format!("r{round}-w{number}"),
                endpoints: self.endpoints(),
                history: history.clone(),
                stop: stop.clone(),
            };
            local.spawn_local(worker.work());
        }
        let outcome = local
            .run_until(async {
                until("the clients work", async || (history.ends() >= 6).then_some(())).await;
                strike(self).await
            })
            .await;
        stop.set(true);
        local.await;
        outcome
    }

    /// Waits until both brokers grant; says how long that took.
    pub(super) async fn recovers(&self) -> Duration {
        let began = now();
        for endpoint in self.endpoints() {
            until("it grants again", async || {
                let client = connect(&endpoint).await?;
                let task = client.start_task(crate::start()).await.ok()?;
                client.issue_token(token(&task.id)).await.ok()?;
                client.complete(&task.id).await.ok()
            })
            .await;
        }
        began.elapsed()
    }

    pub(super) async fn kill_and_start(&mut self, number: usize) {
        if let Some(broker) = self.brokers[number].take() {
            broker.kill();
        }
        self.brokers[number] = Some(Broker::start(&self.worlds[number]).await);
    }

    pub(super) fn pause(&self, number: usize, pause: bool) {
        let signal = if pause { Signal::STOP } else { Signal::CONT };
        kill_process(self.brokers[number].as_ref().unwrap().pid(), signal).unwrap();
    }

    /// Holds what was told against what is.
    pub(super) async fn check(&self, history: &History, lost: bool) {
        let mut clients = Vec::new();
        for endpoint in self.endpoints() {
            clients.push(until("it listens", async || connect(&endpoint).await).await);
        }
        for told in history.told() {
            if told.ended {
                self.check_ended(history, &told, &clients).await;
            } else if !told.ending && !lost {
                self.check_live(history, &told, &clients).await;
            }
        }
    }

    /// I5, I6: nothing is granted under an acknowledged end, and no verifier accepts what was granted before.
    async fn check_ended(&self, history: &History, told: &Told, clients: &[crate::Client]) {
        for client in clients {
            if let Ok((lease, _)) = client.issue_token(token(&told.task)).await {
                history.broken(format!("{} was granted under the ended {}", lease.id, told.task));
            }
        }
        let Some((lease, jwt)) = &told.lease else { return };
        for verifier in &self.verifiers {
            let accepted = || verifier.verifier.verify_token(jwt).is_ok();
            // A record that was just written is on its way.
            if accepted() && tokio::time::timeout(Duration::from_secs(5), refused(&accepted)).await.is_err() {
                history.broken(format!("{lease} is accepted although its end was acknowledged"));
            }
        }
    }

    /// I1, I3: what was released has a record, one for its request; and it is good.
    async fn check_live(&self, history: &History, told: &Told, clients: &[crate::Client]) {
        let Some((lease, jwt)) = &told.lease else { return };
        for client in clients {
            let mut again = token(&told.task);
            again.request_id = told.request.clone();
            match client.issue_token(again).await {
                Ok((found, _)) if found.id == *lease => {}
                other => {
                    let what = other.map(|(found, _)| found.id).map_err(|refused| refused.reason);
                    history.broken(format!("{lease} was released; asked again: {what:?}"));
                }
            }
        }
        for verifier in &self.verifiers {
            until("what is live is accepted", async || verifier.verifier.verify_token(jwt).ok()).await;
        }
        // It ends with its round, so that the next has a clear field.
        drop(clients[0].complete(&told.task).await);
    }

    pub(super) async fn stop(self) {
        for verifier in self.verifiers {
            verifier.stop().await;
        }
        for (world, broker) in self.worlds.iter().zip(self.brokers) {
            if let Some(broker) = broker {
                broker.stop().await;
            }
            world.assert_intact();
        }
    }
}

async fn refused(accepted: &impl Fn() -> bool) {
    while accepted() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
