//! What the brokers on one store agree on, apart from tasks and leases: policies, signing keys, and who does what.
//!
//! The store decides. A broker that finds other policies or keys there takes them up; what it changes itself counts once the
//! store has it. Between that and the moment at which the others have taken it up, they issue nothing under what is
//! outdated: each plan is fenced by the revision in the store.

use crate::Broker;
use std::time::Duration;
use taskpass_audit::{Action, Actor, Event};
use taskpass_crypto::KeyError;
use taskpass_lease::{
    DenyKeys, Duty, EndTask, Event as Change, Outcome, PolicyOrigin, ShareKeys, SharedKeys, TakeTurn, Task,
};
use taskpass_policy::Policies;
use taskpass_store::TaskQuery;
use taskpass_types::{EndReason, HistoryId, KeyGeneration, Reason, Refusal, TenantId};

/// How long a turn lasts when its holder falls silent.
const TURN: Duration = Duration::from_secs(3);

/// What one broker knows of its fleet.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// The shared keys that are in use here. Not their number alone: a ledger that was wiped counts anew.
    keys: tokio::sync::Mutex<Option<SharedKeys>>,
    /// The history of the store whose keys these are.
    history: parking_lot::Mutex<Option<HistoryId>>,
}

impl Broker {
    /// Takes up the policies that another broker put in force; puts its own in force when the store has none (any more).
    /// Says whether others are in force now.
    ///
    /// # Errors
    /// When the store does not answer, or its policies are not valid here: this broker issues nothing then.
    pub async fn follow_policies(&self) -> Result<bool, Refusal> {
        let store = &self.parts().store;
        let newest = store.policy_revision().await?;
        if newest.as_ref() == Some(self.policies().revision()) {
            return Ok(false);
        }
        let _changing = self.0.changing.lock().await;
        if newest.is_none() {
            let actor = Actor::Broker("fleet");
            self.put_in_force(&self.policies(), PolicyOrigin::Files, actor, "", None).await?;
            return Ok(false);
        }
        // Looked at again: what was just changed here is no news.
        let Some(set) = store.policy_set(None).await? else { return Ok(false) };
        if set.info.revision == *self.policies().revision() {
            return Ok(false);
        }
        let policies = Policies::from_sources(set.sources).map_err(|error| {
            Refusal::new(
                Reason::PolicyInvalid,
                format!("the policies that the fleet has are not valid here: {error}"),
            )
            .fix("upgrade this broker, or roll the policies back")
        })?;
        tracing::info!(revision = %policies.revision(), by = %set.info.by, "policies of the fleet are in force");
        let event = Event::outcome(&TenantId::default(), Action::PolicyLoad, Actor::Broker("fleet"));
        self.note(
            event.policy_revision(policies.revision()).purpose(&format!("put in force by {}", set.info.by)),
        );
        self.parts().policies.swap(policies, self.now());
        Ok(true)
    }

    /// Takes up the keys of the fleet, or shares this broker's when there are none.
    ///
    /// # Errors
    /// When the store does not answer, or the keys were sealed with another seal key.
    pub async fn agree_on_keys(&self) -> Result<(), Refusal> {
        let mut known = self.0.fleet.keys.lock().await;
        self.pull_keys(&mut known).await?;
        if known.is_none() {
            self.push_keys(&mut known).await?;
        }
        Ok(())
    }

    /// Makes sure that the keys in use here are those of the store as it is now. A store that lost something has another
    /// history and other keys, and the broker that made it whole may have done so while this one was cut off: then what
    /// this one would sign is refused by everybody, and what it would let verifiers accept may have ended.
    ///
    /// # Errors
    /// When the store does not answer, is still being made whole, or its keys cannot be used.
    pub(crate) async fn follow_keys(&self) -> Result<(), Refusal> {
        if self.has_keys_of_store() {
            return Ok(());
        }
        let history = self.parts().store.history();
        if self.parts().store.still_mending().await? {
            return Err(Refusal::new(
                Reason::StoreUnavailable,
                "the store has lost something and is being made whole",
            )
            .fix("ask again in a moment"));
        }
        self.agree_on_keys().await?;
        *self.0.fleet.history.lock() = Some(history);
        Ok(())
    }

    /// Whether nothing was lost since the keys were taken up.
    pub(crate) fn has_keys_of_store(&self) -> bool {
        let parts = self.parts();
        !parts.settings.fleet || *self.0.fleet.history.lock() == Some(parts.store.history())
    }

    /// Makes a change to the keys, on top of those of the fleet, and shares it. What another broker changed meanwhile
    /// counts instead.
    pub(crate) async fn change_keys<T>(
        &self,
        change: impl FnOnce(&taskpass_crypto::KeyRing) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if !self.parts().settings.fleet {
            return change(&self.parts().keys);
        }
        let mut known = self.0.fleet.keys.lock().await;
        self.pull_keys(&mut known).await?;
        let changed = change(&self.parts().keys)?;
        self.push_keys(&mut known).await?;
        Ok(changed)
    }

    async fn pull_keys(&self, known: &mut Option<SharedKeys>) -> Result<(), Refusal> {
        match self.parts().store.shared_keys().await? {
            Some(shared) if known.as_ref() != Some(&shared) => {
                self.take_up(&shared)?;
                *known = Some(shared);
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                *known = None;
                Ok(())
            }
        }
    }

