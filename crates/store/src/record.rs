//! Keys and values as bytes.
//!
//! A value is a header (version, ended, due) and a postcard body. The header lets a write find the index entries of what
//! it replaces without decoding it; the version lets newer code tell older records from its own.

use crate::{Due, DueWhat};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;
use taskpass_lease::{Approval, Duty, HoldKey, Lease, Limits, RequestKey, Task};
use taskpass_types::{
    AgentId, ApprovalId, DenyRecord, Epoch, LeaseId, Reason, Refusal, TaskId, TenantId, Timestamp,
};

const VERSION: u8 = 2;

/// What the indexes need to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) ended: bool,
    pub(crate) due: Timestamp,
}

pub(crate) fn encode<T: Serialize>(header: Header, record: &T) -> Result<Vec<u8>, Refusal> {
    postcard::to_extend(&(VERSION, header, record), Vec::with_capacity(512))
        .map_err(|error| Refusal::new(Reason::Internal, "a record cannot be encoded").because(error))
}

pub(crate) fn header(bytes: &[u8]) -> Option<Header> {
    split(bytes).map(|(header, _)| header)
}

fn split(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (version, rest) = bytes.split_first()?;
    (*version == VERSION).then(|| postcard::take_from_bytes(rest).ok())?
}

pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Refusal> {
    let (_, body) =
        split(bytes).ok_or_else(|| unreadable(what).because("unknown version or damaged header"))?;
    match postcard::take_from_bytes::<T>(body) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(unreadable(what).because(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(unreadable(what).because(error)),
    }
}

/// What is said of a record that cannot be read.
pub(crate) fn unreadable(what: &str) -> Refusal {
    Refusal::new(Reason::StoreCorrupt, format!("a stored {what} cannot be read"))
        .fix("it counts as revoked; `taskpass lease list` shows what is readable")
}

pub(crate) fn task_header(task: &Task, limits: &Limits) -> Header {
    Header { ended: task.end().is_some(), due: task.due(limits) }
}

/// Credentials end with a second, and what is under a task ends with it. So that thousands of leases are not due in the same
/// millisecond, each is up to a second late, by its id, for what only tidies up: nobody accepts an expired lease until
/// then. A cut and a recheck are on time.
pub(crate) fn lease_header(lease: &Lease, limits: &Limits) -> Header {
    let (ended, due) = (lease.end().is_some(), lease.due(limits));
    let [.., a, b] = *lease.id.as_bytes();
    let late = Duration::from_millis((u16::from_be_bytes([a, b]) % 1000).into());
    Header { ended, due: if ended || due == lease.last_expiry { due.plus(late) } else { due } }
}

/// What nobody waits for any more counts as ended.
pub(crate) fn approval_header(approval: &Approval, limits: &Limits) -> Header {
    Header { ended: !approval.is_pending(), due: approval.due(limits) }
}

pub(crate) fn deny_header(deny: &DenyRecord) -> Header {
    Header { ended: true, due: deny.until }
}

/// For records that are never due.
pub(crate) const PLAIN: Header = Header { ended: false, due: Timestamp::from_millis(0) };

/// A tenant's part of a key: its length first, so that no tenant's keys are a prefix of another's.
pub(crate) fn tenant_prefix(tenant: &TenantId) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    push_tenant(&mut key, tenant);
    key
}

/// Where tenants are not used, all keys are of the same one: it goes without saying.
fn push_tenant(key: &mut Vec<u8>, tenant: &TenantId) {
    push(key, if *tenant == TenantId::default() { "" } else { tenant.as_str() });
}

fn parse_tenant(name: &[u8]) -> Option<TenantId> {
    match name {
        [] => Some(TenantId::default()),
        name => TenantId::new(std::str::from_utf8(name).ok()?).ok(),
    }
}

fn push(key: &mut Vec<u8>, text: &str) {
    // Names are bounded to 400 bytes by their types.
    key.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    key.extend_from_slice(text.as_bytes());
}

pub(crate) fn task_key(tenant: &TenantId, id: TaskId) -> Vec<u8> {
    let mut key = tenant_prefix(tenant);
    key.extend_from_slice(id.as_bytes());
    key
}

pub(crate) fn lease_key(tenant: &TenantId, id: LeaseId) -> Vec<u8> {
    let mut key = tenant_prefix(tenant);
    key.extend_from_slice(id.as_bytes());
    key
}

pub(crate) fn approval_key(tenant: &TenantId, id: ApprovalId) -> Vec<u8> {
    let mut key = tenant_prefix(tenant);
    key.extend_from_slice(id.as_bytes());
    key
}

pub(crate) fn deny_key(tenant: &TenantId, epoch: Epoch) -> Vec<u8> {
    let mut key = tenant_prefix(tenant);
    key.extend_from_slice(&epoch.0.to_be_bytes());
    key
}

pub(crate) fn hold_key(hold: &HoldKey) -> Vec<u8> {
    let mut key = hold_prefix(&hold.tenant, &hold.agent, hold.task);
    push(&mut key, hold.resource.as_str());
    key
}

