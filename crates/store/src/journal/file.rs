//! A file whose blocks were taken beforehand, so that writing into it needs no space on the disk.
//!
//! It holds records one after the other, each its length, its SHA-256 and its bytes; behind the last one is nothing but
//! zeros. A record counts once it is synced. What a crash left half written does not match its digest and is the end:
//! nobody was answered for it. A record that cannot be read with a good one behind it was answered for, so that is
//! damage, and the file is not opened: to go on without it would forget an end that somebody was promised.

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

const HEAD: usize = 4 + SHA256_OUTPUT_LEN;
/// In the place of the first record's head, and within one sector: all that follows is in the store and is being wiped.
/// No record is that long.
const CLEARED: [u8; HEAD] = [0xff; HEAD];

/// The file and where the next record goes.
#[derive(Debug)]
pub struct JournalFile {
    file: File,
    capacity: usize,
    end: usize,
    /// The records were given up but may still be on the disk; nothing may be written behind them.
    stale: bool,
}

impl JournalFile {
    /// Opens it, or makes it at its full size of `capacity` bytes; gives the records in it.
    ///
    /// # Errors
    /// When it cannot be read or made, somebody else has it open, or it is damaged.
    pub fn open(path: &Path, capacity: usize) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.try_lock().map_err(|error| io::Error::other(format!("somebody else has it open: {error}")))?;
        let mut content = Vec::new();
        (&mut file).take(capacity as u64).read_to_end(&mut content)?;
        if content.len() < capacity {
            if content.iter().any(|byte| *byte != 0) {
                return Err(damaged(format!("only {} of its {capacity} bytes are there", content.len())));
            }
            // New: write it through to the end, so that all its blocks are there.
            content.resize(capacity, 0);
            file.write_all_at(&content, 0)?;
            file.sync_all()?;
            if let Some(dir) = path.parent() {
                File::open(dir)?.sync_all()?;
            }
        }
        let mut journal = Self { file, capacity, end: 0, stale: content.starts_with(&CLEARED) };
        if journal.stale {
            journal.clear()?;
            return Ok((journal, Vec::new()));
        }
        let (records, rest) = parse(&content);
        journal.end = capacity - rest.len();
        if let Some(behind) = (1..rest.len()).find(|at| rest.get(*at..).and_then(split).is_some()) {
            let (at, behind) = (journal.end, journal.end + behind);
            return Err(damaged(format!(
                "the record at byte {at} cannot be read, and the one at {behind} can"
            )));
        }
        if rest.iter().any(|byte| *byte != 0) {
            tracing::warn!(
                journal = %path.display(),
                at = journal.end,
                "a record was not written to its end; nobody was answered for it"
            );
        }
        Ok((journal, records))
    }

    /// Appends a record; durable when it returns.
    ///
    /// # Errors
    /// When the disk refuses, or there is no more room; then nothing was appended.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        if self.stale {
            self.clear()?;
        }
        let next = self.end + HEAD + record.len();
        // The zero length behind it must fit too.
        if next + 4 > self.capacity {
            return Err(io::Error::other("the revocation journal is full"));
        }
        let mut bytes = Vec::with_capacity(HEAD + record.len() + 4);
        bytes.extend_from_slice(&u32::try_from(record.len()).map_err(io::Error::other)?.to_le_bytes());
        bytes.extend_from_slice(digest(&SHA256, record).as_ref());
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(&[0; 4]);
        self.file.write_all_at(&bytes, self.end as u64)?;
        self.file.sync_data()?;
        self.end = next;
        Ok(())
    }

    /// Forgets all records; durable when it returns.
    ///
    /// First marked, then wiped: a crash in between leaves the mark, and never a part that could be taken for damage.
    ///
    /// # Errors
    /// When the disk refuses; the records count as forgotten all the same.
    pub fn clear(&mut self) -> io::Result<()> {
        (self.end, self.stale) = (0, true);
        self.file.write_all_at(&CLEARED, 0)?;
        self.file.sync_data()?;
        self.file.write_all_at(&vec![0; self.capacity.saturating_sub(HEAD)], HEAD as u64)?;
        self.file.sync_data()?;
        self.stale = false;
        Ok(())
    }
}

/// Whether ends wait in the journal at `path`, by how it begins; also while a broker has it open.
///
/// # Errors
/// When it cannot be read; one that is not there is empty.
pub fn has_records(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(HEAD as u64).read_to_end(&mut head)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(head.iter().any(|byte| *byte != 0) && head != CLEARED)
}

fn damaged(how: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged: {how}"))
}

/// The records up to the first that cannot be read, and what follows them.
fn parse(mut content: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let mut records = Vec::new();
    while let Some((record, rest)) = split(content) {
        records.push(record.to_vec());
        content = rest;
    }
    (records, content)
}

