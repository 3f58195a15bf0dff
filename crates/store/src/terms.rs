//! A lease as two rows: what is its own, and its terms, which it has in common with whatever else was asked for in the same
//! way under its task.
//!
//! Invariants:
//! - terms are written once, under the task, and never change: their key is a hash of what was asked for, and the rest is
//!   what the task says for as long as it lives;
//! - they stay as long as their task or a lease under it;
//! - a lease whose terms are not there, or cannot be read, cannot be read: it is refused, never served with holes.

use crate::{
    record::{PLAIN, decode, encode, task_key, unreadable},
    short::Short,
    tables::{Read, Table, Write},
    tail::Tail,
};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use taskpass_lease::{Cut, Lease, LeaseState, PlanLease};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, Confirmation, Counters, CredentialKind, DecisionId, Epoch,
    KeyGeneration, LeaseId, Owner, PolicyRevision, Reason, Refusal, ResourceName, Revocability, SpiffeId,
    StatusIndex, StatusListId, TaskId, TaskPath, TenantId, Timestamp, Ttl,
};

/// Names terms within their task. Two that share it are refused, not mixed up.
type Name = [u8; 8];

/// What is a lease's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Own {
    /// The task it belongs to.
    pub(crate) task: TaskId,
    terms: Name,
    /// The one audience: here, because a hold is looked for by it in the same round as the terms.
    pub(crate) resource: ResourceName,
    decision: DecisionId,
    approval: Option<ApprovalId>,
    attestation_age_secs: u32,
    counters: Counters,
    request: Short,
    renewal_request: Option<Short>,
    times: Times,
    uses: u32,
    renewal: u32,
    /// What few leases have, so that the others need not say of each that they have it not.
    rare: Option<Rare>,
    /// Its place on the status list that the terms name, if they name one.
    place: u32,
    state: LeaseState,
    /// Last, where records that were written before there was such a thing have nothing.
    deny_epoch: Tail,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rare {
    cut: Option<Cut>,
    recheck: Option<Ttl>,
    recheck_at: Option<Timestamp>,
    max_uses: Option<u32>,
}

/// Each as what it is past the one before, which is little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Times {
    /// Past the time in the lease's id.
    created: i64,
    issued: i64,
    expires: i64,
    last_expiry: i64,
}

/// What leases of a task have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Terms {
    asked: Asked,
    task_path: TaskPath,
    agents: Vec<AgentId>,
    owner: Owner,
    hard_stop: Timestamp,
}

/// What of the terms the task does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    subject: SpiffeId,
    actions: Vec<ActionName>,
    kind: CredentialKind,
    revocability: Revocability,
    confirmation: Option<Confirmation>,
    policies: Vec<String>,
    policy_revision: PolicyRevision,
    key_generation: KeyGeneration,
    requested_ttl: Ttl,
    attested: Vec<String>,
    /// Here, because leases that are made one after the other are on the same.
    status_list: Option<StatusListId>,
}

