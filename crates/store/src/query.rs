//! Reads over a snapshot.

use crate::{
    ApprovalQuery, Denies, Due, LeaseQuery, Page, TaskQuery, load,
    record::{decode, deny_key, leases_below_prefix, parse_due, tasks_below_prefix, tenant_prefix},
    tables::{Read, Scan, Table},
    terms,
};
use std::cmp::Reverse;
use taskpass_lease::{Approval, Lease, Task};
use taskpass_types::{
    ApprovalId, DenyRecord, EndReason, Epoch, LeaseId, Reason, Refusal, TaskId, TenantId, Timestamp,
};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;
/// A filtered page looks at no more than this many records before it returns with a cursor.
const MAX_LOOKED_AT: usize = 20_000;

pub(crate) fn due(read: &dyn Read, now: Timestamp, limit: usize) -> Result<Vec<Due>, Refusal> {
    let entries = read.scan(Table::Schedule, &Scan { prefix: &[], from: None, backwards: false, limit })?;
    Ok(entries.iter().filter_map(|(key, _)| parse_due(key)).take_while(|due| due.at <= now).collect())
}

/// A lease as it is, with whatever ended it.
pub(crate) fn lease(read: &dyn Read, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal> {
    // Who is far away from the store gets both in one round.
    let (bars, lease) = (load::bars(read, tenant), load::lease(read, tenant, id)?);
    let bars = bars?;
    Ok(lease.map(|lease| bars.mark(lease)))
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
    let (bars, own) = (load::bars(read, tenant), load::own(read, tenant, id)?);
    let own =
        own.ok_or_else(|| Refusal::new(Reason::LeaseNotFound, "there is no such lease, or it is not yours"))?;
    // Who is far away from the store gets the task in one round with the lease's terms.
    let (task, of) = (load::task(read, tenant, own.task), own.task);
    let lease = bars?.mark(terms::whole(read, tenant, id, own)?);
    if let Some(reason) = lease.ended_by(now) {
        return Err(gone(id, reason));
    }
    let above = lease.task_path.iter().filter(|above| *above != of);
    for task in above.map(|above| load::task(read, tenant, above)).chain([task]) {
        let task = task?.ok_or_else(|| gone(id, EndReason::ParentEnded))?;
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
    // The epoch first: a record that comes in between is left to the next read, and never passed over.
    let epoch = load::epoch(read, tenant)?;
    let from = deny_key(tenant, after);
    let prefix = tenant_prefix(tenant);
    let scan = Scan { prefix: &prefix, from: Some(&from), backwards: false, limit };
    let mut records = read
        .scan(Table::Denies, &scan)?
        .iter()
        .map(|(_, bytes)| decode("deny record", bytes))
        .collect::<Result<Vec<DenyRecord>, _>>()?;
    records.retain(|record| record.epoch <= epoch);
    Ok(Denies { records, epoch })
}

pub(crate) fn tasks(read: &dyn Read, query: &TaskQuery) -> Result<Page<Task, TaskId>, Refusal> {
    let keep = |task: &Task| {
        (query.agent.is_none() || query.agent.as_ref() == task.agent())
            && !(query.running && task.end().is_some())
    };
    let before = query.before.map(|id| *id.as_bytes());
    let page = match query.parent {
        None => {
            let prefix = tenant_prefix(&query.tenant);
            let rows = |before, limit| newest(read, Table::Tasks, &prefix, before, limit);
            newest_first(query.limit, before, rows, |row| decode("task", &row.bytes).map(Some), keep)?
        }
        Some(parent) => {
            let half = |ended| tasks_below_prefix(&query.tenant, parent, ended);
            let rows = |before, limit| newest_below(read, (half, query.running), before, limit);
            let fetch = |row: &Row| load::task(read, &query.tenant, TaskId::from_bytes(row.id));
            newest_first(query.limit, before, rows, fetch, keep)?
        }
    };
    Ok(Page { next: page.next.map(TaskId::from_bytes), items: page.items, unreadable: page.unreadable })
}

pub(crate) fn leases(read: &dyn Read, query: &LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal> {
    let keep = |lease: &Lease| {
        (query.agent.is_none() || query.agent.as_ref() == lease.agent())
            && !(query.active && lease.end().is_some())
    };
    let bars = load::bars(read, &query.tenant)?;
    let before = query.before.map(|id| *id.as_bytes());
    let page = match query.task {
        None => {
            let prefix = tenant_prefix(&query.tenant);
            let rows = |before, limit| newest(read, Table::Leases, &prefix, before, limit);
            let fetch = |row: &Row| {
                let own = decode("lease", &row.bytes)?;
                terms::whole(read, &query.tenant, LeaseId::from_bytes(row.id), own)
                    .map(|lease| Some(bars.mark(lease)))
            };
            newest_first(query.limit, before, rows, fetch, keep)?
        }
        Some(task) => {
            let half = |ended| leases_below_prefix(&query.tenant, task, ended);
            let rows = |before, limit| newest_below(read, (half, query.active), before, limit);
            let fetch = |row: &Row| {
                let lease = load::lease(read, &query.tenant, LeaseId::from_bytes(row.id))?;
                Ok(lease.map(|lease| bars.mark(lease)))
            };
            newest_first(query.limit, before, rows, fetch, keep)?
        }
    };
    Ok(Page { next: page.next.map(LeaseId::from_bytes), items: page.items, unreadable: page.unreadable })
}

pub(crate) fn approvals(
    read: &dyn Read,
    query: &ApprovalQuery,
) -> Result<Page<Approval, ApprovalId>, Refusal> {
    let keep = |approval: &Approval| {
        query.agent.as_ref().is_none_or(|agent| *agent == approval.agent)
            && (approval.is_pending() || !query.pending)
    };
    let prefix = tenant_prefix(&query.tenant);
    let before = query.before.map(|id| *id.as_bytes());
    let rows = |before, limit| newest(read, Table::Approvals, &prefix, before, limit);
    let page = newest_first(query.limit, before, rows, |row| decode("approval", &row.bytes).map(Some), keep)?;
    Ok(Page { next: page.next.map(ApprovalId::from_bytes), items: page.items, unreadable: page.unreadable })
}

/// The bytes of an id, which sort by time.
type IdBytes = [u8; 16];

/// An entry whose key ends with an id.
struct Row {
    id: IdBytes,
    bytes: Vec<u8>,
}

/// The entries of `prefix` that are older than `before`, newest first.
fn newest(
    read: &dyn Read,
    table: Table,
    prefix: &[u8],
    before: Option<IdBytes>,
    limit: usize,
) -> Result<Vec<Row>, Refusal> {
    let from = before.map(|id| [prefix, &id].concat());
    let scan = Scan { prefix, from: from.as_deref(), backwards: true, limit };
    let entries = read.scan(table, &scan)?;
    Ok(entries.into_iter().filter_map(|(key, bytes)| Some(Row { id: *key.last_chunk()?, bytes })).collect())
}

/// The index keeps what lives and what has ended apart; a page has both, unless only what lives is asked for, and what ends
/// between two pages is neither missed nor shown twice, since the cursor is nothing but an id.
fn newest_below(
    read: &dyn Read,
    (prefix, live): (impl Fn(bool) -> Vec<u8>, bool),
    before: Option<IdBytes>,
    limit: usize,
) -> Result<Vec<Row>, Refusal> {
    let half = |ended| newest(read, Table::Below, &prefix(ended), before, limit);
    let mut rows = half(false)?;
    if !live {
        rows.extend(half(true)?);
        rows.sort_unstable_by_key(|row| Reverse(row.id));
        rows.truncate(limit);
    }
    Ok(rows)
}

/// Fills a page with what `keep` wants, reading as many rows as that takes, within a bound.
fn newest_first<T>(
    limit: usize,
    mut before: Option<IdBytes>,
    rows: impl Fn(Option<IdBytes>, usize) -> Result<Vec<Row>, Refusal>,
    fetch: impl Fn(&Row) -> Result<Option<T>, Refusal>,
    keep: impl Fn(&T) -> bool,
) -> Result<Page<T, IdBytes>, Refusal> {
    let wanted = if limit == 0 { DEFAULT_PAGE } else { limit.min(MAX_PAGE) };
    let at_once = wanted.clamp(64, 512);
    let mut page = Page { items: Vec::new(), next: None, unreadable: 0 };
    let mut looked_at = 0;
    loop {
        let found = rows(before, at_once)?;
        let last = found.len() < at_once;
        for row in found {
            if page.items.len() == wanted || looked_at == MAX_LOOKED_AT {
                page.next = before;
                return Ok(page);
            }
            looked_at += 1;
            before = Some(row.id);
            match fetch(&row) {
                Ok(item) => page.items.extend(item.filter(&keep)),
                Err(refusal) if refusal.reason() == Reason::StoreCorrupt => page.unreadable += 1,
                Err(refusal) => return Err(refusal),
            }
        }
        if last {
            return Ok(page);
        }
    }
}
