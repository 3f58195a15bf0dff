//! Policy reaches what is already out: whenever other policies come into force, every live lease is decided anew, and
//! what they no longer allow ends.

use super::AFTER_FAILURE;
use crate::{Broker, leases::lease_ended_before, policy::Question, tasks::unexpected};
use std::collections::BTreeSet;
use taskpass_audit::{Action, Actor, Event};
use taskpass_lease::{EndLease, Event as Change, Lease, Outcome};
use taskpass_policy::Verb;
use taskpass_store::LeaseQuery;
use taskpass_types::{EndReason, Reason, Refusal};

const ACTOR: Actor = Actor::Broker("drift");
const PAGE: usize = 1_000;

pub(super) async fn run(broker: Broker) {
    let mut revision = broker.parts().policies.revision();
    loop {
        revision.mark_unchanged();
        match broker.decide_anew().await {
            Ok(ended) => {
                if ended > 0 {
                    tracing::info!(ended, "leases that policy no longer allows were ended");
                }
                if revision.changed().await.is_err() {
                    return;
                }
            }
            Err(refusal) => {
                tracing::warn!(?refusal, "live leases could not all be decided anew; trying again");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

impl Broker {
    /// Decides every live lease anew under the policies in force, and ends those that they no longer allow. Says how
    /// many ended.
    ///
    /// # Errors
    /// When the store does not answer; the next round begins anew.
    pub async fn decide_anew(&self) -> Result<usize, Refusal> {
        let mut ended = 0;
        let mut query = LeaseQuery { active: true, limit: PAGE, ..LeaseQuery::default() };
        loop {
            let page = self.parts().store.leases(&query).await?;
            for lease in &page.items {
                if let Some(why) = no_longer_allowed(self, lease).await? {
                    end(self, lease, &why).await?;
                    ended += 1;
                }
            }
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(ended),
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Why policy no longer allows a lease; `None`: it does, or its task has ended anyway.
async fn no_longer_allowed(broker: &Broker, lease: &Lease) -> Result<Option<Refusal>, Refusal> {
    let (Some(agent), Some(task)) = (lease.agent(), lease.task()) else { return Ok(None) };
    let Some(task) = broker.parts().store.task(&lease.tenant, task).await? else { return Ok(None) };
    if task.end().is_some() {
        return Ok(None);
    }
    let Some(facts) = broker.parts().registry.agent_facts(&lease.tenant, agent) else {
        return Ok(Some(Refusal::new(
            Reason::AgentNotRegistered,
            format!("agent `{agent}` is no longer registered with an owner"),
        )));
    };
    let actions: BTreeSet<_> = lease.actions.iter().cloned().collect();
    let decided = broker.decide(&Question {
        agent: &facts,
        verb: Verb::Issue,
        task: &task,
        resource: &lease.resource,
        actions: &actions,
        kind: lease.kind,
        revocability: lease.revocability,
        ttl: lease.requested_ttl,
        bound: lease.confirmation.is_some(),
        attestation_age: broker.now().since(lease.issued_at),
    });
    Ok(decided.err())
}

async fn end(broker: &Broker, lease: &Lease, why: &Refusal) -> Result<(), Refusal> {
    let describe = |event: Event| event.lease(lease.id).reason(EndReason::Drifted).purpose(why.message());
    broker.note(describe(Event::intent(&lease.tenant, Action::LeaseEnd, ACTOR)));
    let end = EndLease {
        tenant: lease.tenant.clone(),
        lease: lease.id,
        reason: EndReason::Drifted,
        by: ACTOR.to_string(),
        hold: false,
    };
    let outcome = describe(Event::outcome(&lease.tenant, Action::LeaseEnd, ACTOR));
    match broker
        .parts()
        .store
        .apply(Change::EndLease(end), broker.now())
        .await
        .map(|done| done.into_outcome())
    {
        Ok(Outcome::LeaseEnded(ended)) => {
            metrics::counter!("taskpass_leases_drifted_total").increment(1);
            broker.note(ended.deny.iter().fold(outcome, |event, deny| event.epoch(deny.epoch)));
            Ok(())
        }
        Ok(Outcome::AlreadyEnded(end)) => {
            broker.note(outcome.refusal(&lease_ended_before(lease.id, &end)));
            Ok(())
        }
        Ok(other) => broker.failed(outcome, unexpected(&other)),
        Err(refusal) => broker.failed(outcome, refusal),
    }
}
