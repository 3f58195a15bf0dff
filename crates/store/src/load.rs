//! What each event needs to see.

use crate::{
    record::{
        Below, below_prefix, decode, deny_key, epoch_key, hold_key, lease_key, parse_below, request_key,
        running_key, task_key,
    },
    tables::{Read, Scan, Table},
};
use taskpass_lease::{Event, Hold, HoldKey, Lease, RequestKey, RequestRecord, RequestTarget, Task, View};
use taskpass_types::{
    AgentId, DenyRecord, Epoch, LeaseId, PolicyRevision, Reason, Refusal, RequestId, TaskId, TenantId,
};

pub(crate) fn load(read: &dyn Read, event: &Event) -> Result<View, Refusal> {
    let mut view = View::default();
    match event {
        Event::ForgetDeny(tenant, epoch) => view.deny = deny(read, tenant, *epoch)?,
        Event::EndLease(end) => {
            view.epoch = epoch(read, &end.tenant)?;
            view.lease = lease(read, &end.tenant, end.lease)?;
            view.task = readable(task_of(read, view.lease.as_ref()))?;
        }
        Event::EndTask(end) => {
            view.epoch = epoch(read, &end.tenant)?;
            load_to_end(read, &end.tenant, end.task, &mut view)?;
        }
        Event::Heartbeat(beat) => load_task(read, &beat.tenant, beat.task, &mut view)?,
        Event::PlanLease(plan) => {
            view.request = request(read, &plan.tenant, &plan.agent, &plan.request.id)?;
            view.policy_revision = policy_revision(read)?;
            if let Some(RequestRecord { target: RequestTarget::Lease(id), .. }) = view.request {
                view.lease = lease(read, &plan.tenant, id)?;
            }
            load_task(read, &plan.tenant, plan.task, &mut view)?;
            view.hold = hold(
                read,
                &HoldKey {
                    tenant: plan.tenant.clone(),
                    agent: plan.agent.clone(),
                    task: plan.task,
                    resource: plan.resource.clone(),
                },
            )?;
        }
        Event::ReleaseHold(release) => view.hold = hold(read, &release.key)?,
        Event::RenewLease(renew) => {
            view.policy_revision = policy_revision(read)?;
            view.lease = lease(read, &renew.tenant, renew.lease)?;
            if let Some((lease, id)) =
                view.lease.as_ref().and_then(|lease| Some((lease.clone(), lease.task()?)))
            {
                load_task(read, &renew.tenant, id, &mut view)?;
                let key = HoldKey {
                    tenant: lease.tenant,
                    agent: renew.agent.clone(),
                    task: id,
                    resource: lease.resource,
                };
                view.hold = hold(read, &key)?;
            }
        }
        Event::SetPolicyRevision(_) => {}
        Event::SettleTask(tenant, id, slice) => {
            view.task = task(read, tenant, *id)?;
            load_below(read, tenant, *id, *slice, &mut view)?;
        }
        Event::StartTask(start) => {
            view.request = request(read, &start.tenant, &start.agent, &start.request.id)?;
            if let Some(RequestRecord { target: RequestTarget::Task(id), .. }) = view.request {
                view.replayed_task = task(read, &start.tenant, id)?;
            }
            view.running_tasks = count(read, &running_key(&start.tenant, &start.agent))?;
            if let Some(parent) = start.parent {
                load_task(read, &start.tenant, parent, &mut view)?;
            }
        }
        Event::TickLease(tenant, id) => {
            view.lease = lease(read, tenant, *id)?;
            view.task = readable(task_of(read, view.lease.as_ref()))?;
        }
        Event::TickTask(tenant, id) => {
            view.epoch = epoch(read, tenant)?;
            load_to_end(read, tenant, *id, &mut view)?;
        }
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

fn task_of(read: &dyn Read, lease: Option<&Lease>) -> Result<Option<Task>, Refusal> {
    match lease.and_then(|lease| Some((&lease.tenant, lease.task()?))) {
        Some((tenant, id)) => task(read, tenant, id),
        None => Ok(None),
    }
}

pub(crate) fn task(read: &dyn Read, tenant: &TenantId, id: TaskId) -> Result<Option<Task>, Refusal> {
    read.read(Table::Tasks, &task_key(tenant, id))?.map(|bytes| decode("task", &bytes)).transpose()
}

pub(crate) fn lease(read: &dyn Read, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal> {
    read.read(Table::Leases, &lease_key(tenant, id))?.map(|bytes| decode("lease", &bytes)).transpose()
}

pub(crate) fn deny(read: &dyn Read, tenant: &TenantId, epoch: Epoch) -> Result<Option<DenyRecord>, Refusal> {
    read.read(Table::Denies, &deny_key(tenant, epoch))?.map(|bytes| decode("deny record", &bytes)).transpose()
}

fn hold(read: &dyn Read, key: &HoldKey) -> Result<Option<Hold>, Refusal> {
    read.read(Table::Holds, &hold_key(key))?.map(|bytes| decode("hold", &bytes)).transpose()
}

fn request(
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

pub(crate) fn policy_revision(read: &dyn Read) -> Result<Option<PolicyRevision>, Refusal> {
    read.read(Table::Meta, crate::record::POLICY_KEY)?
        .map(|bytes| decode("policy revision", &bytes))
        .transpose()
}

/// A counter; one that cannot be read counts from zero, since it only bounds how much may run.
pub(crate) fn count(read: &dyn Read, key: &[u8]) -> Result<u32, Refusal> {
    Ok(read.read(Table::Meta, key)?.and_then(|bytes| decode("counter", &bytes).ok()).unwrap_or(0))
}
