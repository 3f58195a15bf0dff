//! The cache's file: a header, then frames, each with a check sum over itself and all before it.
//!
//! Invariants: what is read back is what was written, whole and in order, or nothing; the file is its owner's alone, never
//! larger than [`MAX_BYTES`], and replaced in one step or appended to. Bytes behind the recorded length were never
//! vouched for, but are read if they are sound: they can only deny more.

use super::Unusable;
use ring::digest::{self, SHA256};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A cache beyond this is neither written nor read: a million records fit.
pub(crate) const MAX_BYTES: u64 = 128 * 1024 * 1024;
/// With the version of everything behind it.
const MAGIC: &[u8; 16] = b"taskpass-denies\x01";
/// Magic, length of what was vouched for, length of the binding.
const FIXED: usize = 16 + 8 + 2;
const CHECK: usize = 16;

/// The check sum of all that was written so far.
#[derive(Clone, Copy)]
struct Chain([u8; CHECK]);

impl Chain {
    fn begin(binding: &[u8]) -> Self {
        Self([0; CHECK]).and(&[MAGIC, binding])
    }

    fn and(self, parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&SHA256);
        context.update(&self.0);
        parts.iter().for_each(|part| context.update(part));
        let mut check = [0; CHECK];
        check.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(check)
    }
}

/// What is open for appending.
struct Open {
    file: File,
    length: u64,
    chain: Chain,
}

/// The file, held against other processes.
pub(crate) struct CacheFile {
    path: PathBuf,
    binding: Vec<u8>,
    open: Option<Open>,
    _lock: File,
}

impl CacheFile {
    /// Takes the file at `path` for what `binding` names.
    ///
    /// # Errors
    /// When there is no such directory, or another process has it.
    pub(crate) fn hold(path: &Path, binding: &str) -> io::Result<Self> {
        let lock = private().truncate(false).open(path.with_added_extension("lock"))?;
        lock.try_lock()?;
        Ok(Self { path: path.to_owned(), binding: binding.as_bytes().to_vec(), open: None, _lock: lock })
    }

    /// All frames, in order; `None`: there is no file.
    pub(crate) fn read(&self) -> Result<Option<Vec<Vec<u8>>>, Unusable> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let about = file.metadata()?;
        if about.mode() & 0o077 != 0 || about.uid() != rustix::process::geteuid().as_raw() {
            return Err(Unusable::Open);
        }
        if about.len() > MAX_BYTES {
            return Err(Unusable::Damaged("it is too large"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        parse(&bytes, &self.binding).map(Some)
    }

    /// Puts a new file with these frames in the place of the old one, durably.
    pub(crate) fn replace<'a>(&mut self, frames: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        self.open = None;
        let new = self.path.with_added_extension("new");
        let mut file = BufWriter::new(private().truncate(true).open(&new)?);
        let binding_length = u16::try_from(self.binding.len()).map_err(io::Error::other)?;
        file.write_all(MAGIC)?;
        file.write_all(&[0; 8])?;
        file.write_all(&binding_length.to_le_bytes())?;
        file.write_all(&self.binding)?;
        let mut open = Open {
            length: (FIXED + self.binding.len()) as u64,
            chain: Chain::begin(&self.binding),
            file: file.get_ref().try_clone()?,
        };
        for frame in frames {
            file.write_all(&open.frame(frame)?)?;
        }
        file.flush()?;
        open.vouch()?;
        open.file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        directory(&self.path)?.sync_all()?;
        self.open = Some(open);
        Ok(())
    }

    /// Adds frames to what [`CacheFile::replace`] wrote; `durably` waits for the disk.
    pub(crate) fn append<'a>(
        &mut self,
        frames: impl IntoIterator<Item = &'a [u8]>,
        durably: bool,
    ) -> io::Result<()> {
        // Whatever fails, what is in the file by then is not known: it must be replaced.
        let mut open = self.open.take().ok_or_else(|| io::Error::other("there is nothing to append to"))?;
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend(open.frame(frame)?);
        }
        open.file.seek(SeekFrom::End(0))?;
        open.file.write_all(&bytes)?;
        open.vouch()?;
        if durably {
            open.file.sync_data()?;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Whether [`CacheFile::append`] can add to it.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Removes the file: better none than one that has forgotten something.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        self.open = None;
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => directory(&self.path)?.sync_all(),
        }
    }
}

impl Open {
    /// One frame as it is written.
    fn frame(&mut self, content: &[u8]) -> io::Result<Vec<u8>> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?.to_le_bytes();
        self.chain = self.chain.and(&[&length, content]);
        let frame = [&length, content, &self.chain.0].concat();
        self.length += frame.len() as u64;
        if self.length > MAX_BYTES {
            return Err(io::Error::other(format!("the cache would be larger than {MAX_BYTES} bytes")));
        }
        Ok(frame)
    }

    /// Records how much there is, so that a file that was cut off is noticed.
    fn vouch(&self) -> io::Result<()> {
        self.file.write_all_at(&self.length.to_le_bytes(), MAGIC.len() as u64)
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn directory(path: &Path) -> io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))
}

fn parse(bytes: &[u8], binding: &[u8]) -> Result<Vec<Vec<u8>>, Unusable> {
    let cut = || Unusable::Damaged("it is cut off");
    let mut rest = bytes;
    let mut take = |count: usize| -> Option<&[u8]> {
        let (taken, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(taken)
    };
    if take(MAGIC.len()).ok_or_else(cut)? != MAGIC {
        return Err(Unusable::Foreign("it is no cache of this version"));
    }
    let vouched = number(take(8)).ok_or_else(cut)?;
    let length = number(take(2)).ok_or_else(cut)?;
    if take(usize::try_from(length).map_err(|_| cut())?).ok_or_else(cut)? != binding {
        return Err(Unusable::Foreign("it is of another tenant or audience"));
    }
    if vouched > bytes.len() as u64 {
        return Err(cut());
    }
    let (mut frames, mut chain) = (Vec::new(), Chain::begin(binding));
    while let Some(length) = take(4) {
        let count = number(Some(length)).and_then(|count| usize::try_from(count).ok()).ok_or_else(cut)?;
        let content = take(count).ok_or_else(cut)?;
        chain = chain.and(&[length, content]);
        if take(CHECK).ok_or_else(cut)? != chain.0 {
            return Err(Unusable::Damaged("a check sum is wrong"));
        }
        frames.push(content.to_vec());
    }
    if rest.is_empty() { Ok(frames) } else { Err(cut()) }
}

/// Little-endian, of up to eight bytes.
fn number(bytes: Option<&[u8]>) -> Option<u64> {
    Some(bytes?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
