//! What each event needs to see.

use crate::{
    policies,
    record::{
        Below, FOLLOWERS_KEY, KEYS_KEY, approval_key, bars_key, below_prefix, decode, deny_key, epoch_key,
        hold_key, lease_key, parse_below, pending_key, request_key, running_key, task_key, turn_key,
    },
    tables::{Read, Scan, Table},
    terms::{self, Own},
};
use std::collections::BTreeMap;
use taskpass_lease::{
    Approval, ApprovalUse, Bars, Duty, Event, Followers, Hold, HoldKey, Lease, RequestKey, RequestRecord,
    RequestTarget, SharedKeys, Task, Turn, View,
};
use taskpass_types::{
    AgentId, ApprovalId, DenyRecord, Epoch, LeaseId, PolicyRevision, Reason, Refusal, RequestId,
    ResourceName, TaskId, TenantId,
};

pub(crate) fn load(read: &dyn Read, event: &Event) -> Result<View, Refusal> {
    let mut view = View::default();
    match event {
        Event::BarWide(bar) => {
            view.epoch = epoch(read, &bar.tenant)?;
            view.bars = bars(read, &bar.tenant)?;
        }
        Event::CallTool(call) => {
            view.bars = bars(read, &call.tenant)?;
            view.policy_revision = policy_revision(read)?;
            load_task(read, &call.tenant, call.task, &mut view)?;
            if let Some(id) = call.lease {
                view.lease = lease(read, &call.tenant, id)?;
            }
            view.hold = hold(read, &call.tenant, &call.agent, call.task, &call.resource)?;
            view.approval = used(read, &call.tenant, &call.agent, call.approval.as_ref())?;
        }
        Event::CutLease(cut) => load_lease_to_end(read, &cut.tenant, cut.lease, &mut view)?,
        Event::DenyKeys(deny) => view.epoch = epoch(read, &deny.tenant)?,
        Event::ForgetDeny(tenant, epoch) => view.deny = deny(read, tenant, *epoch)?,
        Event::EndLease(end) => load_lease_to_end(read, &end.tenant, end.lease, &mut view)?,
        Event::EndTask(end) => {
            view.epoch = epoch(read, &end.tenant)?;
            load_to_end(read, &end.tenant, end.task, &mut view)?;
        }
        Event::Heartbeat(beat) => load_task(read, &beat.tenant, beat.task, &mut view)?,
        Event::HoldTask(held) => {
            view.task = task(read, &held.tenant, held.task)?;
            view.hold = hold(read, &held.tenant, &held.agent, held.task, &held.resource)?;
        }
        Event::PlanLease(plan) => {
            view.bars = bars(read, &plan.tenant)?;
            view.request = request(read, &plan.tenant, &plan.agent, &plan.request.id)?;
            view.policy_revision = policy_revision(read)?;
            if let Some(RequestRecord { target: RequestTarget::Lease(id), .. }) = view.request {
                view.lease = lease(read, &plan.tenant, id)?;
            }
            load_task(read, &plan.tenant, plan.task, &mut view)?;
            view.hold = hold(read, &plan.tenant, &plan.agent, plan.task, &plan.resource)?;
            // A repeat rests on what was approved then.
            if view.request.is_none() {
                view.approval = used(read, &plan.tenant, &plan.agent, plan.approval.as_ref())?;
            }
        }
        Event::ReleaseHold(release) => view.hold = hold_at(read, &release.key)?,
        Event::ReleaseWide(release) => view.bars = bars(read, &release.tenant)?,
        Event::RenewLease(renew) => {
            view.bars = bars(read, &renew.tenant)?;
            view.policy_revision = policy_revision(read)?;
            if let Some(own) = own(read, &renew.tenant, renew.lease)? {
                let task = load_task(read, &renew.tenant, own.task, &mut view);
                let hold = hold(read, &renew.tenant, &renew.agent, own.task, &own.resource);
                view.lease = Some(terms::whole(read, &renew.tenant, renew.lease, own)?);
                task?;
                view.hold = hold?;
            }
        }
        Event::RequestApproval(ask) => {
            view.policy_revision = policy_revision(read)?;
            load_task(read, &ask.tenant, ask.task, &mut view)?;
            let key = RequestKey::of_approval(&ask.tenant, &ask.agent, &ask.digest)?;
            view.request = request(read, &key.tenant, &key.agent, &key.id)?;
            view.approval = readable(approval_for(read, &ask.tenant, &ask.agent, &ask.digest))?;
            view.pending_approvals = count(read, &pending_key(&ask.tenant, &ask.agent))?;
        }
        Event::SetPolicies(_) => {
            view.policy_revision = policy_revision(read)?;
            view.newest_policies = policies::newest(read)?;
        }
        Event::SettleTask(tenant, id, slice) => {
            view.task = task(read, tenant, *id)?;
            load_below(read, tenant, *id, *slice, &mut view)?;
        }
        Event::ShareFollowers(_) => view.followers = readable_followers(read)?,
        Event::ShareKeys(_) => view.keys = shared_keys(read)?,
        Event::StartTask(start) => {
            view.bars = bars(read, &start.tenant)?;
            view.request = request(read, &start.tenant, &start.agent, &start.request.id)?;
            if let Some(RequestRecord { target: RequestTarget::Task(id), .. }) = view.request {
                view.replayed_task = task(read, &start.tenant, id)?;
            }
            view.running_tasks = count(read, &running_key(&start.tenant, &start.agent))?;
            if let Some(parent) = start.parent {
                load_task(read, &start.tenant, parent, &mut view)?;
            }
            if start.fence.is_some() {
                view.policy_revision = policy_revision(read)?;
            }
            if view.request.is_none() {
                let asker = view.task.as_ref().and_then(Task::agent).unwrap_or(&start.agent);
                view.approval = used(read, &start.tenant, asker, start.approval.as_ref())?;
            }
        }
        Event::TakeTurn(take) => view.turn = readable(turn(read, take.duty))?,
        Event::TickApproval(tenant, id) => view.approval = approval(read, tenant, *id)?,
        Event::TickLease(tenant, id) => load_lease_to_end(read, tenant, *id, &mut view)?,
        Event::TickTask(tenant, id) => {
            view.epoch = epoch(read, tenant)?;
            load_to_end(read, tenant, *id, &mut view)?;
        }
        Event::Vote(cast) => view.approval = approval(read, &cast.tenant, cast.approval)?,
    }
    Ok(view)
}

