//! The policies in force, swapped as one.

use crate::{Broker, POLICY_PATIENCE, callers::Caller};
use arc_swap::ArcSwap;
use parking_lot::RwLock;
use std::sync::Arc;
use taskpass_audit::{Action, Actor, Event};
use taskpass_lease::{Event as Change, PolicyOrigin, SetPolicies};
use taskpass_policy::Policies;
use taskpass_store::Committed;
use taskpass_types::{PolicyRevision, Refusal, TenantId, Timestamp};
use tokio::sync::watch;

/// How far back the history is looked at for the files that were last taken up; it holds no more.
const HISTORY: usize = 100;

/// Holds the policies in force. A set that is not valid never gets in here; the one before keeps serving.
pub struct PolicyKeeper {
    in_force: ArcSwap<InForce>,
    refused: RwLock<Option<String>>,
    revision: watch::Sender<PolicyRevision>,
}

struct InForce {
    policies: Arc<Policies>,
    since: Timestamp,
}

/// What an operator sees of the policies.
#[derive(Clone, Debug)]
pub struct PolicyStatus {
    /// A digest of their text.
    pub revision: PolicyRevision,
    /// Since when they are in force here.
    pub since: Timestamp,
    /// The name of each.
    pub names: Vec<String>,
    /// Why a newer set is not in force.
    pub refused: Option<String>,
}

impl PolicyKeeper {
    /// Begins with `policies`.
    pub fn new(policies: Policies, now: Timestamp) -> Self {
        let revision = watch::Sender::new(policies.revision().clone());
        let in_force = ArcSwap::from_pointee(InForce { policies: Arc::new(policies), since: now });
        Self { in_force, refused: RwLock::default(), revision }
    }

    pub(crate) fn current(&self) -> Arc<Policies> {
        self.in_force.load().policies.clone()
    }

    /// Changes whenever other policies come into force.
    pub fn revision(&self) -> watch::Receiver<PolicyRevision> {
        self.revision.subscribe()
    }

    /// What an operator sees.
    pub fn status(&self) -> PolicyStatus {
        let in_force = self.in_force.load();
        PolicyStatus {
            revision: in_force.policies.revision().clone(),
            since: in_force.since,
            names: in_force.policies.iter().map(|policy| policy.name.to_string()).collect(),
            refused: self.refused.read().clone(),
        }
    }

    pub(crate) fn swap(&self, policies: impl Into<Arc<Policies>>, now: Timestamp) {
        let policies = policies.into();
        let revision = policies.revision().clone();
        self.in_force.store(Arc::new(InForce { policies, since: now }));
        *self.refused.write() = None;
        self.revision.send_replace(revision);
    }

    /// Waits, not for long, until something else than `revision` is in force.
    async fn changed_from(&self, revision: &PolicyRevision) {
        let mut changes = self.revision();
        let waited = changes.wait_for(|now| now != revision);
        // Whether it changed or the patience ran out: the caller decides again and is refused if it must be.
        drop(tokio::time::timeout(POLICY_PATIENCE, waited).await);
    }
}

impl Broker {
    /// The policies in force.
    pub(crate) fn policies(&self) -> Arc<Policies> {
        self.parts().policies.current()
    }

    /// The revision of the policies in force here.
    pub fn policy_revision(&self) -> PolicyRevision {
        self.policies().revision().clone()
    }

