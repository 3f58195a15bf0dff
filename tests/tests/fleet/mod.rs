//! Many brokers on one ledger: they are one broker to everybody who asks, and any of them may die at any time.

mod agreement;
mod campaign;
mod holds;
mod keys;
mod loss;
mod restarts;

use taskpass_e2e::{Broker, Settings, World};
use taskpass_servers::{Kind, Options, Server};

/// A ledger, and the worlds of the brokers on it.
struct Fleet {
    server: Server,
    worlds: Vec<World>,
    brokers: Vec<Option<Broker>>,
}

impl Fleet {
    /// `size` brokers that serve.
    async fn start(size: usize) -> Self {
        Self::with(size, Options::default(), "").await
    }

    /// With other lines for the server's configuration and for the table of the ledger.
    async fn with(size: usize, options: Options, ledger: &str) -> Self {
        let server = Server::start(Kind::Redis, options).await;
        let more = format!("[store.redis]\naddress = \"127.0.0.1:{}\"\n{ledger}\n", server.port());
        let settings = || Settings { more: &more, ..Settings::default() };
        let first = World::with(settings());
        let mut worlds: Vec<World> = (1..size).map(|_| first.beside(settings())).collect();
        worlds.insert(0, first);
        let mut brokers = Vec::new();
        for world in &worlds {
            brokers.push(Some(Broker::start(world).await));
        }
        Self { server, worlds, brokers }
    }

    fn broker(&self, number: usize) -> &Broker {
        self.brokers[number].as_ref().unwrap()
    }

    /// Ends one in the middle of whatever it does.
    fn kill(&mut self, number: usize) {
        self.brokers[number].take().unwrap().kill();
    }

    /// All that serve are well, and their logs are whole.
    async fn assert_well(&self) {
        for (world, broker) in self.worlds.iter().zip(&self.brokers) {
            if let Some(broker) = broker {
                broker.assert_well(world).await;
            }
        }
    }
}
