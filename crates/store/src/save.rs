//! Writing a step's effects, and keeping the indexes in step with them.

use crate::{
    Due, DueWhat,
    load::{self, count},
    policies::save_policies,
    record::{
        Below, FOLLOWERS_KEY, HISTORY_KEY, Header, KEYS_KEY, PLAIN, approval_header, approval_key, bars_key,
        below_key, deny_header, deny_key, due_key, encode, epoch_key, header, hold_key, hold_prefix,
        lease_header, lease_key, leases_below_prefix, pending_key, request_key, running_key, task_header,
        task_key, turn_key,
    },
    tables::{Scan, Table, Write},
    terms::{self, Own},
};
use taskpass_lease::{Approval, Effects, HoldChange, Lease, Limits, RequestKey, RequestTarget, Task};
use taskpass_types::{ApprovalId, DenyRecord, Epoch, HistoryId, LeaseId, Refusal, TaskId, TenantId};

pub(crate) fn save(write: &mut dyn Write, effects: &Effects, limits: &Limits) -> Result<(), Refusal> {
    // Before anything else: terms that cannot be read refuse the step, and then nothing of it may be written.
    let leases = effects.leases.iter().map(|lease| Ok((lease, terms::save(write, lease)?)));
    let leases = leases.collect::<Result<Vec<_>, Refusal>>()?;
    for task in &effects.tasks {
        save_task(write, task, limits)?;
    }
    for (lease, own) in leases {
        save_lease(write, lease, &own, limits)?;
    }
    if let Some(approval) = &effects.approval {
        save_approval(write, approval, limits)?;
    }
    if let Some(deny) = &effects.deny {
        save_deny(write, deny)?;
    }
    match &effects.hold {
        Some(HoldChange::Clear(key)) => drop(write.remove(Table::Holds, &hold_key(key))?),
        Some(HoldChange::Set(key, hold)) => {
            write.put(Table::Holds, &hold_key(key), &encode(PLAIN, hold)?)?;
        }
        None => {}
    }
    if let Some((tenant, bars)) = &effects.bars {
        write.put(Table::Meta, &bars_key(tenant), &encode(PLAIN, bars)?)?;
    }
    if let Some((key, record)) = &effects.request {
        write.put(Table::Requests, &request_key(key), &encode(PLAIN, record)?)?;
    }
    if let Some(set) = &effects.policies {
        save_policies(write, set)?;
    }
    if let Some(followers) = &effects.followers {
        write.put(Table::Meta, FOLLOWERS_KEY, &encode(PLAIN, followers)?)?;
    }
    if let Some(keys) = &effects.keys {
        write.put(Table::Meta, KEYS_KEY, &encode(PLAIN, keys)?)?;
    }
    if let Some((duty, turn)) = &effects.turn {
        write.put(Table::Meta, &turn_key(*duty), &encode(PLAIN, turn)?)?;
    }
    if let Some((tenant, id)) = &effects.forget_approval {
        forget_approval(write, tenant, *id)?;
    }
    if let Some((tenant, id)) = &effects.forget_task {
        forget_task(write, tenant, *id)?;
    }
    if let Some((tenant, id)) = &effects.forget_lease {
        forget_lease(write, tenant, *id)?;
    }
    if let Some((tenant, epoch)) = &effects.forget_deny {
        forget_deny(write, tenant, *epoch)?;
    }
    Ok(())
}

pub(crate) fn save_history(write: &mut dyn Write, history: HistoryId) -> Result<(), Refusal> {
    write.put(Table::Meta, HISTORY_KEY, &encode(PLAIN, &history)?).map(drop)
}

fn save_task(write: &mut dyn Write, task: &Task, limits: &Limits) -> Result<(), Refusal> {
    let new = task_header(task, limits);
    let old = write.put(Table::Tasks, &task_key(&task.tenant, task.id), &encode(new, task)?)?;
    let old = old.as_deref().and_then(header);
    reschedule(write, old, Some(new), DueWhat::Task(task.tenant.clone(), task.id))?;
    if let Some(parent) = task.parent() {
        move_below(write, &task.tenant, parent, old, Some(new), Below::Child(task.id))?;
    }
    let (was, is) = (old.is_some_and(|old| !old.ended), !new.ended);
    match task.agent() {
        Some(agent) if was != is => recount(write, &running_key(&task.tenant, agent), is),
        _ => Ok(()),
    }
}

/// One more, or one less.
fn recount(write: &mut dyn Write, key: &[u8], more: bool) -> Result<(), Refusal> {
    let before = count(write, key)?;
    let after = if more { before.saturating_add(1) } else { before.saturating_sub(1) };
    write.put(Table::Meta, key, &encode(PLAIN, &after)?).map(drop)
}