/// All holds of a task.
pub(crate) fn hold_prefix(tenant: &TenantId, agent: &AgentId, task: TaskId) -> Vec<u8> {
    let mut key = tenant_prefix(tenant);
    push(&mut key, agent.as_str());
    key.extend_from_slice(task.as_bytes());
    key
}

/// Its hash, which is shorter than what it is of; requests are only ever looked up one by one.
pub(crate) fn request_key(request: &RequestKey) -> Vec<u8> {
    let mut key = tenant_prefix(&request.tenant);
    push(&mut key, request.agent.as_str());
    push(&mut key, request.id.as_str());
    let hash = digest(&SHA256, &key);
    hash.as_ref().iter().take(REQUEST_HASH).copied().collect()
}

/// Half of SHA-256: nobody finds two requests that share it.
const REQUEST_HASH: usize = 16;

/// What is under a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    Child(TaskId),
    Lease(LeaseId),
}

const CHILD_BELOW: u8 = 0;
const LEASE_BELOW: u8 = 1;

/// What is live, or what has ended, under a task.
pub(crate) fn below_prefix(tenant: &TenantId, task: TaskId, ended: bool) -> Vec<u8> {
    let mut key = task_key(tenant, task);
    key.push(u8::from(ended));
    key
}

/// The leases among that.
pub(crate) fn leases_below_prefix(tenant: &TenantId, task: TaskId, ended: bool) -> Vec<u8> {
    let mut key = below_prefix(tenant, task, ended);
    key.push(LEASE_BELOW);
    key
}

/// The child tasks among that.
pub(crate) fn tasks_below_prefix(tenant: &TenantId, task: TaskId, ended: bool) -> Vec<u8> {
    let mut key = below_prefix(tenant, task, ended);
    key.push(CHILD_BELOW);
    key
}

pub(crate) fn below_key(tenant: &TenantId, task: TaskId, ended: bool, what: Below) -> Vec<u8> {
    let mut key = below_prefix(tenant, task, ended);
    let (kind, id) = match &what {
        Below::Child(id) => (CHILD_BELOW, id.as_bytes()),
        Below::Lease(id) => (LEASE_BELOW, id.as_bytes()),
    };
    key.push(kind);
    key.extend_from_slice(id);
    key
}

pub(crate) fn parse_below(key: &[u8]) -> Option<Below> {
    let (rest, id) = key.split_last_chunk::<16>()?;
    match *rest.last()? {
        CHILD_BELOW => Some(Below::Child(TaskId::from_bytes(*id))),
        LEASE_BELOW => Some(Below::Lease(LeaseId::from_bytes(*id))),
        _ => None,
    }
}

pub(crate) fn due_key(due: &Due) -> Vec<u8> {
    let mut key = due.at.as_millis().to_be_bytes().to_vec();
    let (kind, tenant) = match &due.what {
        DueWhat::Deny(tenant, _) => (0, tenant),
        DueWhat::Lease(tenant, _) => (1, tenant),
        DueWhat::Task(tenant, _) => (2, tenant),
        DueWhat::Approval(tenant, _) => (3, tenant),
    };
    key.push(kind);
    push_tenant(&mut key, tenant);
    match &due.what {
        DueWhat::Deny(_, epoch) => key.extend_from_slice(&epoch.0.to_be_bytes()),
        DueWhat::Lease(_, id) => key.extend_from_slice(id.as_bytes()),
        DueWhat::Task(_, id) => key.extend_from_slice(id.as_bytes()),
        DueWhat::Approval(_, id) => key.extend_from_slice(id.as_bytes()),
    }
    key
}

pub(crate) fn parse_due(key: &[u8]) -> Option<Due> {
    let (at, rest) = key.split_first_chunk::<8>()?;
    let (kind, rest) = rest.split_first()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (tenant, id) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let tenant = parse_tenant(tenant)?;
    let what = match kind {
        0 => DueWhat::Deny(tenant, Epoch(u64::from_be_bytes(id.try_into().ok()?))),
        1 => DueWhat::Lease(tenant, LeaseId::from_bytes(id.try_into().ok()?)),
        2 => DueWhat::Task(tenant, TaskId::from_bytes(id.try_into().ok()?)),
        3 => DueWhat::Approval(tenant, ApprovalId::from_bytes(id.try_into().ok()?)),
        _ => return None,
    };
    Some(Due { at: Timestamp::from_millis(u64::from_be_bytes(*at)), what })
}

pub(crate) const HISTORY_KEY: &[u8] = b"history";
pub(crate) const POLICY_KEY: &[u8] = b"policy";
pub(crate) const KEYS_KEY: &[u8] = b"keys";
pub(crate) const FOLLOWERS_KEY: &[u8] = b"followers";

/// Whose turn a duty is.
pub(crate) fn turn_key(duty: Duty) -> Vec<u8> {
    [b"turn:", duty.as_str().as_bytes()].concat()
}

/// All that is barred in a tenant.
pub(crate) fn bars_key(tenant: &TenantId) -> Vec<u8> {
    [b"bars/", tenant.as_str().as_bytes()].concat()
}

