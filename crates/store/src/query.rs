//! Reads over a snapshot.

use crate::{
    Denies, Due, LeaseQuery, Page, TaskQuery, load,
    record::{below_prefix, decode, deny_key, lease_key, parse_below, parse_due, task_key, tenant_prefix},
    tables::{Read, Scan, Table},
};
use serde::de::DeserializeOwned;
use taskpass_lease::{Lease, LeaseState, Task};
use taskpass_types::{EndReason, Epoch, LeaseId, Reason, Refusal, TaskId, TenantId, Timestamp};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;
/// A filtered page looks at no more than this many records before it returns with a cursor.
const MAX_LOOKED_AT: usize = 20_000;

pub(crate) fn due(read: &dyn Read, now: Timestamp, limit: usize) -> Result<Vec<Due>, Refusal> {
    let entries = read.scan(Table::Schedule, &Scan { prefix: &[], from: None, backwards: false, limit })?;
    Ok(entries.iter().filter_map(|(key, _)| parse_due(key)).take_while(|due| due.at <= now).collect())
}

pub(crate) fn standing(
    read: &dyn Read,
    tenant: &TenantId,
    id: LeaseId,
    now: Timestamp,
) -> Result<Lease, Refusal> {
    let gone = |lease: LeaseId, reason: EndReason| {
        Refusal::new(Reason::LeaseEnded, format!("lease `{lease}` has ended: {reason}"))
            .fix("ask for a new credential; an ended lease never comes back")
            .with("lease", lease)
            .with("end_reason", reason)
    };
    let lease = load::lease(read, tenant, id)?
        .ok_or_else(|| Refusal::new(Reason::LeaseNotFound, "there is no such lease, or it is not yours"))?;
    if let LeaseState::Ended(end) = &lease.state {
        return Err(gone(id, end.reason));
    }
    if now >= lease.last_expiry {
        return Err(gone(id, EndReason::Expired));
    }
    for above in lease.task_path.iter() {
        let task = load::task(read, tenant, above)?.ok_or_else(|| gone(id, EndReason::ParentEnded))?;
        if let Some(reason) = task.ended_by(now) {
            return Err(gone(id, reason));
        }
    }
    Ok(lease)
}

pub(crate) fn denies_after(
    read: &dyn Read,
    tenant: &TenantId,
    after: Epoch,
    limit: usize,
) -> Result<Denies, Refusal> {
    let from = deny_key(tenant, after);
    let prefix = tenant_prefix(tenant);
    let scan = Scan { prefix: &prefix, from: Some(&from), backwards: false, limit };
    let records = read
        .scan(Table::Denies, &scan)?
        .iter()
        .map(|(_, bytes)| decode("deny record", bytes))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Denies { records, epoch: load::epoch(read, tenant)? })
}

pub(crate) fn tasks(read: &dyn Read, query: &TaskQuery) -> Result<Page<Task, TaskId>, Refusal> {
    let keep = |task: &Task| {
        (query.agent.is_none() || query.agent.as_ref() == task.agent())
            && !(query.running && task.end().is_some())
    };
    let prefix = tenant_prefix(&query.tenant);
    let cursor = query.before.map(|id| task_key(&query.tenant, id));
    let walk = Walk { table: Table::Tasks, prefix: &prefix, limit: query.limit };
    let (items, last, unreadable) =
        walk.newest_first(read, cursor, |_, bytes| decode("task", bytes).map(Some), keep)?;
    Ok(Page { next: last.and_then(|key| id_of(&key)).map(TaskId::from_bytes), items, unreadable })
}

pub(crate) fn leases(read: &dyn Read, query: &LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal> {
    let keep = |lease: &Lease| {
        (query.agent.is_none() || query.agent.as_ref() == lease.agent())
            && !(query.active && lease.end().is_some())
    };
    let (items, last, unreadable) = match query.task {
        None => {
            let prefix = tenant_prefix(&query.tenant);
            let cursor = query.before.map(|id| lease_key(&query.tenant, id));
            let walk = Walk { table: Table::Leases, prefix: &prefix, limit: query.limit };
            walk.newest_first(read, cursor, |_, bytes| decode("lease", bytes).map(Some), keep)?
        }
        Some(task) => leases_below(read, query, task, keep)?,
    };
    Ok(Page { next: last.and_then(|key| id_of(&key)).map(LeaseId::from_bytes), items, unreadable })
}

/// The index sorts ended leases after active ones, so backwards the ended ones come first; the cursor finds its half by
/// the lease's own state.
fn leases_below(
    read: &dyn Read,
    query: &LeaseQuery,
    task: TaskId,
    keep: impl Fn(&Lease) -> bool,
) -> Result<Walked<Lease>, Refusal> {
    let prefix = below_prefix(&query.tenant, task, query.active.then_some(false));
    let cursor = match query.before {
        None => None,
        Some(id) => load::lease(read, &query.tenant, id)?.map(|lease| {
            let what = crate::record::Below::Lease(id);
            crate::record::below_key(&query.tenant, task, lease.end().is_some(), what)
        }),
    };
    let walk = Walk { table: Table::Below, prefix: &prefix, limit: query.limit };
    let fetch = |key: &[u8], _: &[u8]| match parse_below(key) {
        Some(crate::record::Below::Lease(id)) => load::lease(read, &query.tenant, id),
        _ => Ok(None),
    };
    walk.newest_first(read, cursor, fetch, keep)
}

fn id_of(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk::<16>().copied()
}

/// Items, the key to go on from if there may be more, and how many could not be read.
type Walked<T> = (Vec<T>, Option<Vec<u8>>, usize);

struct Walk<'a> {
    table: Table,
    prefix: &'a [u8],
    limit: usize,
}

impl Walk<'_> {
    fn newest_first<T: DeserializeOwned>(
        &self,
        read: &dyn Read,
        mut cursor: Option<Vec<u8>>,
        fetch: impl Fn(&[u8], &[u8]) -> Result<Option<T>, Refusal>,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Walked<T>, Refusal> {
        let wanted = if self.limit == 0 { DEFAULT_PAGE } else { self.limit.min(MAX_PAGE) };
        let (mut items, mut unreadable, mut looked_at) = (Vec::new(), 0, 0);
        loop {
            let limit = wanted.clamp(64, 512);
            let scan = Scan { prefix: self.prefix, from: cursor.as_deref(), backwards: true, limit };
            let entries = read.scan(self.table, &scan)?;
            let full = entries.len() == limit;
            for (key, bytes) in entries {
                looked_at += 1;
                match fetch(&key, &bytes) {
                    Ok(Some(item)) if keep(&item) => items.push(item),
                    Ok(_) => {}
                    Err(refusal) if refusal.reason() == Reason::StoreCorrupt => unreadable += 1,
                    Err(refusal) => return Err(refusal),
                }
                if items.len() == wanted || looked_at == MAX_LOOKED_AT {
                    return Ok((items, Some(key), unreadable));
                }
                cursor = Some(key);
            }
            if !full {
                return Ok((items, None, unreadable));
            }
        }
    }
}
