//! Which Redis key holds a row of a table.
//!
//! Rows live in pages: a hash for rows with a value, a sorted set (all scores 0, so in the order of the bytes) for entries
//! that are nothing but a key. A page holds what belongs together (what is below one task, what is due in the same 16 ms),
//! so that a lease costs neither a Redis key nor an index entry of its own, and small pages stay in Redis' packed form.
//! Tables that are read in order have a directory: a sorted set of the names of their pages. Names sort as the keys do.
//!
//! All keys of a ledger carry its name as their hash tag. A kill is one write that carries the tenant's next epoch, and a
//! decision counts only under the policies in force: both have to be one atomic step together with the record of the task,
//! so all of that has to be in one slot of a Cluster.

use taskpass_store::tables::{Table, after_prefix};

/// The names of a ledger's keys.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    tag: Vec<u8>,
}

/// Where one row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The page's name within its table.
    pub(crate) page: Vec<u8>,
    /// The row's within its page.
    pub(crate) field: Vec<u8>,
}

/// Of what there is much: times are cut to so many bits of their last byte, so pages of 16 ms. Redis, as
/// `deploy/redis/redis.conf` has it, keeps them packed at 30,000 leases a second and less; and at some hundred a second
/// their names weigh less than what is on them.
const NARROW: u8 = 0b1111_0000;
/// Of what there is less: pages of 64 ms, of 64 epochs.
const WIDE: u8 = 0b1100_0000;
const ID: usize = 16;
/// Requests are named by a hash, of which so many bits tell the page: as many pages as keep a million of them packed.
const REQUEST_SLICE: u8 = 0b1111_1100;
const REQUEST_PAGES: u16 = 1 << 14;

impl Layout {
    pub(crate) fn new(ledger: &str) -> Self {
        Self { tag: format!("{{{ledger}}}:").into_bytes() }
    }

    /// The hash with the generation, the sequence and each broker's newest operation.
    pub(crate) fn control(&self) -> Vec<u8> {
        [&self.tag[..], b"control"].concat()
    }

    /// Where a check writes, and nobody else.
    pub(crate) fn probe(&self) -> Vec<u8> {
        [&self.tag[..], b"probe"].concat()
    }

    /// A key that a well-guarded user may not read.
    pub(crate) fn elsewhere(&self) -> Vec<u8> {
        [b"not-", &self.tag[..], b"probe"].concat()
    }

    /// Where brokers tell each other that something is new.
    pub(crate) fn channel(&self) -> Vec<u8> {
        [&self.tag[..], b"news"].concat()
    }

    pub(crate) fn page(&self, table: Table, page: &[u8]) -> Vec<u8> {
        [&self.tag[..], table.name().as_bytes(), b":", page].concat()
    }

    pub(crate) fn directory(&self, table: Table) -> Vec<u8> {
        [&self.tag[..], table.name().as_bytes()].concat()
    }
}

/// Whether a ledger may be called so.
pub(crate) fn is_name(ledger: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !ledger.is_empty() && ledger.len() <= 64 && ledger.bytes().all(named)
}

/// Whether its entries are nothing but keys.
pub(crate) fn is_index(table: Table) -> bool {
    matches!(table, Table::Below | Table::Schedule)
}

/// Whether it is read across pages.
pub(crate) fn has_directory(table: Table) -> bool {
    matches!(
        table,
        Table::Approvals | Table::Denies | Table::Leases | Table::Schedule | Table::Tasks | Table::Terms
    )
}

pub(crate) fn place(table: Table, key: &[u8]) -> Place {
    match table {
        Table::Approvals | Table::Tasks => sliced(key, key.len().saturating_sub(ID) + 6, WIDE),
        Table::Leases => sliced(key, key.len().saturating_sub(ID) + 6, NARROW),
        Table::Terms => sliced(key, tenant(key) + 6, WIDE),
        Table::Below => split(key, tenant(key) + ID),
        Table::Denies => sliced(key, key.len(), WIDE),
        Table::Holds => split(key, holder(key)),
        Table::Meta | Table::Quarantine => split(key, 0),
        Table::Policies => match key.first() {
            Some(0) => split(key, 1),
            _ => split(key, key.len()),
        },
        Table::Requests => sliced(key, 2, REQUEST_SLICE),
        Table::Schedule => sliced(key, 8, NARROW),
    }
}

/// The key of a row.
pub(crate) fn key(table: Table, page: &[u8], field: &[u8]) -> Vec<u8> {
    match table {
        _ if is_sliced(table) => [page.split_last().map_or(page, |(_, before)| before), field].concat(),
        _ => [page, field].concat(),
    }
}

/// The one page that all keys with this prefix are in; `None` when there may be several.
pub(crate) fn only_page(table: Table, prefix: &[u8]) -> Option<Vec<u8>> {
    let len = match table {
        Table::Below => tenant(prefix) + ID,
        Table::Holds => holder(prefix),
        Table::Meta | Table::Quarantine => 0,
        Table::Policies => 1,
        Table::Terms => {
            let task = prefix.get(..tenant(prefix) + ID)?;
            return Some(place(table, task).page);
        }
        _ => return None,
    };
    prefix.get(..len).map(<[u8]>::to_vec)
}

/// A half-open range of names, as `ZRANGEBYLEX` wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: Vec<u8>,
    pub(crate) high: Vec<u8>,
}

impl Range {
    /// All names that begin with `prefix`.
    pub(crate) fn of(prefix: &[u8]) -> Self {
        let high = after_prefix(prefix).map_or_else(|| b"+".to_vec(), |end| [b"(", &end[..]].concat());
        let low = if prefix.is_empty() { b"-".to_vec() } else { [b"[", prefix].concat() };
        Self { low, high }
    }