fn save_lease(write: &mut dyn Write, lease: &Lease, own: &Own, limits: &Limits) -> Result<(), Refusal> {
    let new = lease_header(lease, limits);
    let old = write.put(Table::Leases, &lease_key(&lease.tenant, lease.id), &encode(new, own)?)?;
    let old = old.as_deref().and_then(header);
    reschedule(write, old, Some(new), DueWhat::Lease(lease.tenant.clone(), lease.id))?;
    match lease.task() {
        Some(task) => move_below(write, &lease.tenant, task, old, Some(new), Below::Lease(lease.id)),
        None => Ok(()),
    }
}

fn save_approval(write: &mut dyn Write, approval: &Approval, limits: &Limits) -> Result<(), Refusal> {
    let new = approval_header(approval, limits);
    let key = approval_key(&approval.tenant, approval.id);
    let old = write.put(Table::Approvals, &key, &encode(new, approval)?)?.as_deref().and_then(header);
    reschedule(write, old, Some(new), DueWhat::Approval(approval.tenant.clone(), approval.id))?;
    let (waited, waits) = (old.is_some_and(|old| !old.ended), !new.ended);
    if waited == waits {
        return Ok(());
    }
    recount(write, &pending_key(&approval.tenant, &approval.agent), waits)
}

fn save_deny(write: &mut dyn Write, deny: &DenyRecord) -> Result<(), Refusal> {
    let header = deny_header(deny);
    write.put(Table::Denies, &deny_key(&deny.tenant, deny.epoch), &encode(header, deny)?)?;
    write.put(Table::Meta, &epoch_key(&deny.tenant), &encode(PLAIN, &deny.epoch)?)?;
    reschedule(write, None, Some(header), DueWhat::Deny(deny.tenant.clone(), deny.epoch))
}

fn forget_task(write: &mut dyn Write, tenant: &TenantId, id: TaskId) -> Result<(), Refusal> {
    let Some(task) = load::task(write, tenant, id)? else { return Ok(()) };
    let old = write.remove(Table::Tasks, &task_key(tenant, id))?.as_deref().and_then(header);
    reschedule(write, old, None, DueWhat::Task(tenant.clone(), id))?;
    if let Some(parent) = task.parent() {
        move_below(write, tenant, parent, old, None, Below::Child(id))?;
    }
    if let Some(agent) = task.agent() {
        forget_all(write, Table::Holds, &hold_prefix(tenant, agent, id))?;
    }
    forget_terms(write, tenant, id)?;
    forget_request(write, task.tenant, task.agents.last().cloned(), task.request)
}

/// What is about one task and goes with it: its holds, no more than it has resources, and the terms of its leases, few.
fn forget_all(write: &mut dyn Write, table: Table, prefix: &[u8]) -> Result<(), Refusal> {
    let all = Scan { prefix, from: None, backwards: false, limit: usize::MAX };
    for (key, _) in write.scan(table, &all)? {
        write.remove(table, &key)?;
    }
    Ok(())
}

/// Terms go with the last of their task and its leases: a lease that was ended after its task is kept longer.
fn forget_terms(write: &mut dyn Write, tenant: &TenantId, task: TaskId) -> Result<(), Refusal> {
    let key = task_key(tenant, task);
    if write.read(Table::Tasks, &key)?.is_some() {
        return Ok(());
    }
    for ended in [false, true] {
        if has_below(write, &leases_below_prefix(tenant, task, ended))? {
            return Ok(());
        }
    }
    forget_all(write, Table::Terms, &key)
}

/// Looks at what a scan found, too: somebody else may take it away meanwhile and leave to us what goes with the last one.
fn has_below(write: &dyn Write, prefix: &[u8]) -> Result<bool, Refusal> {
    let mut from: Option<Vec<u8>> = None;
    loop {
        let one = Scan { prefix, from: from.as_deref(), backwards: false, limit: 1 };
        let Some((entry, _)) = write.scan(Table::Below, &one)?.into_iter().next() else { return Ok(false) };
        if write.read(Table::Below, &entry)?.is_some() {
            return Ok(true);
        }
        from = Some(entry);
    }
}

fn forget_lease(write: &mut dyn Write, tenant: &TenantId, id: LeaseId) -> Result<(), Refusal> {
    let Some(lease) = load::lease(write, tenant, id)? else { return Ok(()) };
    let old = write.remove(Table::Leases, &lease_key(tenant, id))?.as_deref().and_then(header);
    reschedule(write, old, None, DueWhat::Lease(tenant.clone(), id))?;
    if let Some(task) = lease.task() {
        move_below(write, tenant, task, old, None, Below::Lease(id))?;
        forget_terms(write, tenant, task)?;
    }
    forget_request(write, lease.tenant, lease.agents.last().cloned(), lease.request)
}