pub(crate) fn epoch_key(tenant: &TenantId) -> Vec<u8> {
    let mut key = b"epoch".to_vec();
    push(&mut key, tenant.as_str());
    key
}

/// How many tasks of an agent run.
pub(crate) fn running_key(tenant: &TenantId, agent: &AgentId) -> Vec<u8> {
    counter_key(b"running", tenant, agent)
}

/// For how many approvals an agent waits.
pub(crate) fn pending_key(tenant: &TenantId, agent: &AgentId) -> Vec<u8> {
    counter_key(b"pending", tenant, agent)
}

fn counter_key(what: &[u8], tenant: &TenantId, agent: &AgentId) -> Vec<u8> {
    let mut key = what.to_vec();
    push(&mut key, tenant.as_str());
    push(&mut key, agent.as_str());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_sorts_by_time_and_parses_back() {
        let tenant = TenantId::default();
        let early = Due { at: Timestamp::from_secs(1), what: DueWhat::Task(tenant.clone(), TaskId::new()) };
        let late =
            Due { at: Timestamp::from_secs(2), what: DueWhat::Approval(tenant.clone(), ApprovalId::new()) };
        let other = TenantId::new("other").unwrap();
        let last = Due { at: Timestamp::from_secs(3), what: DueWhat::Deny(other, Epoch(7)) };
        assert!(due_key(&early) < due_key(&late) && due_key(&late) < due_key(&last));
        for due in [early, late, last] {
            assert_eq!(parse_due(&due_key(&due)), Some(due));
        }
        assert_eq!(parse_due(b"short"), None);
    }

    #[test]
    fn only_what_tidies_up_is_late() {
        use crate::conformance::events;
        use taskpass_lease::{Cut, Event};
        let mut tables = crate::memory::Tables::default();
        let (tenant, task, limits) = (TenantId::default(), TaskId::new(), Limits::default());
        let now = Timestamp::from_secs(1_800_000_000);
        let mut apply = |event| crate::apply(&mut tables, &event, &limits, now).unwrap().committed();
        let _ = apply(Event::SetPolicies(Box::new(events::set_policies("r1"))));
        let _ = apply(Event::StartTask(Box::new(events::start(&tenant, task, None))));
        let mut lates = Vec::new();
        for _ in 0..100 {
            let plan = Box::new(events::plan(&tenant, LeaseId::new(), task));
            let lease = apply(Event::PlanLease(plan)).into_prepared().unwrap().lease().clone();
            let header = lease_header(&lease, &limits);
            lates.push(header.due.since(lease.last_expiry));
            assert!(header.due >= lease.last_expiry && lates.last().unwrap().as_millis() < 1000);
            let at = lease.last_expiry.plus(Duration::from_secs(1));
            let (sooner, cut) = (Timestamp::from_secs(1_800_000_100), Cut { at, by: String::new() });
            let recheck = Lease { recheck_at: Some(sooner), ..lease.clone() };
            let cut = Lease { cut: Some(Cut { at: sooner, ..cut }), ..lease };
            assert_eq!(lease_header(&recheck, &limits).due, sooner);
            assert_eq!(lease_header(&cut, &limits).due, sooner);
        }
        lates.sort_unstable();
        lates.dedup();
        assert!(lates.len() > 50, "they are spread over the second");
    }

    #[test]
    fn requests_of_others_are_elsewhere() {
        let key = |tenant: &str, agent: &str, id: &str| {
            let (tenant, agent) = (TenantId::new(tenant).unwrap(), AgentId::new(agent).unwrap());
            request_key(&RequestKey { tenant, agent, id: id.parse().unwrap() })
        };
        let all = [("a", "b", "c"), ("ab", "b", "c"), ("a", "bb", "c"), ("a", "b", "bc"), ("b", "a", "c")];
        let keys: std::collections::BTreeSet<_> = all.map(|(a, b, c)| key(a, b, c)).into_iter().collect();
        assert_eq!(keys.len(), all.len());
        assert!(keys.iter().all(|key| key.len() == REQUEST_HASH));
    }

    #[test]
    fn no_tenants_keys_begin_with_anothers() {
        let (a, ab) = (TenantId::new("a").unwrap(), TenantId::new("ab").unwrap());
        assert!(!tenant_prefix(&ab).starts_with(&tenant_prefix(&a)));
    }

    #[test]
    fn damage_is_found() {
        let good = encode(PLAIN, &"text".to_owned()).unwrap();
        assert_eq!(decode::<String>("text", &good).unwrap(), "text");
        let mut longer = good.clone();
        longer.push(0);
        let with = |at: usize, byte: u8| {
            let mut changed = good.clone();
            changed[at] = byte;
            changed
        };
        let (older, newer, neither) = (with(0, 1), with(0, 9), with(1, 2));
        for bad in [&[][..], &good[..2], &good[..good.len() - 1], &longer, &older, &newer, &neither] {
            assert_eq!(decode::<String>("text", bad).unwrap_err().reason(), Reason::StoreCorrupt);
        }
    }
}
