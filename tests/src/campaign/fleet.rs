//! Two brokers on one ledger, the verifiers behind them, and the clients in front.

use super::{
    history::{History, Who},
    now,
    work::{Worker, connect},
};
use crate::{Broker, Settings, World, resource, token, until};
use fastrand::Rng;
use rustix::process::{Signal, kill_process};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::{cell::Cell, rc::Rc, time::Duration};
use taskpass_cli::sandbox::Invoices;
use taskpass_client::Endpoint;
use tokio::task::LocalSet;

/// Clients of a round.
const WORKERS: [Who; 3] = [Who::Local, Who::Local, Who::Certified];
/// How many ends are acknowledged before a fault strikes.
const ENDS: usize = 6;

pub(super) struct Fleet {
    pub(super) worlds: Vec<World>,
    pub(super) verifiers: Vec<Invoices>,
    pub(super) history: History,
    brokers: Vec<Option<Broker>>,
    bot: crate::Signed,
}

impl Fleet {
    /// One broker for each of `ledgers`, the tables of their configurations.
    pub(super) async fn start(ledgers: &[String]) -> Self {
        let settings = |more| Settings { more, ..Settings::default() };
        let first = World::with(settings(&ledgers[0]));
        let bot = first.authority.svid("dev/bot");
        let mut worlds: Vec<World> =
            ledgers[1..].iter().map(|ledger| first.beside(settings(ledger))).collect();
        worlds.insert(0, first);
        let (mut brokers, mut verifiers) = (Vec::new(), Vec::new());
        for world in &worlds {
            let broker = Broker::start(world).await;
            verifiers.push(resource::serve(world, &broker).await);
            brokers.push(Some(broker));
        }
        Self { worlds, verifiers, history: History::default(), brokers, bot }
    }

    pub(super) fn endpoints(&self, who: Who) -> Vec<Endpoint> {
        let endpoint = |world: &World| match who {
            Who::Local => world.local(),
            Who::Certified => world.endpoint(&self.bot),
        };
        self.worlds.iter().map(endpoint).collect()
    }

    /// What the tokens of such a client are bound to.
    pub(super) fn certificate(&self, who: Who) -> Option<CertificateDer<'static>> {
        let certified = who == Who::Certified;
        certified.then(|| CertificateDer::from_pem_slice(self.bot.chain_pem.as_bytes()).unwrap())
    }

    /// Has clients work while `strike` goes on, from when enough ends were acknowledged until it is over.
    pub(super) async fn under_load<T>(
        &mut self,
        name: &str,
        random: &mut Rng,
        strike: impl AsyncFnOnce(&mut Self) -> T,
    ) -> T {
        let (local, stop) = (LocalSet::new(), Rc::new(Cell::new(false)));
        for (number, who) in WORKERS.into_iter().enumerate() {
            let worker = Worker {
                name: format!("{name}-w{number}"),
                who,
                endpoints: self.endpoints(who),
                operator: self.endpoints(Who::Local),
                history: self.history.clone(),
                random: random.fork(),
                stop: stop.clone(),
            };
            local.spawn_local(worker.work());
        }
        let outcome = local
            .run_until(async {
                let history = self.history.clone();
                until("the clients work", async || (history.ends() >= ENDS).then_some(())).await;
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
        for endpoint in self.endpoints(Who::Local) {
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

    /// Kills these at once, and starts them again after `meanwhile`.
    pub(super) async fn kill_and_start(&mut self, numbers: &[usize], meanwhile: impl AsyncFnOnce()) {
        for number in numbers {
            self.kill(*number);
        }
        meanwhile().await;
        for number in numbers {
            self.brokers[*number] = Some(Broker::start(&self.worlds[*number]).await);
        }
    }

    /// Kills one and starts it again with more in its environment.
    pub(super) async fn start_in(&mut self, number: usize, environment: &[(&str, &str)]) {
        self.kill(number);
        match Broker::start_in(&self.worlds[number], environment).await {
            Ok(broker) => self.brokers[number] = Some(broker),
            Err((status, log)) => panic!("the broker ended with {status}:\n{log}"),
        }
    }

    fn kill(&mut self, number: usize) {
        if let Some(broker) = self.brokers[number].take() {
            broker.kill();
        }
    }

    /// One stands still during `meanwhile`.
    pub(super) async fn paused(&self, number: usize, meanwhile: impl AsyncFnOnce()) {
        let pid = self.brokers[number].as_ref().unwrap().pid();
        kill_process(pid, Signal::STOP).unwrap();
        meanwhile().await;
        kill_process(pid, Signal::CONT).unwrap();
    }

    /// Ends all of it, in good order: their logs are whole.
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
