//! The closure receipt of an ended task: what became of every credential under it, by what verifiers say now.
//!
//! Invariants: it is written down before it is signed, and what was signed is read back and compared before it is handed out;
//! it never says more of a lease than every verifier that it concerns has said; whoever may see the task may have it, with all
//! that is below.

use crate::{
    Broker, Caller, Dead, Enforcement, Marker, ProbeCount, Standing, VerifierStanding, probes::ASKED,
    tasks::not_found,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taskpass_audit::{Action, Anchor, Event};
use taskpass_crypto::jws::{
    ClosedLease, ClosedOutcome, ClosedTask, ClosedVerifier, ClosureReceipt, MAX_CLOSED_LEASES,
    read_back_closure,
};
use taskpass_lease::{End, Lease, Task, VERIFIER_LEEWAY};
use taskpass_store::{LeaseQuery, TaskQuery};
use taskpass_types::{Epoch, LeaseId, Reason, Refusal, ResourceName, TaskId, TenantId, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Leases or tasks of one look at the store.
const PAGE: usize = 1_000;
/// Receipts that are made at a time: each has all that it lists in memory.
const AT_A_TIME: usize = 16;

/// The places of those that are being made; who has none waits for one.
pub(crate) struct Closing(Semaphore);

impl Closing {
    /// Given back when it is dropped.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // Closed never.
        self.0.acquire().await.ok()
    }
}

impl Default for Closing {
    fn default() -> Self {
        Self(Semaphore::new(AT_A_TIME))
    }
}

/// A receipt, signed.
#[derive(Clone, Debug)]
pub struct Closure {
    /// What it says.
    pub receipt: ClosureReceipt,
    /// As a compact JWS.
    pub signed: String,
    /// The public keys to check it with, a JWKS.
    pub jwks: Arc<str>,
}

/// All that was below a task.
#[derive(Default)]
struct Below {
    leases: Vec<Lease>,
    leases_total: usize,
    tasks: usize,
}

impl Broker {
    /// Makes the receipt of an ended task, as soon as every verifier enforces its end, at the latest after `wait`.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_RUNNING`, `AUDIT_UNAVAILABLE`, `SIGNER_UNAVAILABLE`; when the store does not answer, or has lost
    /// something.
    pub async fn close_task(
        &self,
        caller: Arc<Caller>,
        id: TaskId,
        wait: Duration,
    ) -> Result<Closure, Refusal> {
        let closure = self.close_unaudited(&caller, id, wait).await;
        closure.inspect_err(|refusal| self.refused(&caller, refusal, |event| event.task(id)))
    }

    async fn close_unaudited(&self, caller: &Caller, id: TaskId, wait: Duration) -> Result<Closure, Refusal> {
        if *self.parts().store.mending().borrow() {
            return Err(Refusal::new(
                Reason::StoreUnavailable,
                "the store has lost something, so it is not known what was under the task",
            ));
        }
        self.follow_keys().await?;
        let task = self.task(caller, id).await?;
        let end = task.end().cloned().ok_or_else(|| running(id))?;
        if let Some(dead) = Dead::task(&task) {
            let asked = self.ask_about_below(&caller.tenant, id, &end).await?;
            tokio::join!(
                self.enforcement(&caller.tenant, &dead, wait),
                self.answered(&caller.tenant, &asked, wait)
            );
        }
        let _place = self.0.closing.place().await;
        let below = self.below(&caller.tenant, id).await?;
        let receipt = self.receipt(&task, &end, below).ok_or_else(not_found)?;
        self.sign_closure(caller, &task, receipt).await
    }

    /// Nothing is held but what was asked: the wait for answers may be long.
    async fn ask_about_below(
        &self,
        tenant: &TenantId,
        root: TaskId,
        end: &End,
    ) -> Result<Vec<(Dead, LeaseId)>, Refusal> {
        let _place = self.0.closing.place().await;
        Ok(self.ask_about(&self.below(tenant, root).await?.leases, end))
    }

    /// Asks verifiers about the newest leases that have not expired; more would be more than they should be bothered with.
    fn ask_about(&self, leases: &[Lease], above: &End) -> Vec<(Dead, LeaseId)> {
        let now = self.now();
        let alive = leases.iter().filter(|lease| now < lease.last_expiry.plus(VERIFIER_LEEWAY));
        let mut asked = Vec::new();
        for lease in alive.take(ASKED) {
            let end = lease.end().unwrap_or(above);
            let Some(epoch) = end.epoch else { continue };
            let dead = Dead::ending(lease.resource.clone(), epoch, end.at);
            self.ask_verifiers(&lease.tenant, &dead, &Marker::of(lease));
            asked.push((dead, lease.id));
        }
        asked
    }

    /// Written down, signed, compared, handed out.
    async fn sign_closure(
        &self,
        caller: &Caller,
        task: &Task,
        receipt: ClosureReceipt,
    ) -> Result<Closure, Refusal> {
        let (actor, parts) = (caller.actor(task.agent()), self.parts());
        let describe = |event: Event| event.task(task.id).count(u64::from(receipt.leases_total));
        let intent = describe(Event::intent(&task.tenant, Action::ReceiptSign, actor.clone()));
        let outcome = describe(Event::outcome(&task.tenant, Action::ReceiptSign, actor));
        let written = parts.audit.record(intent).await?;
        let receipt =
            ClosureReceipt { audit: Anchor { seq: written.seq, hash: written.hash }.to_string(), ..receipt };
        let failed = |why: &dyn std::fmt::Display| {
            Refusal::new(Reason::SignerUnavailable, "the receipt cannot be signed").because(why)
        };
        let (signer, jwks) = (parts.keys.signer(), parts.keys.jwks_json());
        let signed = match signer.sign_closure(&receipt) {
            Ok(signed) => signed,
            Err(error) => return self.failed(outcome, failed(&error)),
        };
        if !read_back_closure(&signed).is_ok_and(|said| said == receipt) {
            let refusal =
                Refusal::new(Reason::SignedNotDecided, "the receipt says something else than was signed");
            return self.failed(outcome, refusal);
        }
        self.note(outcome);
        Ok(Closure { receipt, signed, jwks })
    }

    /// All that was below a task, whoever held it; the newest leases first, no more than a receipt lists.
    async fn below(&self, tenant: &TenantId, root: TaskId) -> Result<Below, Refusal> {
        let store = &self.parts().store;
        let (mut below, mut open) = (Below::default(), vec![root]);
        while let Some(id) = open.pop() {
            let mut query =
                LeaseQuery { tenant: tenant.clone(), task: Some(id), limit: PAGE, ..LeaseQuery::default() };
            loop {
                let page = store.leases(&query).await?;
                below.leases_total += page.items.len() + page.unreadable;
                let room = MAX_CLOSED_LEASES.saturating_sub(below.leases.len());
                below.leases.extend(page.items.into_iter().take(room));
                match page.next {
                    Some(next) => query.before = Some(next),
                    None => break,
                }
            }
            let mut query =
                TaskQuery { tenant: tenant.clone(), parent: Some(id), limit: PAGE, ..TaskQuery::default() };
            loop {
                let page = store.tasks(&query).await?;
                below.tasks += page.items.len() + page.unreadable;
                open.extend(page.items.iter().map(|child| child.id));
                match page.next {
                    Some(next) => query.before = Some(next),
                    None => break,
                }
            }
        }
        below.leases.sort_unstable_by_key(|lease| std::cmp::Reverse(lease.id));
        Ok(below)
    }

    fn receipt(&self, task: &Task, end: &End, below: Below) -> Option<ClosureReceipt> {
        let (now, issuer) = (self.now(), self.parts().settings.issuer.clone());
        let closed = ClosedTask {
            path: task.path.clone(),
            agent: task.agent()?.clone(),
            owner: task.owner.clone(),
            kind: task.kind.clone(),
            initiator: task.initiator.clone(),
            started_at: task.created_at,
            ended_at: end.at.max(task.created_at),
            reason: end.reason,
            by: end.by.clone(),
            epoch: end.epoch,
        };
        let mut known = BTreeMap::new();
        let leases =
            below.leases.iter().filter_map(|lease| self.closed(lease, end, now, &mut known)).collect();
        let dead = Dead::task(task);
        let enforcement = dead.map(|dead| self.enforcement_now(&task.tenant, &dead));
        let verifiers = enforcement.iter().flat_map(|known| known.verifiers.iter().map(verifier)).collect();
        Some(ClosureReceipt {
            leases,
            leases_total: u32::try_from(below.leases_total).unwrap_or(u32::MAX),
            tasks_below: u32::try_from(below.tasks).unwrap_or(u32::MAX),
            verifiers,
            others_uncounted: enforcement.is_some_and(|known| known.others_uncounted),
            ..ClosureReceipt::new(issuer, now, task.tenant.clone(), closed)
        })
    }

    fn closed(
        &self,
        lease: &Lease,
        above: &End,
        now: Timestamp,
        known: &mut BTreeMap<(ResourceName, Epoch), Enforcement>,
    ) -> Option<ClosedLease> {
        let (outcome, until) = self.outcome(lease, lease.end().unwrap_or(above), now, known);
        Some(ClosedLease {
            id: lease.id,
            task: lease.task()?,
            agent: lease.agent()?.clone(),
            resource: lease.resource.clone(),
            kind: lease.kind,
            revocability: lease.revocability,
            renewals: lease.renewal,
            expires_at: lease.last_expiry,
            outcome,
            until,
        })
    }

    /// What became of a lease, and when it is refused at the latest if that is not known to be so.
    fn outcome(
        &self,
        lease: &Lease,
        end: &End,
        now: Timestamp,
        known: &mut BTreeMap<(ResourceName, Epoch), Enforcement>,
    ) -> (ClosedOutcome, Option<Timestamp>) {
        let expired = lease.last_expiry.plus(VERIFIER_LEEWAY);
        let Some(epoch) = end.epoch.filter(|_| now < expired) else {
            return (ClosedOutcome::ExpiresBy, Some(expired));
        };
        // Those for the same resource that ended by the same record are refused by the same verifiers.
        let enforcement = known.entry((lease.resource.clone(), epoch)).or_insert_with(|| {
            let dead = Dead::ending(lease.resource.clone(), epoch, end.at);
            self.enforcement_now(&lease.tenant, &dead)
        });
        let dead = Dead::ending(lease.resource.clone(), epoch, end.at);
        let ProbeCount { asked, refused } = self.probed(&lease.tenant, &dead, lease.id);
        let outcome = judge(enforcement, asked > 0 && asked == refused, now);
        let until = enforcement.accepted_until.unwrap_or(expired).min(expired);
        (outcome, (!outcome.is_dead()).then_some(until))
    }
}

fn judge(enforcement: &Enforcement, probed: bool, now: Timestamp) -> ClosedOutcome {
    let unproven = |one: &VerifierStanding| matches!(one.standing, Standing::Unproven { .. });
    let waiting = |one: &VerifierStanding| matches!(one.standing, Standing::Waiting { .. });
    // It hears the broker, and does not do what it hears.
    let deaf = |one: &VerifierStanding| matches!(one.standing, Standing::Waiting { accepts_until } if accepts_until <= now);
    let verifiers = &enforcement.verifiers;
    if enforcement.all == 0 || enforcement.others_uncounted {
        ClosedOutcome::ExpiresBy
    } else if enforcement.is_complete() {
        if probed { ClosedOutcome::DeadConfirmed } else { ClosedOutcome::DeadUnprobed }
    } else if verifiers.iter().any(|one| unproven(one) || deaf(one)) {
        ClosedOutcome::Stuck
    } else if verifiers.iter().any(waiting) {
        ClosedOutcome::Retrying
    } else {
        ClosedOutcome::ExpiresBy
    }
}

fn verifier(known: &VerifierStanding) -> ClosedVerifier {
    let (state, after) = match known.standing {
        Standing::Enforces { after } => ("enforces", Some(after)),
        Standing::Offline { .. } => ("offline", None),
        Standing::Unproven { .. } => ("unproven", None),
        Standing::Waiting { .. } => ("waiting", None),
    };
    ClosedVerifier {
        name: known.name.clone(),
        audience: known.audience.clone(),
        state: state.to_owned(),
        after_millis: after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        accepts_until: known.accepts_until(),
    }
}

fn running(id: TaskId) -> Refusal {
    Refusal::new(Reason::TaskRunning, format!("task `{id}` has not ended, so there is no receipt of its end"))
        .fix("complete or cancel it first")
        .with("task", id)
}
