//! Showing and killing leases.

use crate::{
    AfterKill, Broker, Caller, Role,
    tasks::{may_see, own_only, unexpected},
};
use std::{collections::BTreeMap, sync::Arc};
use taskpass_audit::{Action, Actor, Event};
use taskpass_lease::{End, EndLease, Event as Change, HoldKey, Lease, LeaseState, Outcome, ReleaseHold};
use taskpass_store::{LeaseQuery, Page};
use taskpass_types::{EndReason, LeaseId, Reason, Refusal, ResourceName, TaskId};

/// Names a hold.
#[derive(Clone, Debug)]
pub enum Held {
    /// By the lease whose kill left it.
    Lease(LeaseId),
    /// By the task and the resource.
    Task(TaskId, ResourceName),
}

/// How the tasks of one answer ended, if they have; each is looked up once.
type Ends = BTreeMap<TaskId, Option<End>>;

impl Broker {
    /// One lease, if the caller may see it.
    ///
    /// # Errors
    /// `LEASE_NOT_FOUND`, also for a lease that is not the caller's.
    pub async fn lease(&self, caller: &Caller, id: LeaseId) -> Result<Lease, Refusal> {
        let lease = self.parts().store.lease(&caller.tenant, id).await?;
        let lease = lease.filter(|lease| may_see(caller, lease.agent())).ok_or_else(not_found)?;
        self.as_it_is(lease, &mut Ends::new()).await
    }