/// A task and those above it; one that is missing above counts as unreadable, so that nothing is issued under it.
fn load_task(read: &dyn Read, tenant: &TenantId, id: TaskId, view: &mut View) -> Result<(), Refusal> {
    view.task = task(read, tenant, id)?;
    let Some(found) = &view.task else { return Ok(()) };
    for above in found.path.iter().filter(|above| *above != id) {
        match task(read, tenant, above)? {
            Some(above) => view.ancestors.push(above),
            None if found.end().is_some() => {}
            None => {
                return Err(Refusal::new(Reason::StoreCorrupt, "a task above this one is missing"));
            }
        }
    }
    Ok(())
}

/// A task and its parent. An end needs no more, and an unreadable parent must not stand in its way.
fn load_to_end(read: &dyn Read, tenant: &TenantId, id: TaskId, view: &mut View) -> Result<(), Refusal> {
    view.task = task(read, tenant, id)?;
    if let Some(parent) = view.task.as_ref().and_then(Task::parent) {
        view.ancestors.extend(readable(task(read, tenant, parent))?);
    }
    Ok(())
}

/// A lease and its task, likewise. Who is far away from the store gets both in one round, since neither waits for the other.
fn load_lease_to_end(
    read: &dyn Read,
    tenant: &TenantId,
    id: LeaseId,
    view: &mut View,
) -> Result<(), Refusal> {
    view.epoch = epoch(read, tenant)?;
    view.bars = bars(read, tenant)?;
    if let Some(own) = own(read, tenant, id)? {
        let task = readable(task(read, tenant, own.task));
        view.lease = Some(terms::whole(read, tenant, id, own)?);
        view.task = task?;
    }
    Ok(())
}

/// A slice of what lives below a task. What cannot be read is refused anyway, so it is passed over: it must keep neither
/// the others from being marked nor the task from being done.
fn load_below(
    read: &dyn Read,
    tenant: &TenantId,
    id: TaskId,
    slice: u32,
    view: &mut View,
) -> Result<(), Refusal> {
    let prefix = below_prefix(tenant, id, false);
    let slice = usize::try_from(slice).unwrap_or(usize::MAX);
    let mut cursor: Option<Vec<u8>> = None;
    loop {
        let found = view.children_below.len().saturating_add(view.leases_below.len());
        let limit = slice.saturating_sub(found);
        let scan = Scan { prefix: &prefix, from: cursor.as_deref(), backwards: false, limit };
        let entries = read.scan(Table::Below, &scan)?;
        let Some((last, _)) = entries.last() else { return Ok(()) };
        cursor = Some(last.clone());
        for (key, _) in entries {
            match parse_below(&key) {
                Some(Below::Child(id)) => view.children_below.extend(readable(task(read, tenant, id))?),
                Some(Below::Lease(id)) => view.leases_below.extend(readable(lease(read, tenant, id))?),
                None => {}
            }
        }
    }
}

/// Counts a record that cannot be read as missing.
pub(crate) fn readable<T>(found: Result<Option<T>, Refusal>) -> Result<Option<T>, Refusal> {
    match found {
        Err(refusal) if refusal.reason() == Reason::StoreCorrupt => Ok(None),
        found => found,
    }
}

pub(crate) fn task(read: &dyn Read, tenant: &TenantId, id: TaskId) -> Result<Option<Task>, Refusal> {
    read.read(Table::Tasks, &task_key(tenant, id))?.map(|bytes| decode("task", &bytes)).transpose()
}

