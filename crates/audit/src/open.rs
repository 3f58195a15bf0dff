//! Opening a log: what was durable must be there unchanged; what a crash left half-written is cut off.

use crate::{
    AuditError, Fault,
    chain::Chain,
    file::{DiskFile, HEAD_FILE, Head, LOCK_FILE, LOG_FILE, line_before, open_options},
    hash::sha256,
    verify::Lines,
};
use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, BufReader, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// A log that is ready to be continued.
pub(crate) struct Opened {
    pub(crate) file: DiskFile,
    pub(crate) chain: Chain,
    pub(crate) torn: Option<Torn>,
}

/// What a crash left behind the last whole entry.
pub(crate) struct Torn {
    pub(crate) bytes: u64,
    pub(crate) digest: [u8; 32],
}

pub(crate) fn open(dir: &Path) -> Result<Opened, AuditError> {
    prepare(dir)?;
    let lock = lock(dir)?;
    let head = load_head(dir)?;
    let mut file = DiskFile::new(dir, lock)?;
    let chain = check_head(dir, &file, head)?;
    let (chain, length, torn) = follow(dir, &file, chain, head.length)?;
    let head = Head { seq: chain.seq, length, hash: chain.hash };
    file.settle(head).map_err(AuditError::io("write", dir))?;
    Ok(Opened { file, chain, torn })
}

fn prepare(dir: &Path) -> Result<(), AuditError> {
    let io = |what| AuditError::io(what, dir);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("create"))?;
    let mode = fs::metadata(dir).map_err(io("look at"))?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(AuditError::Open(dir.to_owned()));
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, AuditError> {
    let path = dir.join(LOCK_FILE);
    let lock = open_options().open(&path).map_err(AuditError::io("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(AuditError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(AuditError::io("lock", path)(error)),
    }
}

/// `HEAD` is durable before the first entry is written, so that a log without one is never a young log.
fn load_head(dir: &Path) -> Result<Head, AuditError> {
    if let Some(head) = Head::load(dir)? {
        return Ok(head);
    }
    let log = dir.join(LOG_FILE);
    match fs::metadata(&log) {
        Ok(metadata) if metadata.size() > 0 => {
            Err(AuditError::Head { head: dir.join(HEAD_FILE), what: "missing" })
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(AuditError::io("look at", log)(error)),
        _ => Ok(Head::GENESIS),
    }
}

/// The chain at the entry that `HEAD` names.
fn check_head(dir: &Path, file: &DiskFile, head: Head) -> Result<Chain, AuditError> {
    let log = dir.join(LOG_FILE);
    if file.length() < head.length {
        return Err(AuditError::Cut { log, length: file.length(), expected: head.length });
    }
    if head.seq == 0 {
        return Ok(Chain::new());
    }
    let changed = |fault| AuditError::Changed { log: log.clone(), seq: head.seq, fault };
    let line = line_before(file.log(), head.length)
        .map_err(AuditError::io("read", &log))?
        .ok_or_else(|| changed(Fault::Unended))?;
    let chain = Chain::after(&line).map_err(changed)?;
    if chain.hash != head.hash {
        return Err(changed(Fault::Hash { place: "`HEAD`", expected: head.hash, found: chain.hash }));
    }
    if chain.seq != head.seq {
        return Err(changed(Fault::Seq { found: chain.seq }));
    }
    Ok(chain)
}

/// Follows the chain behind `HEAD` to its end: the last good entry and what is torn behind it.
fn follow(
    dir: &Path,
    file: &DiskFile,
    mut chain: Chain,
    from: u64,
) -> Result<(Chain, u64, Option<Torn>), AuditError> {
    let path = dir.join(LOG_FILE);
    let io = |error| AuditError::io("read", &path)(error);
    let mut log = file.log().try_clone().map_err(io)?;
    log.seek(SeekFrom::Start(from)).map_err(io)?;
    let mut lines = Lines::new(BufReader::new(log));
    let mut end = from;
    while let Some(line) = lines.next().map_err(io)? {
        let Some(entry) = line.strip_suffix(b"\n").filter(|entry| !entry.contains(&0)) else {
            // What a crash left of a write: an end cut short, or zeros where a block never reached the disk.
            let torn = Torn { bytes: file.length() - end, digest: sha256(line) };
            return Ok((chain, end, Some(torn)));
        };
        let seq = chain.seq.saturating_add(1);
        chain.accept(entry).map_err(|fault| AuditError::Changed { log: path.clone(), seq, fault })?;
        end += u64::try_from(line.len()).unwrap_or(0);
    }
    Ok((chain, end, None))
}
