//! The text of policies, and of the suites that test them, as it is in files: bounded, in one order, with one digest.

use crate::problem::{PolicyError, Problem, is_deceptive, one_line};
use ring::digest::{Context, SHA256};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};
use taskpass_types::PolicyRevision;

/// How many bytes of policies, or of a suite, are read, all files together: 8 MiB.
pub const MAX_BYTES: usize = 8 << 20;
/// How many files are read.
pub const MAX_FILES: usize = 1000;
/// How many policies a set may have; each takes about 7 KB of memory.
pub const MAX_POLICIES: usize = 20_000;

/// Texts by name. The order of the names is the order of everything.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    texts: BTreeMap<String, String>,
    bytes: usize,
}

impl Sources {
    /// Texts that are in memory already.
    pub(crate) fn collect<N: Into<String>, T: Into<String>>(
        texts: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, PolicyError> {
        let mut sources = Self::default();
        for (name, text) in texts {
            sources.add(name.into(), text.into())?;
        }
        Ok(sources)
    }

    /// Every file directly in `dir` whose name ends in `.` and `extension`. Names that begin with a dot are an editor's,
    /// not an author's.
    pub(crate) fn read_dir(dir: &Path, extension: &str) -> Result<Self, PolicyError> {
        let unreadable =
            |error: io::Error| Problem::of_file(&dir.to_string_lossy(), format!("cannot be read: {error}"));
        let mut sources = Self::default();
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if let Some(name) = file_name(&path, extension) {
                let text = sources.read(&name, &path)?;
                sources.add(name, text)?;
            }
        }
        Ok(sources)
    }

    fn read(&self, name: &str, path: &Path) -> Result<String, Problem> {
        let room = MAX_BYTES.saturating_sub(self.bytes);
        let limit = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
        let mut text = String::new();
        let read = fs::metadata(path).and_then(|found| match found.is_file() {
            true => fs::File::open(path)?.take(limit).read_to_string(&mut text),
            // Opening a pipe would wait for its writer.
            false => Err(io::Error::other("it is not a regular file")),
        });
        read.map_err(|error| Problem::of_file(name, format!("cannot be read: {error}")))?;
        Ok(text)
    }

    fn add(&mut self, name: String, text: String) -> Result<(), Problem> {
        if name.chars().any(is_deceptive) {
            return Err(Problem::of_file(&one_line(&name, 100), "the file's name has control characters"));
        }
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_BYTES {
            let what = format!("with this file there are more than {MAX_BYTES} bytes");
            return Err(
                Problem::of_file(&name, what).help("use groups and labels in place of one policy per agent")
            );
        }
        if self.texts.len() >= MAX_FILES {
            return Err(Problem::of_file(
                &name,
                format!("with this file there are more than {MAX_FILES} files"),
            ));
        }
        if self.texts.contains_key(&name) {
            return Err(Problem::of_file(&name, "comes twice"));
        }
        self.texts.insert(name, text);
        Ok(())
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The first 12 hexadecimal digits of SHA-256 over every name and text, each after its length.
    pub(crate) fn revision(&self) -> Result<PolicyRevision, PolicyError> {
        let mut digest = Context::new(&SHA256);
        for part in self.iter().flat_map(|(name, text)| [name, text]) {
            digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let mut hex = String::new();
        for byte in digest.finish().as_ref().iter().take(6) {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        PolicyRevision::new(hex).map_err(|error| Problem::of_file("revision", error.to_string()).into())
    }
}

fn file_name(path: &Path, extension: &str) -> Option<String> {
    let name = PathBuf::from(path.file_name()?).to_string_lossy().into_owned();
    (path.extension()? == extension && !name.starts_with('.')).then_some(name)
}
