//! Moves signing keys through their life.

use crate::Broker;
use std::time::Duration;
use taskpass_audit::{Action, Actor, Event};
use taskpass_crypto::keys::KeyEvent;
use taskpass_types::{KeyGeneration, TenantId};

const PERIOD: Duration = Duration::from_secs(5);

pub(super) async fn run(broker: Broker) {
    loop {
        round(&broker);
        tokio::time::sleep(PERIOD).await;
    }
}

pub(super) fn round(broker: &Broker) {
    let keys = &broker.parts().keys;
    let kid = |generation: KeyGeneration| {
        let found = keys.list().into_iter().find(|key| key.generation == generation);
        found.map(|key| key.kid).unwrap_or_default()
    };
    match keys.tick(broker.now()) {
        Ok(events) => {
            for event in events {
                let (action, generation) = match event {
                    KeyEvent::Activated(generation) => (Action::KeyActivate, generation),
                    KeyEvent::Published(generation) => (Action::KeyPublish, generation),
                    KeyEvent::Removed(generation) => (Action::KeyRetire, generation),
                };
                let event = Event::outcome(&TenantId::default(), action, Actor::Broker("keys"));
                broker.note(event.key(&kid(generation), generation));
            }
        }
        Err(error) => tracing::error!(%error, "the signing keys could not be moved on; trying again"),
    }
}
