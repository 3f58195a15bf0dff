//! A file whose blocks were taken beforehand, so that writing into it needs no space on the disk.
//!
//! It holds records one after the other, each its length, its SHA-256 and its bytes, and ends with a length of zero. A
//! record counts once it is synced; what a crash left half written does not match its digest and is the end.

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

/// How much room there is; about a thousand ends.
pub(super) const CAPACITY: usize = 256 * 1024;
const HEAD: usize = 4 + SHA256_OUTPUT_LEN;

/// The file and where the next record goes.
pub(super) struct JournalFile {
    file: File,
    end: usize,
}

impl JournalFile {
    /// Opens it, or makes it at its full size; gives the records in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.try_lock().map_err(|error| io::Error::other(format!("somebody else has it open: {error}")))?;
        let mut content = Vec::new();
        (&mut file).take(CAPACITY as u64).read_to_end(&mut content)?;
        if content.len() < CAPACITY {
            // New, or cut short: write it through to the end, so that all its blocks are there.
            content.resize(CAPACITY, 0);
            file.write_all_at(&content, 0)?;
            file.sync_all()?;
            if let Some(dir) = path.parent() {
                File::open(dir)?.sync_all()?;
            }
        }
        let records = parse(&content);
        let end: usize = records.iter().map(|record| HEAD + record.len()).sum();
        if content.get(end..end + 4).is_some_and(|length| length != [0; 4]) {
            // A crash before the sync leaves this behind, and nobody was answered then; so would damage.
            tracing::warn!(journal = %path.display(), at = end, "a record cannot be read and is taken for unfinished");
        }
        Ok((Self { file, end }, records))
    }

    /// Appends a record; durable when it returns.
    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let next = self.end + HEAD + record.len();
        // The zero length behind it must fit too.
        if next + 4 > CAPACITY {
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
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.write_all_at(&[0; HEAD], 0)?;
        self.file.sync_data()?;
        self.end = 0;
        Ok(())
    }
}

fn parse(mut content: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((record, rest)) = split(content) {
        records.push(record.to_vec());
        content = rest;
    }
    records
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

    #[test]
    fn records_come_back_until_they_are_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut file, records) = JournalFile::open(&path).unwrap();
        assert!(records.is_empty());
        file.append(b"one").unwrap();
        file.append(b"two").unwrap();
        assert!(JournalFile::open(&path).is_err(), "only one may have it open");
        drop(file);
        let (mut file, records) = JournalFile::open(&path).unwrap();
        assert_eq!(records, [b"one", b"two"]);
        file.clear().unwrap();
        file.append(b"three").unwrap();
        drop(file);
        assert_eq!(JournalFile::open(&path).unwrap().1, [b"three"]);
    }

    #[test]
    fn what_a_crash_left_half_written_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut file, _) = JournalFile::open(&path).unwrap();
        file.append(b"whole").unwrap();
        file.append(b"half written").unwrap();
        drop(file);
        let good = std::fs::read(&path).unwrap();
        let second = HEAD + b"whole".len();
        for at in second..second + HEAD + b"half written".len() {
            let mut torn = good.clone();
            torn[at] ^= 1;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(JournalFile::open(&path).unwrap().1, [b"whole"], "byte {at}");
        }
    }

    #[test]
    fn it_takes_its_room_beforehand_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut file, _) = JournalFile::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), CAPACITY as u64);
        while file.append(&[7; 900]).is_ok() {}
        file.append(b"small").unwrap();
        drop(file);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), CAPACITY as u64);
        assert_eq!(JournalFile::open(&path).unwrap().1.len(), CAPACITY / (900 + HEAD) + 1);
    }
}
