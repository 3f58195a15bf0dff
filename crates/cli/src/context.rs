//! The context file: where the broker of `taskpass dev` is, so that other commands of the same user find it.
//!
//! It is `taskpass/context.toml` under `$XDG_RUNTIME_DIR`, else under `~/.config`. Invariant: only a file that belongs
//! to this user is believed; whoever says where the broker is could be the broker.

use rustix::process::geteuid;
use serde::Deserialize;
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

const MAX_BYTES: u64 = 4096;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Context {
    /// `unix:/path` or `https://host:port`.
    pub address: String,
}

/// Where the file is; `lookup` reads the environment. `None`: there is no place for it.
pub fn path(lookup: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = |name: &str| lookup(name).filter(|value| value.starts_with('/')).map(PathBuf::from);
    let folder = folder("XDG_RUNTIME_DIR").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("taskpass/context.toml"))
}

impl Context {
    /// Reads the file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, is somebody else's, or makes no sense.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.metadata()?.uid() != geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user, so it is not believed"));
        }
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text)?;
        toml::from_str(&text).map(Some).map_err(|error| io::Error::other(error.message().to_owned()))
    }

    /// Writes the file, whole or not at all, in a directory that only this user can enter.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let mut table = toml::Table::new();
        table.insert("address".to_owned(), self.address.clone().into());
        file.write_all(table.to_string().as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes the file, if it still says what `self` says.
    ///
    /// # Errors
    /// When it cannot be read or removed.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        if Self::read(path)?.as_ref() == Some(self) { fs::remove_file(path) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_from(values: &[(&str, &str)]) -> Option<String> {
        let find =
            |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        path(find).map(|path| path.display().to_string())
    }

    #[test]
    fn the_runtime_directory_comes_first() {
        let both = [("XDG_RUNTIME_DIR", "/run/user/1"), ("HOME", "/home/maya")];
        assert_eq!(path_from(&both).unwrap(), "/run/user/1/taskpass/context.toml");
        assert_eq!(path_from(&[("HOME", "/home/maya")]).unwrap(), "/home/maya/.config/taskpass/context.toml");
        assert_eq!(path_from(&[("HOME", "relative")]), None);
        assert_eq!(path_from(&[]), None);
    }

    #[test]
    fn what_is_written_is_read_and_only_its_writer_removes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taskpass/context.toml");
        assert_eq!(Context::read(&path).unwrap(), None);
        let context = Context { address: "unix:/run/\"a\".sock".to_owned() };
        context.write(&path).unwrap();
        assert_eq!(Context::read(&path).unwrap(), Some(context.clone()));
        Context { address: "unix:/other".to_owned() }.remove(&path).unwrap();
        assert!(path.exists());
        context.remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn nonsense_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("context.toml");
        for nonsense in ["", "address = 1", "["] {
            fs::write(&path, nonsense).unwrap();
            assert!(Context::read(&path).is_err(), "{nonsense:?} was accepted");
        }
    }
}