    /// A page of the leases that the caller may see.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn leases(&self, caller: &Caller, query: LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal> {
        let agent = own_only(caller, query.agent)?;
        let query = LeaseQuery { tenant: caller.tenant.clone(), agent, ..query };
        let mut page = self.parts().store.leases(&query).await?;
        let mut ends = Ends::new();
        for lease in std::mem::take(&mut page.items) {
            let lease = self.as_it_is(lease, &mut ends).await?;
            if !(query.active && lease.end().is_some()) {
                page.items.push(lease);
            }
        }
        Ok(page)
    }

    /// The lease as every verifier sees it: ended with its task, also before its own record is marked.
    async fn as_it_is(&self, mut lease: Lease, ends: &mut Ends) -> Result<Lease, Refusal> {
        for id in lease.task_path.iter() {
            if lease.end().is_some() {
                break;
            }
            let end = match ends.get(&id) {
                Some(end) => end.clone(),
                None => {
                    let task = self.parts().store.task(&lease.tenant, id).await?;
                    let end = task.and_then(|task| task.end().cloned());
                    ends.insert(id, end.clone());
                    end
                }
            };
            if let Some(end) = end {
                lease.state = LeaseState::Ended(end);
            }
        }
        Ok(lease)
    }

    /// Ends a lease and, unless told otherwise, holds its agent, task and resource: a killed agent simply asks again.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `LEASE_NOT_FOUND`; `FIELD_INVALID` for a quarantine that is none.
    pub async fn kill_lease(
        &self,
        caller: Arc<Caller>,
        id: LeaseId,
        after: AfterKill,
        why: &str,
    ) -> Result<Lease, Refusal> {
        let lease = self.for_operator(&caller, id).await?;
        self.quarantine(&caller, lease.agent().into_iter().cloned().collect(), after, why).await?;
        let actor = caller.actor(None);
        let end = EndLease {
            tenant: caller.tenant.clone(),
            lease: id,
            reason: EndReason::Killed,
            by: actor.to_string(),
            hold: after == AfterKill::Hold,
        };
        match self.end_lease(actor, end, why).await? {
            Some(lease) => {
                metrics::counter!("taskpass_leases_killed_total").increment(1);
                Ok(lease)
            }
            None => self.lease(&caller, id).await,
        }
    }

    /// Ends a lease, and writes down that this was meant and what came of it. `None`: it had ended before. Waits for no
    /// audit: revoking never does.
    pub(crate) async fn end_lease(
        &self,
        actor: Actor,
        end: EndLease,
        why: &str,
    ) -> Result<Option<Lease>, Refusal> {
        let (tenant, id, reason) = (end.tenant.clone(), end.lease, end.reason);
        let describe = |event: Event| {
            let event = event.lease(id).reason(reason);
            if why.is_empty() { event } else { event.purpose(why) }
        };
        self.note(describe(Event::intent(&tenant, Action::LeaseEnd, actor.clone())));
        let outcome = describe(Event::outcome(&tenant, Action::LeaseEnd, actor));
        let done = self.parts().store.apply(Change::EndLease(end), self.now()).await;
        match done.map(|done| done.into_outcome()) {
            Ok(Outcome::LeaseEnded(ended)) => {
                self.note(ended.deny.iter().fold(outcome, |event, deny| event.epoch(deny.epoch)));
                Ok(Some(ended.record))
            }
            Ok(Outcome::AlreadyEnded(end)) => {
                self.note(outcome.refusal(&lease_ended_before(id, &end)));
                Ok(None)
            }
            Ok(other) => self.failed(outcome, unexpected(&other)),
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    /// Lifts the hold that a kill, or a call outside the declared scopes, left; says whether there was one.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `LEASE_NOT_FOUND`, `TASK_NOT_FOUND`, `AUDIT_UNAVAILABLE`.
    pub async fn release_hold(&self, caller: Arc<Caller>, held: Held) -> Result<bool, Refusal> {
        let (key, lease) = self.held(&caller, &held).await?;
        let describe = |event: Event| {
            let event = event.agent(&key.agent).task(key.task).resource(&key.resource);
            lease.into_iter().fold(event, Event::lease)
        };
        let actor = caller.actor(None);
        self.parts()
            .audit
            .record(describe(Event::intent(&caller.tenant, Action::HoldRelease, actor.clone())))
            .await
            .inspect_err(|refusal| self.refused(&caller, refusal, describe))?;
        let release = ReleaseHold { key: key.clone() };
        let released = self.parts().store.apply(Change::ReleaseHold(release), self.now()).await;
        let outcome = describe(Event::outcome(&caller.tenant, Action::HoldRelease, actor));
        match released {
            Ok(done) => {
                self.note(outcome);
                Ok(matches!(done.outcome(), Outcome::Released))
            }
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    /// What is held, for who may lift it. Others are refused, and that is written down.
    async fn held(&self, caller: &Caller, held: &Held) -> Result<(HoldKey, Option<LeaseId>), Refusal> {
        let tenant = caller.tenant.clone();
        match held {
            Held::Lease(id) => {
                let lease = self.for_operator(caller, *id).await?;
                let (Some(agent), Some(task)) = (lease.agent().cloned(), lease.task()) else {
                    return Err(not_found());
                };
                Ok((HoldKey { tenant, agent, task, resource: lease.resource }, Some(*id)))
            }
            Held::Task(id, resource) => {
                let found = match caller.require(&[Role::Operator]) {
                    Ok(()) => self.task(caller, *id).await,
                    Err(refusal) => Err(refusal),
                };
                let found = found.inspect_err(|refusal| {
                    self.refused(caller, refusal, |event| event.task(*id).resource(resource));
                })?;
                let agent = found.agent().cloned().ok_or_else(crate::tasks::not_found)?;
                Ok((HoldKey { tenant, agent, task: *id, resource: resource.clone() }, None))
            }
        }
    }

    /// A lease, for who may kill it and let its agent ask again. Others are refused, and that is written down.
    async fn for_operator(&self, caller: &Caller, id: LeaseId) -> Result<Lease, Refusal> {
        let lease = match caller.require(&[Role::Operator]) {
            Ok(()) => self.lease(caller, id).await,
            Err(refusal) => Err(refusal),
        };
        lease.inspect_err(|refusal| self.refused(caller, refusal, |event| event.lease(id)))
    }
}

/// Why an intent to end a lease had no effect.
pub(crate) fn lease_ended_before(id: LeaseId, end: &End) -> Refusal {
    Refusal::new(Reason::LeaseEnded, format!("lease `{id}` had ended before: {}", end.reason))
        .with("lease", id)
        .with("end_reason", end.reason)
}

fn not_found() -> Refusal {
    Refusal::new(Reason::LeaseNotFound, "there is no such lease, or it is not yours")
        .fix("list your leases with `taskpass lease list`")
}
