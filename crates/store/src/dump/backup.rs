//! The file of a backup.
//!
//! Magic, version, then records, each its length and its postcard: first the [`Head`], then rows, then one of length 0;
//! then the SHA-256 of all before. A file is read to its end and compared before its first row is given, and compared again
//! while they are. It has its name only once it is whole and on the disk.

use super::{Counts, DumpError, Row, Sink, Source};
use crate::tables::Table;
use async_trait::async_trait;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use taskpass_types::Timestamp;

const MAGIC: &[u8; 15] = b"taskpass backup";
const VERSION: u8 = 1;
/// No row is longer: all policies that are kept are 64 MiB.
const LONGEST: usize = 128 << 20;
/// How many rows are given at once.
const SLICE: usize = 512;
const DIGEST: usize = SHA256_OUTPUT_LEN;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// When it was begun.
    pub at: Timestamp,
    /// Of which store, for people.
    pub of: String,
}

/// A row as it is in the file.
#[derive(Serialize, Deserialize)]
struct Record<'a>(&'a str, &'a [u8], &'a [u8]);

/// A backup that is written.
pub struct BackupWriter {
    file: BufWriter<File>,
    digest: Context,
    draft: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl BackupWriter {
    /// Begins one at `path`, where there is nothing yet; mode 0600.
    ///
    /// # Errors
    /// [`DumpError`] when there is something, or the file cannot be made.
    pub fn create(path: &Path, head: &Head) -> Result<Self, DumpError> {
        if path.try_exists()? {
            return Err(DumpError::NotEmpty(format!("there is a file `{}`", path.display())));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".draft-{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let (file, digest) = (BufWriter::new(file), Context::new(&SHA256));
        let mut writer = Self { file, digest, draft, path: path.to_owned(), finished: false };
        writer.write(MAGIC)?;
        writer.write(&[VERSION])?;
        writer.record(head)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)
    }

    fn record(&mut self, record: &impl Serialize) -> io::Result<()> {
        let bytes = postcard::to_stdvec(record).map_err(io::Error::other)?;
        if bytes.len() > LONGEST {
            return Err(io::Error::other("a row is too long for a backup"));
        }
        self.write(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes())?;
        self.write(&bytes)
    }
}

#[async_trait]
impl Sink for BackupWriter {
    async fn put(&mut self, rows: &[Row]) -> Result<(), DumpError> {
        for row in rows {
            self.record(&Record(row.table.name(), &row.key, &row.value))?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), DumpError> {
        self.write(&0_u32.to_le_bytes())?;
        let digest = self.digest.clone().finish();
        self.file.write_all(digest.as_ref())?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.draft, &self.path)?;
        self.finished = true;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

impl Drop for BackupWriter {
    fn drop(&mut self) {
        if !self.finished {
            // A draft that stays is no harm: it has another name.
            drop(fs::remove_file(&self.draft));
        }
    }
}

/// A whole backup.
pub struct Backup {
    head: Head,
    counts: Counts,
    digest: [u8; DIGEST],
    rows: Records,
}

impl Backup {
    /// Reads the file to its end.
    ///
    /// # Errors
    /// [`DumpError`] unless it is whole and as it was written.
    pub fn open(path: &Path) -> Result<Self, DumpError> {
        let (head, mut records) = Records::begin(File::open(path)?)?;
        let mut counts = Counts::new();
        while let Some(row) = records.row()? {
            *counts.entry(row.table).or_default() += 1;
        }
        let digest = records.end()?;
        let mut file = records.file.into_inner();
        file.rewind()?;
        let (_, rows) = Records::begin(file)?;
        Ok(Self { head, counts, digest, rows })
    }

    /// What it says of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What is in it.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A name that no other backup has.
    pub fn id(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[async_trait]
impl Source for Backup {
    async fn next(&mut self) -> Result<Option<Vec<Row>>, DumpError> {
        if self.rows.ended {
            return Ok(None);
        }
        let mut rows = Vec::new();
        while rows.len() < SLICE {
            match self.rows.row()? {
                Some(row) => rows.push(row),
                None if self.rows.end()? == self.digest => break,
                None => return Err(DumpError::Damaged("it was changed while it was read".to_owned())),
            }
        }
        Ok(Some(rows))
    }
}

/// The records of a file, one by one.
struct Records {
    file: BufReader<File>,
    digest: Context,
    ended: bool,
}

impl Records {
    fn begin(file: File) -> Result<(Head, Self), DumpError> {
        let mut records = Self {
            file: BufReader::with_capacity(1 << 16, file),
            digest: Context::new(&SHA256),
            ended: false,
        };
        let mut magic = [0; MAGIC.len()];
        match records.file.read_exact(&mut magic) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            Ok(()) if magic == *MAGIC => records.digest.update(&magic),
            _ => return Err(DumpError::Foreign),
        }
        let [found] = records.bytes()?;
        if found != VERSION {
            return Err(DumpError::Version { found, supported: VERSION });
        }
        let head = records.record()?.ok_or_else(|| damaged("it has no head"))?;
        let head = postcard::from_bytes(&head).map_err(|error| damaged(&format!("its head: {error}")))?;
        Ok((head, records))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DumpError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), DumpError> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it is cut short"),
            _ => error.into(),
        })
    }

