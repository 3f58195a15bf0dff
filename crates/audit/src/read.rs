//! Reading entries by number without reading the whole log: numbers ascend, so half of what is left is skipped each time.

use crate::{AuditError, EntryLine, LOG_FILE, MAX_ENTRY_BYTES, chain::Link, file::Head, verify::Lines};
use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

/// One answer has no more bytes, give or take an entry.
const ANSWER_BYTES: usize = 4 << 20;
/// Close enough to read on line by line.
const NEAR: u64 = 2 * MAX_ENTRY_BYTES as u64;

/// Entries of the log in `dir` from number `seq` on, at most `limit` and a few megabytes; also while a broker writes it.
///
/// # Errors
/// When the log or its `HEAD` cannot be read.
pub fn read_dir(dir: &Path, seq: u64, limit: usize) -> Result<Vec<EntryLine>, AuditError> {
    match Head::load(dir)? {
        Some(head) => read(&dir.join(LOG_FILE), head.length, seq, limit),
        None => Ok(Vec::new()),
    }
}

pub(crate) fn read(path: &Path, end: u64, seq: u64, limit: usize) -> Result<Vec<EntryLine>, AuditError> {
    let io = |error| AuditError::io("read", path)(error);
    let mut log = File::open(path).map_err(io)?;
    let start = find(&mut log, end, seq).map_err(io)?;
    let mut lines = lines_from(&mut log, start, end).map_err(io)?;
    let mut entries = Vec::new();
    let mut bytes = 0;
    while entries.len() < limit
        && bytes < ANSWER_BYTES
        && let Some(line) = lines.next().map_err(io)?
    {
        if let Some(entry) = entry(line).filter(|entry| entry.seq >= seq) {
            bytes += entry.json.len();
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn entry(line: &[u8]) -> Option<EntryLine> {
    let line = line.strip_suffix(b"\n")?;
    let seq = Link::parse(line).ok()?.seq;
    Some(EntryLine { seq, json: String::from_utf8(line.to_vec()).ok()? })
}

/// A byte not far before the entry `seq`; reading from there yields it after a part of another entry.
fn find(log: &mut File, end: u64, seq: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, end);
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        match first_after(log, middle, end)? {
            Some(found) if found < seq => low = middle,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The number of the first whole entry that begins behind byte `at`.
fn first_after(log: &mut File, at: u64, end: u64) -> io::Result<Option<u64>> {
    let mut lines = lines_from(log, at, end)?;
    lines.next()?;
    Ok(lines.next()?.and_then(entry).map(|entry| entry.seq))
}

fn lines_from(log: &mut File, start: u64, end: u64) -> io::Result<Lines<BufReader<io::Take<&mut File>>>> {
    log.seek(SeekFrom::Start(start))?;
    Ok(Lines::new(BufReader::new(log.take(end.saturating_sub(start)))))
}