impl Asked {
    fn name(&self) -> Result<Name, Refusal> {
        let hash = digest(&SHA256, &encode(PLAIN, self)?);
        Ok(hash.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// The row of terms that a plan will look at.
pub(crate) fn foreseen(plan: &PlanLease) -> Option<Vec<u8>> {
    let asked = Asked {
        subject: plan.subject.clone(),
        actions: plan.actions.iter().cloned().collect(),
        kind: plan.kind,
        revocability: plan.revocability,
        confirmation: plan.confirmation.clone(),
        policies: plan.policies.clone(),
        policy_revision: plan.fence.policy_revision.clone(),
        key_generation: plan.key_generation,
        requested_ttl: plan.ttl,
        attested: plan.attested.clone(),
        status_list: plan.status.map(|status| status.list),
    };
    Some(terms_key(&plan.tenant, plan.task, asked.name().ok()?))
}

fn terms_key(tenant: &TenantId, task: TaskId, name: Name) -> Vec<u8> {
    [&task_key(tenant, task)[..], &name].concat()
}

/// Writes a lease's terms unless they are there, and tells what is its own.
pub(crate) fn save(write: &mut dyn Write, lease: &Lease) -> Result<Own, Refusal> {
    let (own, terms) = split(lease)?;
    let (key, terms) = (terms_key(&lease.tenant, own.task, own.terms), encode(PLAIN, &terms)?);
    match write.read(Table::Terms, &key)? {
        None => drop(write.put(Table::Terms, &key, &terms)?),
        Some(found) if found == terms => {}
        Some(_) => return Err(unreadable("lease's terms").because("they are not what they are named after")),
    }
    Ok(own)
}

/// The lease that these are the own parts of.
pub(crate) fn whole(read: &dyn Read, tenant: &TenantId, id: LeaseId, own: Own) -> Result<Lease, Refusal> {
    let terms = read.read(Table::Terms, &terms_key(tenant, own.task, own.terms))?;
    let terms = terms.ok_or_else(|| unreadable("lease").because("its terms are missing"))?;
    Ok(join(tenant, id, own, decode("lease", &terms)?))
}

fn split(lease: &Lease) -> Result<(Own, Terms), Refusal> {
    let lease = lease.clone();
    let task = lease.task().ok_or_else(|| Refusal::new(Reason::Internal, "a lease has no task"))?;
    let asked = Asked {
        subject: lease.subject,
        actions: lease.actions,
        kind: lease.kind,
        revocability: lease.revocability,
        confirmation: lease.confirmation,
        policies: lease.policies,
        policy_revision: lease.policy_revision,
        key_generation: lease.key_generation,
        requested_ttl: lease.requested_ttl,
        attested: lease.attested,
        status_list: lease.status.map(|status| status.list),
    };
    let rare = Rare {
        cut: lease.cut,
        recheck: lease.recheck,
        recheck_at: lease.recheck_at,
        max_uses: lease.max_uses,
    };
    let own = Own {
        task,
        terms: asked.name()?,
        resource: lease.resource,
        decision: lease.decision,
        approval: lease.approval,
        attestation_age_secs: lease.attestation_age_secs,
        counters: lease.counters,
        request: Short(lease.request),
        renewal_request: lease.renewal_request.map(Short),
        times: Times {
            created: past(lease.created_at, made(lease.id)),
            issued: past(lease.issued_at, lease.created_at),
            expires: past(lease.expires_at, lease.issued_at),
            last_expiry: past(lease.last_expiry, lease.expires_at),
        },
        uses: lease.uses,
        renewal: lease.renewal,
        rare: Some(rare).filter(|rare| *rare != Rare::default()),
        place: lease.status.map_or(0, |status| status.index),
        state: lease.state,
        deny_epoch: Tail(lease.deny_epoch.0),
    };
    let Lease { task_path, agents, owner, hard_stop, .. } = lease;
    Ok((own, Terms { asked, task_path, agents, owner, hard_stop }))
}

fn join(tenant: &TenantId, id: LeaseId, own: Own, terms: Terms) -> Lease {
    let Terms { asked, task_path, agents, owner, hard_stop } = terms;
    let rare = own.rare.unwrap_or_default();
    let created_at = later(made(id), own.times.created);
    let issued_at = later(created_at, own.times.issued);
    let expires_at = later(issued_at, own.times.expires);
    Lease {
        tenant: tenant.clone(),
        id,
        task_path,
        agents,
        owner,
        subject: asked.subject,
        resource: own.resource,
        actions: asked.actions,
        kind: asked.kind,
        revocability: asked.revocability,
        confirmation: asked.confirmation,
        decision: own.decision,
        policies: asked.policies,
        policy_revision: asked.policy_revision,
        key_generation: asked.key_generation,
        deny_epoch: Epoch(own.deny_epoch.0),
        requested_ttl: asked.requested_ttl,
        attested: asked.attested,
        attestation_age_secs: own.attestation_age_secs,
        counters: own.counters,
        approval: own.approval,
        request: own.request.0,
        status: asked.status_list.map(|list| StatusIndex { list, index: own.place }),
        created_at,
        issued_at,
        expires_at,
        last_expiry: later(expires_at, own.times.last_expiry),
        hard_stop,
        cut: rare.cut,
        recheck: rare.recheck,
        recheck_at: rare.recheck_at,
        uses: own.uses,
        max_uses: rare.max_uses,
        renewal: own.renewal,
        renewal_request: own.renewal_request.map(|request| request.0),
        state: own.state,
    }
}

/// The time in an id.
fn made(id: LeaseId) -> Timestamp {
    let [a, b, c, d, e, f, ..] = *id.as_bytes();
    Timestamp::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// Both ways around the clock, so that any two times come back as they were.
fn past(at: Timestamp, before: Timestamp) -> i64 {
    at.as_millis().wrapping_sub(before.as_millis()).cast_signed()
}

fn later(before: Timestamp, past: i64) -> Timestamp {
    Timestamp::from_millis(before.as_millis().wrapping_add_signed(past))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{apply, apply_due, conformance::events, load, memory::Tables, query, tables::Scan};
    use std::time::Duration;
    use taskpass_lease::{End, Event, Limits, Outcome};
    use taskpass_types::EndReason;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_123);

    struct Scene {
        tables: Tables,
        tenant: TenantId,
        limits: Limits,
        task: TaskId,
    }

    impl Scene {
        fn new() -> Self {
            let (tenant, task) = (TenantId::default(), TaskId::new());
            let mut scene = Self { tables: Tables::default(), tenant, limits: Limits::default(), task };
            scene.at(NOW, Event::SetPolicies(Box::new(events::set_policies("r1")))).unwrap();
            let start = events::start(&scene.tenant, task, None);
            scene.at(NOW, Event::StartTask(Box::new(start))).unwrap();
            scene
        }

        fn at(&mut self, now: Timestamp, event: Event) -> Result<Outcome, Refusal> {
            let pending = apply(&mut self.tables, &event, &self.limits, now)?;
            Ok(pending.committed().into_outcome())
        }

        fn plan(&self) -> PlanLease {
            events::plan(&self.tenant, LeaseId::new(), self.task)
        }

        fn planned(&mut self, plan: PlanLease) -> Result<Lease, Refusal> {
            let committed = apply(&mut self.tables, &Event::PlanLease(Box::new(plan)), &self.limits, NOW)?;
            Ok(committed.committed().into_prepared().unwrap().lease().clone())
        }

        fn settle(&mut self, now: Timestamp) {
            for _ in 0..10 {
                for due in query::due(&self.tables, now, 100).unwrap() {
                    let pending = apply_due(&mut self.tables, &due, &self.limits, now).unwrap();
                    drop(pending.committed());
                }
            }
        }

        fn terms(&self) -> Vec<Vec<u8>> {
            let all = Scan { prefix: &[], from: None, backwards: false, limit: usize::MAX };
            self.tables.scan(Table::Terms, &all).unwrap().into_iter().map(|(key, _)| key).collect()
        }
    }

    #[test]
    fn a_lease_comes_back_as_it_was() {
        let mut scene = Scene::new();
        let plain = scene.planned(scene.plan()).unwrap();
        let full = Lease {
            confirmation: Some(Confirmation::KeyThumbprint("x".to_owned())),
            approval: Some(ApprovalId::new()),
            attestation_age_secs: 7,
            counters: Counters { credentials: 1, live: 2, tool_calls: 3 },
            created_at: Timestamp::from_millis(u64::MAX),
            issued_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(u64::MAX / 2),
            last_expiry: Timestamp::from_millis(1),
            cut: Some(Cut { at: NOW, by: "somebody".to_owned() }),
            recheck: Some(events::secs(5)),
            recheck_at: Some(NOW),
            uses: 4,
            max_uses: Some(5),
            renewal: 6,
            renewal_request: Some("again".parse().unwrap()),
            state: LeaseState::Ended(End {
                reason: EndReason::Killed,
                at: NOW,
                by: "an operator".to_owned(),
                epoch: Some(Epoch(8)),
            }),
            ..plain.clone()
        };
        for lease in [plain, full] {
            let (own, terms) = split(&lease).unwrap();
            assert_eq!(join(&lease.tenant, lease.id, own, terms), lease);
        }
    }

    #[test]
    fn terms_are_written_once_and_foreseen() {
        let mut scene = Scene::new();
        let plan = scene.plan();
        let foreseen = foreseen(&plan).unwrap();
        let first = scene.planned(plan).unwrap();
        let second = scene.planned(scene.plan()).unwrap();
        assert_eq!(scene.terms(), [foreseen]);
        let other = PlanLease { attested: vec!["unix:user:other".to_owned()], ..scene.plan() };
        let other = scene.planned(other).unwrap();
        assert_eq!(scene.terms().len(), 2);
        for lease in [first, second, other] {
            assert_eq!(load::lease(&scene.tables, &scene.tenant, lease.id).unwrap(), Some(lease));
        }
        let lease = scene.planned(scene.plan()).unwrap().id;
        let renewed = Event::RenewLease(Box::new(taskpass_lease::RenewLease {
            key_generation: KeyGeneration(2),
            ..events::renew(&scene.tenant, lease, "more")
        }));
        scene.at(NOW, renewed).unwrap();
        assert_eq!(scene.terms().len(), 3);
    }

    #[test]
    fn without_its_terms_a_lease_is_refused_and_set_aside() {
        let mut scene = Scene::new();
        let lease = scene.planned(scene.plan()).unwrap().id;
        let [key] = scene.terms().try_into().unwrap();
        let tenant = scene.tenant.clone();
        scene.tables.remove(Table::Terms, &key).unwrap();
        let corrupt = |refusal: Refusal| assert_eq!(refusal.reason(), Reason::StoreCorrupt);
        corrupt(load::lease(&scene.tables, &tenant, lease).unwrap_err());
        corrupt(query::standing(&scene.tables, &tenant, lease, NOW).unwrap_err());
        let renew = Event::RenewLease(Box::new(events::renew(&tenant, lease, "more")));
        corrupt(scene.at(NOW, renew).unwrap_err());
        let repeat = events::plan(&tenant, lease, scene.task);
        corrupt(scene.at(NOW, Event::PlanLease(Box::new(repeat))).unwrap_err());
        for task in [None, Some(scene.task)] {
            let query = crate::LeaseQuery { task, ..crate::LeaseQuery::default() };
            let page = query::leases(&scene.tables, &query).unwrap();
            assert_eq!((page.items, page.unreadable), (vec![], 1));
        }
        scene.settle(NOW.plus(Duration::from_secs(302)));
        assert_eq!(load::lease(&scene.tables, &tenant, lease).unwrap(), None);
    }

    #[test]
    fn what_is_not_what_it_is_named_after_is_not_mixed_up() {
        let mut scene = Scene::new();
        scene.planned(scene.plan()).unwrap();
        let task = load::task(&scene.tables, &scene.tenant, scene.task).unwrap();
        let other = PlanLease { ttl: events::secs(60), ..scene.plan() };
        let id = other.id;
        let (from, to) = (scene.terms().remove(0), foreseen(&other).unwrap());
        let terms = scene.tables.read(Table::Terms, &from).unwrap().unwrap();
        scene.tables.put(Table::Terms, &to, &terms).unwrap();
        assert_eq!(scene.planned(other).unwrap_err().reason(), Reason::StoreCorrupt);
        assert_eq!(load::task(&scene.tables, &scene.tenant, scene.task).unwrap(), task, "nothing is written");
        assert_eq!(load::lease(&scene.tables, &scene.tenant, id).unwrap(), None);
    }

    #[test]
    fn terms_go_with_the_last_of_their_task_and_its_leases() {
        let mut scene = Scene::new();
        let lease = scene.planned(scene.plan()).unwrap().id;
        let tenant = scene.tenant.clone();
        scene.at(NOW, events::end_task(&tenant, scene.task)).unwrap();
        // Ended after its task, so it is kept longer.
        let later = NOW.plus(Duration::from_secs(100));
        scene.at(later, events::end_lease(&tenant, lease, false)).unwrap();
        let kept = scene.limits.kept();
        scene.settle(NOW.plus(kept));
        assert_eq!(load::task(&scene.tables, &tenant, scene.task).unwrap(), None);
        assert!(load::lease(&scene.tables, &tenant, lease).unwrap().is_some());
        scene.settle(later.plus(kept).plus(Duration::from_secs(1)));
        assert_eq!(load::lease(&scene.tables, &tenant, lease).unwrap(), None);
        assert_eq!(scene.terms(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn terms_stay_as_long_as_their_task() {
        let mut scene = Scene::new();
        let lease = scene.planned(scene.plan()).unwrap().id;
        scene.limits.retention = Duration::ZERO;
        scene.limits.task_max = Duration::from_secs(600);
        scene.settle(NOW.plus(Duration::from_secs(302)));
        scene.settle(NOW.plus(Duration::from_secs(950)));
        assert_eq!(load::lease(&scene.tables, &scene.tenant, lease).unwrap(), None);
        assert_eq!(scene.terms().len(), 1, "another lease would have the same");
        scene.settle(NOW.plus(Duration::from_secs(3600)));
        scene.settle(NOW.plus(Duration::from_secs(4200)));
        assert_eq!(scene.terms(), Vec::<Vec<u8>>::new());
    }
}