pub(crate) fn lease(read: &dyn Read, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal> {
    own(read, tenant, id)?.map(|own| terms::whole(read, tenant, id, own)).transpose()
}

/// What is a lease's own, which tells where the rest is.
pub(crate) fn own(read: &dyn Read, tenant: &TenantId, id: LeaseId) -> Result<Option<Own>, Refusal> {
    read.read(Table::Leases, &lease_key(tenant, id))?.map(|bytes| decode("lease", &bytes)).transpose()
}

pub(crate) fn deny(read: &dyn Read, tenant: &TenantId, epoch: Epoch) -> Result<Option<DenyRecord>, Refusal> {
    read.read(Table::Denies, &deny_key(tenant, epoch))?.map(|bytes| decode("deny record", &bytes)).transpose()
}

pub(crate) fn approval(
    read: &dyn Read,
    tenant: &TenantId,
    id: ApprovalId,
) -> Result<Option<Approval>, Refusal> {
    read.read(Table::Approvals, &approval_key(tenant, id))?
        .map(|bytes| decode("approval", &bytes))
        .transpose()
}

/// The newest approval of an agent for one exact request.
pub(crate) fn approval_for(
    read: &dyn Read,
    tenant: &TenantId,
    agent: &AgentId,
    digest: &[u8; 32],
) -> Result<Option<Approval>, Refusal> {
    let RequestKey { tenant, agent, id } = RequestKey::of_approval(tenant, agent, digest)?;
    let Some(record) = request(read, &tenant, &agent, &id)? else { return Ok(None) };
    match record.target {
        RequestTarget::Approval(id) if record.is_about(digest) => approval(read, &tenant, id),
        _ => Ok(None),
    }
}

/// The approval that a request rests on. One that is not named and cannot be read is none: people are asked anew.
fn used(
    read: &dyn Read,
    tenant: &TenantId,
    agent: &AgentId,
    asked: Option<&ApprovalUse>,
) -> Result<Option<Approval>, Refusal> {
    match asked {
        None => Ok(None),
        Some(ApprovalUse { id: Some(id), .. }) => approval(read, tenant, *id),
        Some(ApprovalUse { digest, .. }) => readable(approval_for(read, tenant, agent, digest)),
    }
}

fn hold(
    read: &dyn Read,
    tenant: &TenantId,
    agent: &AgentId,
    task: TaskId,
    resource: &ResourceName,
) -> Result<Option<Hold>, Refusal> {
    let (tenant, agent, resource) = (tenant.clone(), agent.clone(), resource.clone());
    hold_at(read, &HoldKey { tenant, agent, task, resource })
}

fn hold_at(read: &dyn Read, key: &HoldKey) -> Result<Option<Hold>, Refusal> {
    read.read(Table::Holds, &hold_key(key))?.map(|bytes| decode("hold", &bytes)).transpose()
}

pub(crate) fn request(
    read: &dyn Read,
    tenant: &TenantId,
    agent: &AgentId,
    id: &RequestId,
) -> Result<Option<RequestRecord>, Refusal> {
    let key = RequestKey { tenant: tenant.clone(), agent: agent.clone(), id: id.clone() };
    read.read(Table::Requests, &request_key(&key))?.map(|bytes| decode("request", &bytes)).transpose()
}

pub(crate) fn epoch(read: &dyn Read, tenant: &TenantId) -> Result<Epoch, Refusal> {
    read.read(Table::Meta, &epoch_key(tenant))?.map_or(Ok(Epoch::default()), |bytes| decode("epoch", &bytes))
}

pub(crate) fn bars(read: &dyn Read, tenant: &TenantId) -> Result<Bars, Refusal> {
    read.read(Table::Meta, &bars_key(tenant))?
        .map_or(Ok(Bars::default()), |bytes| decode("set of bars", &bytes))
}

pub(crate) fn policy_revision(read: &dyn Read) -> Result<Option<PolicyRevision>, Refusal> {
    read.read(Table::Meta, crate::record::POLICY_KEY)?
        .map(|bytes| decode("policy revision", &bytes))
        .transpose()
}

/// The verifiers of every broker.
pub(crate) fn followers(read: &dyn Read) -> Result<BTreeMap<String, Followers>, Refusal> {
    let row = read.read(Table::Meta, FOLLOWERS_KEY)?;
    row.map_or(Ok(BTreeMap::new()), |bytes| decode("set of followers", &bytes))
}

/// What cannot be read is said anew by each broker soon.
fn readable_followers(read: &dyn Read) -> Result<BTreeMap<String, Followers>, Refusal> {
    Ok(readable(followers(read).map(Some))?.unwrap_or_default())
}

/// The signing keys of the fleet.
pub(crate) fn shared_keys(read: &dyn Read) -> Result<Option<SharedKeys>, Refusal> {
    read.read(Table::Meta, KEYS_KEY)?.map(|bytes| decode("set of keys", &bytes)).transpose()
}

fn turn(read: &dyn Read, duty: Duty) -> Result<Option<Turn>, Refusal> {
    read.read(Table::Meta, &turn_key(duty))?.map(|bytes| decode("turn", &bytes)).transpose()
}

/// A counter; one that cannot be read counts from zero, since it only bounds how much may run.
pub(crate) fn count(read: &dyn Read, key: &[u8]) -> Result<u32, Refusal> {
    Ok(read.read(Table::Meta, key)?.and_then(|bytes| decode("counter", &bytes).ok()).unwrap_or(0))
}