    pub(crate) fn after(mut self, name: &[u8]) -> Self {
        self.low = [b"(", name].concat();
        self
    }

    pub(crate) fn from(mut self, name: &[u8]) -> Self {
        self.low = [b"[", name].concat();
        self
    }

    pub(crate) fn before(mut self, name: &[u8]) -> Self {
        self.high = [b"(", name].concat();
        self
    }

    pub(crate) fn up_to(mut self, name: &[u8]) -> Self {
        self.high = [b"[", name].concat();
        self
    }
}

fn split(key: &[u8], at: usize) -> Place {
    let (page, field) = key.split_at_checked(at).unwrap_or((key, &[]));
    Place { page: page.to_vec(), field: field.to_vec() }
}

fn is_sliced(table: Table) -> bool {
    has_directory(table) || table == Table::Requests
}

/// The page is the first `len` bytes with the last of them cut to its slice; the row's name begins with that byte.
fn sliced(key: &[u8], len: usize, slice: u8) -> Place {
    let mut page = key.get(..len).unwrap_or(key).to_vec();
    let field = key.get(page.len().saturating_sub(1)..).unwrap_or_default().to_vec();
    if let Some(last) = page.last_mut() {
        *last &= slice;
    }
    Place { page, field }
}

/// How long the name at `from` is, with its length.
fn name(key: &[u8], from: usize) -> usize {
    let len = key.get(from..).and_then(|rest| rest.first_chunk::<2>());
    len.map_or(0, |len| 2 + usize::from(u16::from_be_bytes(*len)))
}

fn tenant(key: &[u8]) -> usize {
    name(key, 0)
}

/// Tenant, agent and task.
fn holder(key: &[u8]) -> usize {
    let tenant = tenant(key);
    tenant + name(key, tenant) + ID
}

/// Every page that requests can be on.
pub(crate) fn request_pages() -> impl Iterator<Item = Vec<u8>> {
    let step = u16::from(!REQUEST_SLICE) + 1;
    (0..REQUEST_PAGES).map(move |number| number.wrapping_mul(step).to_be_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &[u8] = b"\x00\x07default";

    fn keys() -> Vec<(Table, Vec<u8>)> {
        let id = |byte: u8| [TENANT, &[byte; 16]].concat();
        vec![
            (Table::Tasks, id(1)),
            (Table::Terms, [&id(2)[..], &[6; 8]].concat()),
            (Table::Leases, id(0xff)),
            (Table::Approvals, id(9)),
            (Table::Below, [&id(3)[..], &[0, 1], &[7; 16]].concat()),
            (Table::Denies, [TENANT, &513_u64.to_be_bytes()].concat()),
            (Table::Holds, [TENANT, b"\x00\x03bot", &[4; 16], b"\x00\x02db"].concat()),
            (Table::Meta, b"policy".to_vec()),
            (Table::Policies, [&[0][..], &7_u64.to_be_bytes()].concat()),
            (Table::Policies, [&[1][..], &7_u64.to_be_bytes()].concat()),
            (Table::Requests, vec![0xd7; 16]),
            (Table::Schedule, [&1_800_000_000_123_u64.to_be_bytes()[..], &[1], TENANT, &[5; 16]].concat()),
            (Table::Quarantine, b"tasks".to_vec()),
        ]
    }

    #[test]
    fn a_key_comes_back_from_its_place() {
        for (table, bytes) in keys() {
            let place = place(table, &bytes);
            assert_eq!(key(table, &place.page, &place.field), bytes, "{table:?}");
        }
    }

    #[test]
    fn pages_sort_as_their_keys_and_hold_what_is_near() {
        for table in [Table::Schedule, Table::Leases, Table::Denies] {
            let at = |millis: u64| match table {
                Table::Schedule => [&millis.to_be_bytes()[..], &[1], TENANT, &[5; 16]].concat(),
                Table::Denies => [TENANT, &millis.to_be_bytes()].concat(),
                _ => [TENANT, &millis.to_be_bytes()[2..], &[5; 10]].concat(),
            };
            let page = |millis| place(table, &at(millis)).page;
            let span = if table == Table::Denies { 64 } else { 16 };
            assert_eq!(page(1 << 20), page((1 << 20) + span - 1), "{table:?}");
            assert!(page(1 << 20) < page((1 << 20) + span), "{table:?}");
            assert!(at((1 << 20) + span - 1) < at((1 << 20) + span), "{table:?}");
            let sorted: Vec<_> = (0..300).map(|n| page((1 << 20) + n * 50)).collect();
            assert!(sorted.is_sorted(), "{table:?}");
        }
    }

    #[test]
    fn requests_are_on_all_of_their_pages_and_no_other() {
        let page = |hash: u16| place(Table::Requests, &[&hash.to_be_bytes()[..], &[1; 14]].concat()).page;
        let pages: std::collections::BTreeSet<_> = (0..=u16::MAX).map(page).collect();
        assert!(pages.into_iter().eq(request_pages()));
    }

    #[test]
    fn a_prefix_names_its_only_page_or_none() {
        for (table, bytes) in keys() {
            let page = place(table, &bytes).page;
            match only_page(table, &bytes) {
                Some(only) => assert!(only == page || table == Table::Policies, "{table:?}"),
                None => assert!(has_directory(table) || table == Table::Requests, "{table:?}"),
            }
        }
        assert_eq!(only_page(Table::Below, b"\x00\x07de"), None, "a prefix that is too short");
    }
}