/// Its place among the requests may have gone to a newer one.
fn forget_approval(write: &mut dyn Write, tenant: &TenantId, id: ApprovalId) -> Result<(), Refusal> {
    let Some(approval) = load::approval(write, tenant, id)? else { return Ok(()) };
    let old = write.remove(Table::Approvals, &approval_key(tenant, id))?.as_deref().and_then(header);
    reschedule(write, old, None, DueWhat::Approval(tenant.clone(), id))?;
    let RequestKey { agent, id: request, .. } =
        RequestKey::of_approval(tenant, &approval.agent, &approval.digest)?;
    match load::readable(load::request(write, tenant, &agent, &request))? {
        Some(record) if record.target == RequestTarget::Approval(id) => {
            forget_request(write, approval.tenant, Some(agent), request)
        }
        _ => Ok(()),
    }
}

fn forget_deny(write: &mut dyn Write, tenant: &TenantId, epoch: Epoch) -> Result<(), Refusal> {
    let old = write.remove(Table::Denies, &deny_key(tenant, epoch))?.as_deref().and_then(header);
    reschedule(write, old, None, DueWhat::Deny(tenant.clone(), epoch))
}

fn forget_request(
    write: &mut dyn Write,
    tenant: TenantId,
    agent: Option<taskpass_types::AgentId>,
    id: taskpass_types::RequestId,
) -> Result<(), Refusal> {
    let Some(agent) = agent else { return Ok(()) };
    write.remove(Table::Requests, &request_key(&RequestKey { tenant, agent, id })).map(drop)
}

fn reschedule(
    write: &mut dyn Write,
    old: Option<Header>,
    new: Option<Header>,
    what: DueWhat,
) -> Result<(), Refusal> {
    let (old, new) = (old.map(|old| old.due), new.map(|new| new.due));
    if old == new {
        return Ok(());
    }
    if let Some(at) = old {
        write.remove(Table::Schedule, &due_key(&Due { at, what: what.clone() }))?;
    }
    if let Some(at) = new {
        write.put(Table::Schedule, &due_key(&Due { at, what }), &[])?;
    }
    Ok(())
}

fn move_below(
    write: &mut dyn Write,
    tenant: &TenantId,
    task: TaskId,
    old: Option<Header>,
    new: Option<Header>,
    what: Below,
) -> Result<(), Refusal> {
    let (old, new) = (old.map(|old| old.ended), new.map(|new| new.ended));
    if old == new {
        return Ok(());
    }
    if let Some(ended) = old {
        write.remove(Table::Below, &below_key(tenant, task, ended, what))?;
    }
    if let Some(ended) = new {
        write.put(Table::Below, &below_key(tenant, task, ended, what), &[])?;
    }
    Ok(())
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::{
        apply,
        conformance::events,
        memory::Tables,
        tables::{Entry, Read},
    };
    use taskpass_lease::Event;
    use taskpass_types::Timestamp;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// Tables whose scans still find a lease that somebody else has taken away since.
    struct Outdated {
        tables: Tables,
        gone: Vec<u8>,
    }

    impl Read for Outdated {
        fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
            self.tables.read(table, key)
        }

        fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Entry>, Refusal> {
            let reaches =
                self.gone.starts_with(scan.prefix) && scan.from.is_none_or(|from| &self.gone[..] > from);
            match table {
                Table::Below if reaches => Ok(vec![(self.gone.clone(), Vec::new())]),
                _ => self.tables.scan(table, scan),
            }
        }
    }

    impl Write for Outdated {
        fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
            self.tables.put(table, key, value)
        }

        fn remove(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
            self.tables.remove(table, key)
        }
    }

    #[test]
    fn a_lease_that_went_meanwhile_leaves_its_terms_to_whoever_looks_last() {
        let (tenant, task, lease, limits) =
            (TenantId::default(), TaskId::new(), LeaseId::new(), Limits::default());
        let mut tables = Tables::default();
        for event in [
            Event::SetPolicies(Box::new(events::set_policies("r1"))),
            Event::StartTask(Box::new(events::start(&tenant, task, None))),
            Event::PlanLease(Box::new(events::plan(&tenant, lease, task))),
        ] {
            drop(apply(&mut tables, &event, &limits, NOW).unwrap().committed());
        }
        let gone = below_key(&tenant, task, false, Below::Lease(lease));
        assert!(tables.remove(Table::Below, &gone).unwrap().is_some());
        let mut outdated = Outdated { tables, gone };
        forget_task(&mut outdated, &tenant, task).unwrap();
        let all = Scan { prefix: &[], from: None, backwards: false, limit: 9 };
        assert_eq!(outdated.scan(Table::Terms, &all).unwrap(), []);
    }
}
