//! A file with the current token: replaced whole, readable for its owner alone, gone in the end.

use crate::error::{Exit, Failure};
use rustix::process::geteuid;
use std::{
    fs::{self, DirBuilder},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};
use taskpass_types::Secret;

/// Mode bits: others may write; and only owners may replace what is in it.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The file. Removed when this is dropped.
pub(super) struct CredentialFile {
    path: PathBuf,
}

impl CredentialFile {
    /// Makes the file. It must not be there yet, and nobody else may be able to put another in its place.
    pub(super) fn create(path: &Path, token: &Secret<String>) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::new(Exit::NotStarted, format!("the file `{}` cannot be made: {error}", path.display()))
        };
        let folder = folder(path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        check_folder(folder).map_err(failed)?;
        // The link fails if the name is taken, so that nothing of the user's is overwritten.
        write(folder, token)
            .and_then(|file| file.persist_noclobber(path).map_err(|error| error.error))
            .map_err(failed)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Puts a new token in the place of the old, at once.
    pub(super) fn replace(&self, token: &Secret<String>) -> io::Result<()> {
        write(folder(&self.path), token)?.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for CredentialFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the credential file could not be removed");
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file next to its place, readable for its owner alone from the first moment.
fn write(folder: &Path, token: &Secret<String>) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".taskpass-").tempfile_in(folder)?;
    file.write_all(token.expose().as_bytes())?;
    Ok(file)
}

fn check_folder(folder: &Path) -> io::Result<()> {
    let found = fs::metadata(folder)?;
    let trusted = found.uid() == geteuid().as_raw() || found.uid() == 0;
    let guarded = found.mode() & OTHERS_WRITE == 0 || found.mode() & STICKY != 0;
    if trusted && guarded {
        return Ok(());
    }
    Err(io::Error::other("others can replace files in its directory; choose a private one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn secret(text: &str) -> Secret<String> {
        text.to_owned().into()
    }

    #[test]
    fn it_is_private_replaced_whole_and_gone_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/token");
        let file = CredentialFile::create(&path, &secret("one")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let before = fs::metadata(&path).unwrap().ino();
        file.replace(&secret("two")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_ne!(fs::metadata(&path).unwrap().ino(), before, "it was written in place");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(file);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_there_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        assert!(CredentialFile::create(&path, &secret("one")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_directory_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, good) in [(0o777, false), (0o770, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let made = CredentialFile::create(&folder.path().join("token"), &secret("one"));
            assert_eq!(made.is_ok(), good, "{mode:o}");
        }
    }
}