fn split(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = content.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok().filter(|len| *len > 0)?;
    let (wanted, rest) = rest.split_at_checked(SHA256_OUTPUT_LEN)?;
    let (record, rest) = rest.split_at_checked(len)?;
    (digest(&SHA256, record).as_ref() == wanted).then_some((record, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const CAPACITY: usize = 256 * 1024;

    #[test]
    fn records_come_back_until_they_are_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(!has_records(&path).unwrap(), "there is none");
        let (mut file, records) = JournalFile::open(&path, CAPACITY).unwrap();
        assert!(records.is_empty() && !has_records(&path).unwrap());
        file.append(b"one").unwrap();
        assert!(has_records(&path).unwrap());
        file.append(b"two").unwrap();
        assert!(JournalFile::open(&path, CAPACITY).is_err(), "only one may have it open");
        drop(file);
        let (mut file, records) = JournalFile::open(&path, CAPACITY).unwrap();
        assert_eq!(records, [b"one", b"two"]);
        file.clear().unwrap();
        assert!(!has_records(&path).unwrap());
        file.append(b"three").unwrap();
        drop(file);
        assert_eq!(JournalFile::open(&path, CAPACITY).unwrap().1, [b"three"]);
    }

    /// A journal with these records, closed; its path and its bytes.
    fn written(dir: &Path, records: &[&[u8]]) -> (PathBuf, Vec<u8>) {
        let path = dir.join("journal");
        let (mut file, _) = JournalFile::open(&path, CAPACITY).unwrap();
        for record in records {
            file.append(record).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn what_a_crash_left_half_written_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (path, good) = written(dir.path(), &[b"whole", b"half written"]);
        let second = HEAD + b"whole".len();
        let end = second + HEAD + b"half written".len();
        for at in second..end {
            let (mut torn, mut flipped) = (good.clone(), good.clone());
            torn[at..end].fill(0);
            flipped[at] ^= 1;
            for bytes in [torn, flipped] {
                std::fs::write(&path, &bytes).unwrap();
                let (mut file, records) = JournalFile::open(&path, CAPACITY).unwrap();
                assert_eq!(records, [b"whole"], "byte {at}");
                file.append(b"more").unwrap();
                drop(file);
                assert_eq!(
                    JournalFile::open(&path, CAPACITY).unwrap().1,
                    [b"whole".as_slice(), b"more"],
                    "byte {at}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_read_before_a_good_record_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let (path, good) = written(dir.path(), &[b"first", b"second", b"third"]);
        let (first, second) = (HEAD + b"first".len(), HEAD + b"second".len());
        let mut bad: Vec<Vec<u8>> = (0..first + second)
            .map(|at| {
                let mut bytes = good.clone();
                bytes[at] ^= 1;
                bytes
            })
            .collect();
        // A sector that reads as zeros, and a length that is none.
        for at in [0..first, first..first + second, 0..4, first..first + 4] {
            let mut bytes = good.clone();
            bytes[at].fill(0);
            bad.push(bytes);
        }
        bad.push(good[..first + second].to_vec());
        for (row, bytes) in bad.iter().enumerate() {
            std::fs::write(&path, bytes).unwrap();
            let error =
                JournalFile::open(&path, CAPACITY).err().unwrap_or_else(|| panic!("row {row} was opened"));
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "row {row}: {error}");
            assert!(std::fs::read(&path).unwrap() == *bytes, "row {row}: the file was changed");
        }
    }

    #[test]
    fn a_clear_that_a_crash_cuts_short_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let (path, good) = written(dir.path(), &[b"first", b"second", b"third"]);
        let first = HEAD + b"first".len();
        for wiped in [0..0, HEAD..first, first..first + 7, HEAD..CAPACITY] {
            let mut bytes = good.clone();
            bytes[..HEAD].copy_from_slice(&CLEARED);
            bytes[wiped.clone()].fill(0);
            std::fs::write(&path, &bytes).unwrap();
            let (mut file, records) = JournalFile::open(&path, CAPACITY).unwrap();
            assert!(records.is_empty(), "{wiped:?}");
            file.append(b"new").unwrap();
            drop(file);
            assert_eq!(JournalFile::open(&path, CAPACITY).unwrap().1, [b"new"], "{wiped:?}");
        }
    }

    #[test]
    fn nothing_is_written_behind_what_could_not_be_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let (path, good) = written(dir.path(), &[b"first", b"second"]);
        let read_only = File::open(&path).unwrap();
        let mut file = JournalFile { file: read_only, capacity: CAPACITY, end: 2 * HEAD + 11, stale: false };
        assert!(file.clear().is_err());
        assert!(file.append(b"third").is_err());
        assert!(std::fs::read(&path).unwrap() == good);
        file.file = OpenOptions::new().write(true).open(&path).unwrap();
        file.append(b"third").unwrap();
        drop(file);
        assert_eq!(JournalFile::open(&path, CAPACITY).unwrap().1, [b"third"]);
    }

    #[test]
    fn it_takes_its_room_beforehand_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut file, _) = JournalFile::open(&path, CAPACITY).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), CAPACITY as u64);
        while file.append(&[7; 900]).is_ok() {}
        file.append(b"small").unwrap();
        drop(file);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), CAPACITY as u64);
        assert_eq!(JournalFile::open(&path, CAPACITY).unwrap().1.len(), CAPACITY / (900 + HEAD) + 1);
    }
}