    /// Makes the store fence by the policies that this broker begins with. Nothing is issued before.
    ///
    /// What was put in force last counts: the files if they have changed since this broker took up those of revision
    /// `seen`, else what is in the store. Who joins a fleet, and has seen nothing yet, changes nothing.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin(&self, seen: Option<&PolicyRevision>) -> Result<(), Refusal> {
        if self.parts().settings.fleet {
            if *self.parts().store.mending().borrow() {
                self.make_whole("the store has lost what it had acknowledged").await?;
            }
            self.agree_on_keys().await?;
        }
        let files = self.policies();
        let store = &self.parts().store;
        let stored = store.policy_set(None).await?;
        let fleet = self.parts().settings.fleet;
        let unchanged = match seen {
            Some(seen) => seen == files.revision(),
            None => fleet || self.newest_of_files().await?.as_ref() == Some(files.revision()),
        };
        if let Some(stored) = stored.filter(|stored| fleet || stored.info.origin != PolicyOrigin::Files)
            && unchanged
            && stored.info.revision != *files.revision()
        {
            match Policies::from_sources(stored.sources) {
                Ok(in_force) => {
                    tracing::info!(revision = %in_force.revision(), "the policies in the store stay in force; the files are older");
                    self.parts().policies.swap(in_force, self.now());
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, "the policies in the store are not valid any more; the files count");
                }
            }
        }
        self.put_in_force(&files, PolicyOrigin::Files, Actor::Broker("policies"), "", None).await.map(drop)
    }

    /// The files that were last taken up.
    async fn newest_of_files(&self) -> Result<Option<PolicyRevision>, Refusal> {
        let history = self.parts().store.policy_history(None, HISTORY).await?;
        let files = history.into_iter().find(|set| set.origin == PolicyOrigin::Files);
        Ok(files.map(|set| set.revision))
    }

    /// Puts a valid set of policies from the files in force: first durably in the store, where every plan is fenced by
    /// it, then here.
    ///
    /// # Errors
    /// When the store cannot write; the policies before stay in force, and operators see why.
    pub async fn adopt_policies(&self, policies: Policies) -> Result<(), Refusal> {
        let _changing = self.0.changing.lock().await;
        let actor = Actor::Broker("policies");
        self.put_in_force(&policies, PolicyOrigin::Files, actor, "", None).await.inspect_err(|why| {
            tracing::warn!(%why, "the policies on disk are not in force yet");
            *self.parts().policies.refused.write() = Some(format!("not in force yet: {why}"));
        })?;
        self.parts().policies.swap(policies, self.now());
        Ok(())
    }

    /// Makes the store fence by a set of policies; only over those of `fence`, if it is given.
    pub(crate) async fn put_in_force(
        &self,
        policies: &Policies,
        origin: PolicyOrigin,
        actor: Actor,
        why: &str,
        fence: Option<PolicyRevision>,
    ) -> Result<Committed, Refusal> {
        let tenant = TenantId::default();
        let revision = policies.revision();
        let count = u64::try_from(policies.len()).unwrap_or(u64::MAX);
        let describe = |event: Event| {
            let event = event.policy_revision(revision).count(count);
            if why.is_empty() { event } else { event.purpose(why) }
        };
        self.note(describe(Event::intent(&tenant, Action::PolicyLoad, actor.clone())));
        let set = SetPolicies {
            revision: revision.clone(),
            sources: policies.sources().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
            by: actor.to_string(),
            origin,
            fence,
        };
        let set = self.parts().store.apply(Change::SetPolicies(Box::new(set)), self.now()).await;
        let outcome = describe(Event::outcome(&tenant, Action::PolicyLoad, actor));
        match set {
            Ok(committed) => {
                self.note(outcome);
                Ok(committed)
            }
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    /// Keeps an invalid set of policies out, and says so to operators.
    pub fn refuse_policies(&self, why: &Refusal) {
        tracing::error!(%why, "the policies on disk are not valid; the ones before stay in force");
        *self.parts().policies.refused.write() = Some(why.message().to_owned());
        let event = Event::outcome(&TenantId::default(), Action::PolicyRefuse, Actor::Broker("policies"));
        self.note(event.refusal(why));
    }

    /// What an operator sees of the policies.
    ///
    /// # Errors
    /// `NOT_PERMITTED`.
    pub fn policy_status(&self, caller: &Caller) -> Result<PolicyStatus, Refusal> {
        caller.require(&[crate::Role::Operator])?;
        Ok(self.parts().policies.status())
    }

    pub(crate) async fn policies_changed_from(&self, revision: &PolicyRevision) {
        self.parts().policies.changed_from(revision).await;
    }
}
