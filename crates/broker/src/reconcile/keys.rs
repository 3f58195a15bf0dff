//! Moves signing keys through their life.

use crate::Broker;
use std::time::Duration;
use taskpass_audit::{Action, Actor, Event};
use taskpass_crypto::keys::KeyEvent;
use taskpass_types::{Reason, Refusal, TenantId};

const PERIOD: Duration = Duration::from_secs(5);
const ACTOR: Actor = Actor::Broker("keys");

pub(super) async fn run(broker: Broker) {
    loop {
        broker.move_keys_on().await;
        tokio::time::sleep(PERIOD).await;
    }
}

impl Broker {
    /// Does what is due to the signing keys. What fails is due again in the next round.
    pub async fn move_keys_on(&self) {
        let keys = &self.parts().keys;
        for event in keys.due(self.now()) {
            let (action, generation) = match event {
                KeyEvent::Activated(generation) => (Action::KeyActivate, generation),
                KeyEvent::Published(generation) => (Action::KeyPublish, generation),
                KeyEvent::Removed(generation) => (Action::KeyRetire, generation),
            };
            let tenant = TenantId::default();
            // What is removed has a name only before, what is published only afterwards.
            let named = |event: Event| {
                let key = keys.list().into_iter().find(|key| key.generation == generation);
                key.map_or(event.clone(), |key| event.key(&key.kid))
            };
            let intent = named(Event::intent(&tenant, action, ACTOR).key_generation(generation));
            let outcome = named(Event::outcome(&tenant, action, ACTOR).key_generation(generation));
            self.note(intent);
            let now = self.now();
            let done = self.change_keys(|keys| {
                keys.carry_out(event, now).map_err(|error| {
                    Refusal::new(Reason::SignerUnavailable, "the signing keys could not be moved on")
                        .because(error)
                })
            });
            match done.await {
                Ok(()) => self.note(named(outcome)),
                Err(refusal) => {
                    tracing::error!(?refusal, "the signing keys could not be moved on; trying again");
                    self.note(outcome.refusal(&refusal));
                    return;
                }
            }
        }
    }
}
