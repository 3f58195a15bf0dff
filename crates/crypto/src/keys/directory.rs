//! The key directory: private files, written whole or not at all, and durable before anybody relies on them.

use super::{KeyError, SealKey};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use taskpass_types::KeyGeneration;
use zeroize::Zeroizing;

const LOCK: &str = "lock";
const PREFIX: &str = "generation-";
const SUFFIX: &str = ".key";
const UNFINISHED: &str = ".unfinished";
/// A key file has less than 2 KiB.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;
/// Others may not read, write or enter.
const OTHERS: u32 = 0o077;

fn failed<'a>(action: &'static str, file: &'a Path) -> impl FnOnce(io::Error) -> KeyError + 'a {
    move |source| KeyError::Io { action, file: file.to_owned(), source }
}

fn check_mode(path: &Path, metadata: &fs::Metadata, forbidden: u32) -> Result<(), KeyError> {
    let mode = metadata.mode() & 0o777;
    if mode & forbidden == 0 {
        Ok(())
    } else {
        Err(KeyError::PermissionsTooOpen { file: path.to_owned(), mode })
    }
}

/// Reads a file that only its owner may read, at most `max` bytes.
pub(super) fn read_private(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    read(path, max, OTHERS)
}

/// Reads a credential that systemd handed over. A unit with `User=` gets it with mode 0440 and an access list for that
/// user, in a directory that nobody else can enter; so the group may read it, the world may not.
pub(super) fn read_credential(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    read(path, max, OTHERS & !0o040)
}

fn read(path: &Path, max: u64, forbidden: u32) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let metadata = file.metadata().map_err(failed("look at", path))?;
    if !metadata.is_file() {
        return Err(KeyError::Damaged { file: path.to_owned(), why: "it is no regular file" });
    }
    check_mode(path, &metadata, forbidden)?;
    let mut content =
        Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len().min(max)).unwrap_or(0)));
    file.take(max.saturating_add(1)).read_to_end(&mut content).map_err(failed("read", path))?;
    if u64::try_from(content.len()).is_ok_and(|len| len > max) {
        return Err(KeyError::Damaged { file: path.to_owned(), why: "it is too long" });
    }
    Ok(content)
}

/// Writes a new file that only its owner may read; durable when this returns. Fails if there is one.
pub(super) fn create_private(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("create", path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed("write", path))?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

fn sync_dir(dir: &Path) -> Result<(), KeyError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

/// The directory, locked for as long as this lives: two writers would both make the next generation.
pub(super) struct KeyDirectory {
    path: PathBuf,
    seal: SealKey,
    _lock: File,
}

impl KeyDirectory {
    /// Opens the directory, making it if there is none, and clears away what a crash left unfinished.
    pub(super) fn open(path: &Path, seal: &SealKey) -> Result<Self, KeyError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        check_mode(path, &fs::metadata(path).map_err(failed("look at", path))?, OTHERS)?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(source) => KeyError::Io { action: "lock", file: lock_path, source },
            TryLockError::WouldBlock => KeyError::InUse { dir: path.to_owned() },
        })?;
        let directory = Self { path: path.to_owned(), seal: seal.clone(), _lock: lock };
        for name in directory.names()?.iter().filter(|name| name.ends_with(UNFINISHED)) {
            let unfinished = directory.path.join(name);
            fs::remove_file(&unfinished).map_err(failed("remove", &unfinished))?;
        }
        Ok(directory)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Result<Vec<String>, KeyError> {
        fs::read_dir(&self.path)
            .map_err(failed("list", &self.path))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .map_err(failed("list", &self.path))
    }

    fn name(generation: KeyGeneration) -> String {
        format!("{PREFIX}{:010}{SUFFIX}", generation.0)
    }

    /// Where a generation is or will be.
    pub(super) fn file(&self, generation: KeyGeneration) -> PathBuf {
        self.path.join(Self::name(generation))
    }

    /// The generations that have a file, oldest first.
    pub(super) fn generations(&self) -> Result<Vec<KeyGeneration>, KeyError> {
        let number = |name: &String| -> Option<KeyGeneration> {
            let generation = KeyGeneration(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?);
            (Self::name(generation) == *name).then_some(generation)
        };
        let mut generations: Vec<_> = self.names()?.iter().filter_map(number).collect();
        generations.sort_unstable();
        Ok(generations)
    }

    /// Reads and opens a generation's file.
    pub(super) fn read(&self, generation: KeyGeneration) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let file = self.file(generation);
        self.seal.open(&file, &read_private(&file, MAX_KEY_FILE_BYTES)?)
    }

    /// Seals and writes a generation's file; the old one or the new one is there at any time, and the new one is
    /// durable when this returns.
    pub(super) fn write(&self, generation: KeyGeneration, plain: &[u8]) -> Result<(), KeyError> {
        let name = Self::name(generation);
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        create_private(&unfinished, &self.seal.seal(&name, plain)?)?;
        let file = self.file(generation);
        fs::rename(&unfinished, &file).map_err(failed("rename", &unfinished))?;
        sync_dir(&self.path)
    }

    /// Reads a generation's file as it is, sealed.
    pub(super) fn read_sealed(&self, generation: KeyGeneration) -> Result<Vec<u8>, KeyError> {
        read_private(&self.file(generation), MAX_KEY_FILE_BYTES).map(|sealed| sealed.to_vec())
    }

    /// Opens what was sealed for a generation's file elsewhere, under the same seal key.
    pub(super) fn open_sealed(
        &self,
        generation: KeyGeneration,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.seal.open(&self.file(generation), sealed)
    }

    /// Removes a generation's file.
    pub(super) fn remove(&self, generation: KeyGeneration) -> Result<(), KeyError> {
        let file = self.file(generation);
        fs::remove_file(&file).map_err(failed("remove", &file))?;
        sync_dir(&self.path)
    }
}