    async fn push_keys(&self, known: &mut Option<SharedKeys>) -> Result<(), Refusal> {
        let sealed = self.parts().keys.to_sealed().map_err(|error| unusable(&error))?;
        let over = known.as_ref().map_or(0, |keys| keys.number);
        let share = Change::ShareKeys(Box::new(ShareKeys { over, sealed: sealed.clone() }));
        match self.parts().store.apply(share, self.now()).await.map(|done| done.into_outcome()) {
            Ok(Outcome::KeysShared(number)) => {
                *known = Some(SharedKeys { number, sealed });
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(refusal) if refusal.reason() == Reason::Superseded => {
                // Whoever was first counts; what was made here was never used.
                *known = None;
                self.pull_keys(known).await
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn take_up(&self, shared: &SharedKeys) -> Result<(), Refusal> {
        self.parts().keys.take_up_sealed(&shared.sealed).map_err(|error| unusable(&error))?;
        let event = Event::outcome(&TenantId::default(), Action::KeyPublish, Actor::Broker("fleet"));
        self.note(event.count(shared.number));
        tracing::info!(number = shared.number, "the signing keys of the fleet are in use");
        Ok(())
    }

    /// Whether a duty of the fleet is this broker's now. Alone it always is.
    ///
    /// # Errors
    /// When the store does not answer; then it is nobody's.
    pub(crate) async fn on_duty(&self, duty: Duty) -> Result<bool, Refusal> {
        let parts = self.parts();
        if !parts.settings.fleet {
            return Ok(true);
        }
        let until = self.now().plus(TURN);
        let take = TakeTurn { duty, broker: parts.settings.broker.clone(), until };
        let outcome = parts.store.apply(Change::TakeTurn(take), self.now()).await?.into_outcome();
        Ok(matches!(outcome, Outcome::Turn(turn) if turn.broker == parts.settings.broker))
    }

    /// Makes a store whole that has lost what it had acknowledged: new keys sign, every task that it says is running ends,
    /// since some of them had ended, and one record cuts off what older keys signed. Until then it grants nothing.
    ///
    /// # Errors
    /// When the keys cannot be changed or the record cannot be written; to be called again.
    pub async fn make_whole(&self, why: &str) -> Result<KeyGeneration, Refusal> {
        let tenant = TenantId::default();
        let actor = Actor::Broker("recovery");
        let event = |event: Event| event.purpose(why);
        self.note(event(Event::intent(&tenant, Action::KeyActivate, actor.clone())));
        let (old, now) = (self.parts().keys.signer().generation(), self.now());
        // Listed before it is asked whether there is still something to do: nothing is granted while there is, so none of
        // these was begun after another broker was done.
        let running = self.running_tasks(&tenant).await?;
        if !self.parts().store.still_mending().await? {
            tracing::info!("another broker of the fleet has made the store whole");
            self.note(event(Event::outcome(&tenant, Action::KeyActivate, actor)).key_generation(old));
            return Ok(old);
        }
        self.change_keys(|keys| {
            if keys.signer().generation() > old {
                // Another broker of the fleet was first.
                return Ok(());
            }
            keys.replace_all(now).map(drop).map_err(|error| unusable(&error))
        })
        .await?;
        for task in &running {
            self.end_lost(task).await?;
        }
        let deny = DenyKeys { tenant: tenant.clone(), generation: old, by: actor.to_string() };
        let done = self.parts().store.apply(Change::DenyKeys(deny), self.now()).await?;
        let outcome = event(Event::outcome(&tenant, Action::KeyActivate, actor)).key_generation(old);
        self.note(match done.into_outcome() {
            Outcome::Denied(deny) => outcome.epoch(deny.epoch),
            _ => outcome,
        });
        tracing::warn!(%old, why, "whatever older keys signed is refused from now on");
        Ok(old)
    }
}

impl Broker {
    async fn running_tasks(&self, tenant: &TenantId) -> Result<Vec<Task>, Refusal> {
        let mut query = TaskQuery { tenant: tenant.clone(), running: true, ..TaskQuery::default() };
        let mut running = Vec::new();
        loop {
            let page = self.parts().store.tasks(&query).await?;
            running.extend(page.items);
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(running),
            }
        }
    }

    async fn end_lost(&self, task: &Task) -> Result<(), Refusal> {
        let actor = Actor::Broker("recovery");
        let (tenant, reason) = (task.tenant.clone(), EndReason::Killed);
        self.note(Event::intent(&tenant, Action::TaskEnd, actor.clone()).task(task.id).reason(reason));
        let outcome = Event::outcome(&tenant, Action::TaskEnd, actor.clone()).task(task.id).reason(reason);
        let end = EndTask { tenant, task: task.id, reason, by: actor.to_string() };
        match self.parts().store.apply(Change::EndTask(end), self.now()).await {
            Ok(done) => {
                self.note(match done.outcome() {
                    Outcome::TaskEnded(ended) => {
                        ended.deny.iter().fold(outcome, |outcome, deny| outcome.epoch(deny.epoch))
                    }
                    _ => outcome,
                });
                Ok(())
            }
            Err(refusal) => self.failed(outcome, refusal),
        }
    }
}

fn unusable(error: &KeyError) -> Refusal {
    Refusal::new(Reason::SignerUnavailable, format!("the signing keys of the fleet cannot be used: {error}"))
        .fix("all brokers of a fleet have the same seal key and the same trust domain")
}