    /// `None` behind the last.
    fn record(&mut self) -> Result<Option<Vec<u8>>, DumpError> {
        let len = u32::from_le_bytes(self.bytes()?);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        match len {
            0 => return Ok(None),
            1..=LONGEST => {}
            _ => return Err(damaged("a row in it is longer than any")),
        }
        // Grows with what is there, whatever the length promises.
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(len as u64).read_to_end(&mut bytes)?;
        if read < len {
            return Err(damaged("it is cut short"));
        }
        self.digest.update(&bytes);
        Ok(Some(bytes))
    }

    fn row(&mut self) -> Result<Option<Row>, DumpError> {
        let Some(bytes) = self.record()? else { return Ok(None) };
        let unreadable = |error| damaged(&format!("a row in it cannot be read: {error}"));
        let Record(name, key, value) = postcard::from_bytes(&bytes).map_err(unreadable)?;
        let table = Table::ALL.into_iter().find(|table| table.name() == name);
        let table = table.ok_or_else(|| damaged("it has a table that this version does not know"))?;
        Ok(Some(Row { table, key: key.to_vec(), value: value.to_vec() }))
    }

    /// Compares the digest, and that nothing is behind it.
    fn end(&mut self) -> Result<[u8; DIGEST], DumpError> {
        let mut digest = [0; DIGEST];
        self.fill(&mut digest)?;
        let found = self.digest.clone().finish();
        if found.as_ref() != digest {
            return Err(damaged("it is not as it was written"));
        }
        if self.file.read(&mut [0])? != 0 {
            return Err(damaged("there is something behind its end"));
        }
        self.ended = true;
        Ok(digest)
    }
}

fn damaged(how: &str) -> DumpError {
    DumpError::Damaged(how.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::copy, *};
    use std::os::unix::fs::PermissionsExt as _;

    #[derive(Default)]
    struct List(Vec<Row>, bool);

    #[async_trait]
    impl Sink for List {
        async fn put(&mut self, rows: &[Row]) -> Result<(), DumpError> {
            self.0.extend_from_slice(rows);
            Ok(())
        }
        async fn finish(&mut self) -> Result<(), DumpError> {
            self.1 = true;
            Ok(())
        }
    }

    #[async_trait]
    impl Source for List {
        async fn next(&mut self) -> Result<Option<Vec<Row>>, DumpError> {
            let rows = std::mem::take(&mut self.0);
            Ok((!rows.is_empty()).then_some(rows))
        }
    }

    fn row(table: Table, key: &[u8], value: &[u8]) -> Row {
        Row { table, key: key.to_vec(), value: value.to_vec() }
    }

    fn rows() -> Vec<Row> {
        let many = (0..1500_u32).map(|number| row(Table::Leases, &number.to_be_bytes(), b"a lease"));
        many.chain([row(Table::Below, b"entry", b""), row(Table::Meta, b"policy", &[0xff; 4096])]).collect()
    }

    async fn write(path: &Path) -> Result<Counts, DumpError> {
        let head = Head { at: Timestamp::from_secs(9), of: "a test".to_owned() };
        let mut source = List(rows(), false);
        source.0.push(row(Table::Meta, crate::record::HISTORY_KEY, b"a life"));
        copy(&mut source, &mut BackupWriter::create(path, &head)?).await
    }

    #[tokio::test]
    async fn rows_come_back_as_they_were_without_the_history() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let counts = write(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        let mut backup = Backup::open(&path).unwrap();
        assert_eq!((backup.head().at, backup.counts()), (Timestamp::from_secs(9), &counts));
        assert_eq!((counts[&Table::Leases], counts[&Table::Meta]), (1500, 1));
        let mut list = List::default();
        copy(&mut backup, &mut list).await.unwrap();
        assert!(list.0 == rows() && list.1);
        assert!(matches!(write(&path).await, Err(DumpError::NotEmpty(_))), "nothing is written over");
    }

    #[tokio::test]
    async fn whatever_is_not_as_it_was_written_is_refused_before_its_first_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        write(&path).await.unwrap();
        let good = fs::read(&path).unwrap();
        let open = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Backup::open(&path).err()
        };
        assert!(open(&good).is_none());
        for len in [0, 3, 15, 16, 20, 40, 2000, good.len() - 33, good.len() - 32, good.len() - 1] {
            let error = open(&good[..len]).unwrap();
            let expected =
                matches!(error, DumpError::Damaged(_)) || (len < 15 && matches!(error, DumpError::Foreign));
            assert!(expected, "{len}: {error}");
        }
        assert!(matches!(open(&[&good[..], b"x"].concat()), Some(DumpError::Damaged(_))));
        for at in (16..good.len()).step_by(977) {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(matches!(open(&changed), Some(DumpError::Damaged(_))), "{at}");
        }
        let mut long = good.clone();
        long[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(open(&long), Some(DumpError::Damaged(_))));
        for version in [0, 2, 255] {
            let mut other = good.clone();
            other[15] = version;
            assert!(matches!(open(&other), Some(DumpError::Version { found, .. }) if found == version));
        }
        assert!(matches!(open(b"SQLite format 3\0 and more"), Some(DumpError::Foreign)));
    }

    #[tokio::test]
    async fn one_that_is_not_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let head = Head { at: Timestamp::from_secs(9), of: String::new() };
        let mut writer = BackupWriter::create(&dir.path().join("backup"), &head).unwrap();
        writer.put(&rows()).await.unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
