//! The files: `audit.log`, the entries; `HEAD`, how far they were durable; `lock`, which one writer holds.
//!
//! `HEAD` has a fixed width, is overwritten in place after each sync of the log and is not synced itself: after a power
//! cut it may name an older entry, never one that is not durable. So whatever it names must be there.

use crate::{AuditError, LeafHash, MAX_ENTRY_BYTES};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The entries, one a line.
pub const LOG_FILE: &str = "audit.log";
/// How far they were durable: number, bytes and hash of the last entry, at fixed width.
pub const HEAD_FILE: &str = "HEAD";
/// Held while a process writes the log.
pub const LOCK_FILE: &str = "lock";

/// What the log needs of a disk; an own trait so that tests can let it fail.
pub trait LogFile: Send {
    /// Appends some of `bytes` and returns how many.
    ///
    /// # Errors
    /// What the system says; nothing is known then about what was appended.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the system says, or that the file is no longer the one at its path. Nothing written since the last sync may
    /// be relied on then, not even after another sync.
    fn sync(&mut self) -> io::Result<()>;

    /// Notes that everything up to `head` is durable.
    ///
    /// # Errors
    /// What the system says.
    fn save_head(&mut self, head: Head) -> io::Result<()>;

    /// After a failure: opens the file anew, checks that its entry at `head` is the one that was durable, and cuts off
    /// what is behind it.
    ///
    /// # Errors
    /// What the system says, or that the log was changed.
    fn restore(&mut self, head: Head) -> io::Result<()>;
}

/// How far the log is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub(crate) seq: u64,
    pub(crate) length: u64,
    pub(crate) hash: LeafHash,
}

impl Head {
    pub(crate) const GENESIS: Self = Self { seq: 0, length: 0, hash: LeafHash::GENESIS };
    const WIDTH: usize = 20 + 1 + 20 + 1 + 64 + 1;

    fn to_text(self) -> String {
        format!("{:020} {:020} {}\n", self.seq, self.length, self.hash)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == Self::WIDTH)?;
        let mut words = text.strip_suffix('\n')?.split(' ');
        let mut next = || words.next();
        let head =
            Self { seq: next()?.parse().ok()?, length: next()?.parse().ok()?, hash: next()?.parse().ok()? };
        (head.to_text() == text).then_some(head)
    }

    /// Reads `HEAD` from a directory; `None` when there is none yet.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, AuditError> {
        let path = dir.join(HEAD_FILE);
        // A broker may be writing it: take a text that was there twice.
        let mut last = None;
        for _ in 0..8 {
            match fs::read(&path) {
                Ok(text) if last.as_ref() == Some(&text) => break,
                Ok(text) => last = Some(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(AuditError::io("read", path)(error)),
            }
        }
        match last.as_deref() {
            // Made but not yet written: so far nothing was written to the log either.
            Some([]) => Ok(None),
            Some(text) if let Some(head) = Self::parse(text) => Ok(Some(head)),
            _ => Err(AuditError::Head { head: path, what: "malformed" }),
        }
    }
}

/// The line that ends at byte `end`, without its newline; `None` when there is none or it is too long.
pub(crate) fn line_before(log: &File, end: u64) -> io::Result<Option<Vec<u8>>> {
    let window = usize::try_from(end).unwrap_or(usize::MAX).min(MAX_ENTRY_BYTES + 1);
    let mut bytes = vec![0; window];
    log.read_exact_at(&mut bytes, end - u64::try_from(window).unwrap_or(end))?;
    if bytes.pop() != Some(b'\n') {
        return Ok(None);
    }
    let start = bytes.iter().rposition(|b| *b == b'\n').map(|at| at + 1);
    match start {
        Some(start) => Ok(Some(bytes.split_off(start))),
        None => Ok((u64::try_from(bytes.len()).is_ok_and(|length| length + 1 == end)).then_some(bytes)),
    }
}

/// The files on a real disk.
pub(crate) struct DiskFile {
    path: PathBuf,
    log: File,
    length: u64,
    head: File,
    _lock: File,
}

impl DiskFile {
    pub(crate) fn new(dir: &Path, lock: File) -> Result<Self, AuditError> {
        let path = dir.join(LOG_FILE);
        let head = dir.join(HEAD_FILE);
        let log = open(&path).map_err(AuditError::io("open", &path))?;
        let length = log.metadata().map_err(AuditError::io("look at", &path))?.len();
        let head = open_options().open(&head).map_err(AuditError::io("open", &head))?;
        Ok(Self { path, log, length, head, _lock: lock })
    }

    pub(crate) fn log(&self) -> &File {
        &self.log
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Makes the log up to `head`, `HEAD` itself and the directory durable, and cuts what is behind.
    pub(crate) fn settle(&mut self, head: Head) -> io::Result<()> {
        self.log.set_len(head.length)?;
        self.length = head.length;
        self.log.sync_all()?;
        self.save_head(head)?;
        self.head.sync_all()?;
        self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }
}

/// How the files of the log are opened: only their owner may read them.
pub(crate) fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

fn open(path: &Path) -> io::Result<File> {
    open_options().append(true).open(path)
}

impl LogFile for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.log.write(bytes)?;
        self.length += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync_data()?;
        let (there, ours) = (fs::metadata(&self.path)?, self.log.metadata()?);
        if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) {
            return Err(io::Error::other("the log was moved or replaced while it was being written"));
        }
        if ours.len() != self.length {
            return Err(io::Error::other("somebody else wrote to the log or cut it"));
        }
        Ok(())
    }

    fn save_head(&mut self, head: Head) -> io::Result<()> {
        self.head.write_all_at(head.to_text().as_bytes(), 0)
    }

    fn restore(&mut self, head: Head) -> io::Result<()> {
        let log = OpenOptions::new().read(true).append(true).open(&self.path)?;
        if head.seq > 0 {
            let last = line_before(&log, head.length)?;
            if last.is_none_or(|line| LeafHash::of(&line) != head.hash) {
                return Err(io::Error::other("the last durable entry of the log was changed"));
            }
        }
        self.log = log;
        self.settle(head)
    }
}
