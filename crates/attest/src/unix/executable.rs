//! The file that a process executes: its path as the broker sees it, and its digest.

use super::process::Process;
use crate::digest;
use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use std::{
    collections::HashMap,
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
};

/// The largest file that is hashed.
const MAX_BYTES: u64 = 512 << 20;
/// How many digests are kept; when full, all are forgotten.
const MAX_CACHED: usize = 1024;
/// What the kernel appends to the name of a file that has no name any more.
const DELETED: &str = " (deleted)";

/// What can be said about the program of a process.
pub(super) struct Executable {
    /// Its path; `None` when that path, looked up by the broker, is another file: the process lives in another mount
    /// namespace, where anybody can call any file `/usr/bin/python3`.
    pub(super) path: Option<String>,
    /// 64 hexadecimal digits.
    pub(super) sha256: String,
}

/// Why nothing can be said about the program.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExecutableError {
    /// It was replaced or deleted while it ran.
    #[error("its executable was deleted or replaced")]
    Deleted,
    /// The broker lacks the right to look (ptrace access, proc(5)).
    #[error("the broker may not read its executable")]
    Forbidden(#[source] io::Error),
    /// The process has ended.
    #[error("it has ended")]
    Gone(#[source] io::Error),
    /// Above [`MAX_BYTES`].
    #[error("its executable has more than 512 MiB")]
    TooLarge,
    /// Something else.
    #[error("its executable cannot be read")]
    Unreadable(#[source] io::Error),
}

impl From<io::Error> for ExecutableError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Self::Forbidden(error),
            Some(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH) => Self::Gone(error),
            _ => Self::Unreadable(error),
        }
    }
}

/// One version of one file: it cannot be written to without another `changed`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
}

impl From<&Metadata> for Version {
    fn from(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            size: file.size(),
        }
    }
}

/// Digests of the executables seen so far.
#[derive(Default)]
pub(super) struct Executables(Mutex<HashMap<Version, String>>);

impl Executables {
    /// Looks at the program of a process. Blocks: reads the whole file when it is new.
    pub(super) fn inspect(&self, process: &Process) -> Result<Executable, ExecutableError> {
        let file = process.executable()?;
        let metadata = file.metadata()?;
        let name = process.executable_name()?.into_string().ok();
        if metadata.nlink() == 0 || name.as_ref().is_some_and(|name| name.ends_with(DELETED)) {
            return Err(ExecutableError::Deleted);
        }
        let path = name.filter(|name| names(name, &metadata));
        Ok(Executable { path, sha256: self.digest(file, &metadata)? })
    }

    fn digest(&self, file: File, metadata: &Metadata) -> Result<String, ExecutableError> {
        let version = Version::from(metadata);
        if let Some(digest) = self.0.lock().get(&version) {
            return Ok(digest.clone());
        }
        let digest = hash(file, version)?;
        let mut cache = self.0.lock();
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(version, digest.clone());
        Ok(digest)
    }
}

/// Whether `path`, followed from here, is this very file.
fn names(path: &str, file: &Metadata) -> bool {
    std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
}

fn hash(mut file: File, version: Version) -> Result<String, ExecutableError> {
    if version.size > MAX_BYTES {
        return Err(ExecutableError::TooLarge);
    }
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0_u64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        total = total.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if total > MAX_BYTES {
            return Err(ExecutableError::TooLarge);
        }
        context.update(buffer.get(..read).unwrap_or_default());
    }
    if Version::from(&file.metadata()?) != version {
        return Err(ExecutableError::Deleted);
    }
    Ok(digest::hex(&context.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// What a process in a mount namespace of its own can do: call its file as it likes.
    #[test]
    fn a_path_counts_only_if_it_leads_to_the_same_file_from_here() {
        let (own, other) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let metadata = own.as_file().metadata().unwrap();
        assert!(names(own.path().to_str().unwrap(), &metadata));
        assert!(!names(other.path().to_str().unwrap(), &metadata));
        assert!(!names("/does/not/exist", &metadata));
    }

    #[test]
    fn a_digest_is_remembered_per_version_of_a_file() {
        let executables = Executables::default();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let digest = |file: &tempfile::NamedTempFile| {
            let opened = File::open(file.path()).unwrap();
            let metadata = opened.metadata().unwrap();
            executables.digest(opened, &metadata).unwrap()
        };
        let empty = digest(&file);
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest(&file), empty);
        file.write_all(b"abc").unwrap();
        assert_eq!(digest(&file), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(executables.0.lock().len(), 2);
    }
}
