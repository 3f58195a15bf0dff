//! What a backend offers: ordered tables of bytes, in one transaction.

use taskpass_types::Refusal;

/// The tables of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// (tenant, approval): requests for people's approval.
    Approvals,
    /// (tenant, task, ended, kind, id): what is directly under a task.
    Below,
    /// (tenant, epoch): deny records.
    Denies,
    /// (tenant, agent, task, resource): holds.
    Holds,
    /// (tenant, lease): what is a lease's own.
    Leases,
    /// Single values: history, epochs, counters, the policy revision.
    Meta,
    /// (kind, number): the history of policies, what each set is and its text.
    Policies,
    /// Records that could not be read, as they were.
    Quarantine,
    /// (hash of tenant, agent, request id): what a request made.
    Requests,
    /// (time, kind, tenant, id): what is due when.
    Schedule,
    /// (tenant, task): tasks.
    Tasks,
    /// (tenant, task, hash): what leases of a task have in common.
    Terms,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 12] = [
        Self::Approvals,
        Self::Below,
        Self::Denies,
        Self::Holds,
        Self::Leases,
        Self::Meta,
        Self::Policies,
        Self::Quarantine,
        Self::Requests,
        Self::Schedule,
        Self::Tasks,
        Self::Terms,
    ];

    /// Its name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approvals => "approvals",
            Self::Below => "below",
            Self::Denies => "denies",
            Self::Holds => "holds",
            Self::Leases => "leases",
            Self::Meta => "meta",
            Self::Policies => "policies",
            Self::Quarantine => "quarantine",
            Self::Requests => "requests",
            Self::Schedule => "schedule",
            Self::Tasks => "tasks",
            Self::Terms => "terms",
        }
    }
}

/// One key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Which entries a scan visits: those whose keys begin with `prefix`, after `from` (backwards: before it).
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    /// What every key begins with.
    pub prefix: &'a [u8],
    /// The cursor, itself left out; `None`: begin at the first (backwards: the last) key of the prefix.
    pub from: Option<&'a [u8]>,
    /// From the greatest key down.
    pub backwards: bool,
    /// At most so many entries.
    pub limit: usize,
}

/// A consistent look at the tables.
pub trait Read {
    /// The value of `key`.
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal>;

    /// The entries that `scan` describes, in its order.
    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Entry>, Refusal>;
}

/// A transaction that changes the tables.
pub trait Write: Read {
    /// Sets `key`, and returns what it was.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Refusal>;

    /// Removes `key`, and returns what it was.
    fn remove(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal>;
}

/// The first key after all that begin with `prefix`; `None` when there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
