//! The history of policies: what was in force, and its text, so that it can be looked at and brought back.
//!
//! What a set is and its text have a row each, so that the history is read without the texts. It is bounded by number and
//! by size; the set in force is never among what goes.

use crate::{
    load::readable,
    record::{PLAIN, POLICY_KEY, decode, encode},
    tables::{Entry, Read, Scan, Table, Write},
};
use std::collections::BTreeSet;
use taskpass_lease::{PolicySet, PolicySetInfo};
use taskpass_types::{PolicyRevision, Reason, Refusal};

/// How many sets are kept.
const MAX_SETS: usize = 100;
/// How much text is kept.
const MAX_BYTES: u64 = 64 << 20;
/// A shorter beginning of a revision names nothing.
const MIN_PREFIX: usize = 6;

const INFO: u8 = 0;
const TEXT: u8 = 1;

fn key(kind: u8, number: u64) -> Vec<u8> {
    [&[kind][..], &number.to_be_bytes()].concat()
}

fn number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|number| u64::from_be_bytes(*number))
}

fn rows(read: &dyn Read, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Refusal> {
    let from = before.map(|number| key(INFO, number));
    let scan = Scan { prefix: &[INFO], from: from.as_deref(), backwards: true, limit };
    read.scan(Table::Policies, &scan)
}

fn info(bytes: &[u8]) -> Result<PolicySetInfo, Refusal> {
    decode("set of policies", bytes)
}

/// The number of the newest set; 0 when there is none.
pub(crate) fn newest(read: &dyn Read) -> Result<u64, Refusal> {
    Ok(rows(read, None, 1)?.first().and_then(|(key, _)| number(key)).unwrap_or(0))
}

/// Newest first; what cannot be read is passed over.
pub(crate) fn history(
    read: &dyn Read,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<PolicySetInfo>, Refusal> {
    let mut found = Vec::new();
    for (_, bytes) in rows(read, before, limit.min(MAX_SETS))? {
        found.extend(readable(info(&bytes).map(Some))?);
    }
    Ok(found)
}

/// The set in force; or the newest with this revision, or with the only one that begins so.
pub(crate) fn set(read: &dyn Read, revision: Option<&PolicyRevision>) -> Result<Option<PolicySet>, Refusal> {
    let found = match revision {
        None => rows(read, None, 1)?.first().map(|(_, bytes)| info(bytes)).transpose()?,
        Some(revision) => named(history(read, None, MAX_SETS)?, revision)?,
    };
    let Some(info) = found else { return Ok(None) };
    let text = read.read(Table::Policies, &key(TEXT, info.number))?.ok_or_else(|| {
        Refusal::new(Reason::StoreCorrupt, format!("the text of policies `{}` is missing", info.revision))
    })?;
    Ok(Some(PolicySet { sources: decode("policy text", &text)?, info }))
}

fn named(history: Vec<PolicySetInfo>, revision: &PolicyRevision) -> Result<Option<PolicySetInfo>, Refusal> {
    if let Some(exact) = history.iter().find(|set| set.revision == *revision) {
        return Ok(Some(exact.clone()));
    }
    if revision.as_str().len() < MIN_PREFIX {
        return Ok(None);
    }
    let begins = |set: &PolicySetInfo| set.revision.as_str().starts_with(revision.as_str());
    let mut found: Vec<PolicySetInfo> = history.into_iter().filter(begins).collect();
    let revisions: BTreeSet<&PolicyRevision> = found.iter().map(|set| &set.revision).collect();
    if revisions.len() > 1 {
        return Err(Refusal::new(
            Reason::PolicyNotFound,
            format!("{} revisions begin with `{revision}`", revisions.len()),
        )
        .fix("give more characters of it"));
    }
    found.truncate(1);
    Ok(found.pop())
}

pub(crate) fn save_policies(write: &mut dyn Write, set: &PolicySet) -> Result<(), Refusal> {
    let PolicySet { info, sources } = set;
    write.put(Table::Policies, &key(INFO, info.number), &encode(PLAIN, info)?)?;
    write.put(Table::Policies, &key(TEXT, info.number), &encode(PLAIN, sources)?)?;
    write.put(Table::Meta, POLICY_KEY, &encode(PLAIN, &info.revision)?)?;
    prune(write)
}

/// Keeps the newest, as many as fit. What cannot be read has no size, but its place counts.
fn prune(write: &mut dyn Write) -> Result<(), Refusal> {
    let (mut kept, mut bytes) = (0_usize, 0_u64);
    for (row, value) in rows(write, None, usize::MAX)? {
        bytes = bytes.saturating_add(info(&value).map_or(0, |info| info.bytes));
        if kept > 0 && (kept >= MAX_SETS || bytes > MAX_BYTES) {
            write.remove(Table::Policies, &row)?;
            if let Some(number) = number(&row) {
                write.remove(Table::Policies, &key(TEXT, number))?;
            }
        } else {
            kept += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Tables;
    use taskpass_lease::PolicyOrigin;
    use taskpass_types::Timestamp;

    fn save(tables: &mut Tables, number: u64, bytes: u64) {
        let info = PolicySetInfo {
            number,
            revision: PolicyRevision::new(format!("set-{number}")).unwrap(),
            by: "operator".to_owned(),
            origin: PolicyOrigin::Applied,
            at: Timestamp::default(),
            bytes,
        };
        save_policies(tables, &PolicySet { info, sources: Vec::new() }).unwrap();
    }

    fn numbers(tables: &Tables) -> Vec<u64> {
        let rows = |kind| {
            let scan = Scan { prefix: &[kind], from: None, backwards: true, limit: usize::MAX };
            let rows = tables.scan(Table::Policies, &scan).unwrap();
            rows.iter().filter_map(|(key, _)| number(key)).collect::<Vec<_>>()
        };
        assert_eq!(rows(INFO), rows(TEXT), "a text for each");
        rows(INFO)
    }

    #[test]
    fn the_texts_are_bounded_and_what_is_in_force_stays() {
        let mut tables = Tables::default();
        for (number, bytes, expected) in [
            (1, MAX_BYTES / 2, &[1][..]),
            (2, MAX_BYTES / 4, &[2, 1]),
            (3, MAX_BYTES / 4, &[3, 2, 1]),
            (4, 1, &[4, 3, 2]),
            (5, u64::MAX, &[5]),
            (6, 1, &[6]),
        ] {
            save(&mut tables, number, bytes);
            assert_eq!(numbers(&tables), expected);
            assert_eq!(set(&tables, None).unwrap().unwrap().info.number, number);
        }
    }

    #[test]
    fn what_cannot_be_read_takes_its_place_and_goes_in_its_time() {
        let mut tables = Tables::default();
        for number in 1..=MAX_SETS as u64 {
            save(&mut tables, number, 1);
        }
        tables.put(Table::Policies, &key(INFO, 1), b"damaged").unwrap();
        tables.put(Table::Policies, &key(INFO, 50), b"damaged").unwrap();
        assert_eq!(history(&tables, None, usize::MAX).unwrap().len(), MAX_SETS - 2);
        save(&mut tables, MAX_SETS as u64 + 1, 1);
        assert_eq!(numbers(&tables).len(), MAX_SETS);
        assert_eq!(numbers(&tables).last(), Some(&2));
    }
}
