//! A listening Unix socket that nobody else could have put there.

use crate::transport::BACKLOG;
use rustix::{
    fs::{FileType, Mode, chmod, fchmod, lstat, stat, unlink},
    io::Errno,
    process::geteuid,
};
use std::{
    io,
    os::unix::net::UnixStream as StdUnixStream,
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixSocket as Unbound, UnixStream};

/// Who may connect, by the file's permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAccess {
    /// The owner and its group (0660).
    Group,
    /// The owner (0600).
    Owner,
}

impl SocketAccess {
    fn mode(self) -> Mode {
        match self {
            Self::Group => Mode::from_raw_mode(0o660),
            Self::Owner => Mode::from_raw_mode(0o600),
        }
    }
}

/// Why a socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something else than a socket has the name; a symbolic link counts as itself.
    #[error("`{0}` exists and is not a socket; remove it, or choose another path")]
    Foreign(PathBuf),
    /// Somebody listens there.
    #[error("`{0}` is in use: another process listens on it")]
    InUse(PathBuf),
    /// The operating system says no.
    #[error("`{path}`: {error}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Others could replace the socket by their own.
    #[error(
        "directory `{0}` can be changed by others; it must belong to this process's user or root and be writable by no one else (chmod 0750)"
    )]
    UnsafeDirectory(PathBuf),
}

/// A listening Unix socket. Its file is removed when it is dropped, unless it is another one by then.
pub struct UnixSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket; removed when it is dropped, unless it is another one by then.
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl UnixSocket {
    /// Listens at `path`. A socket that nobody listens on any more is replaced; anything else there is left alone and
    /// refused. The directory must exist and must not be writable for others, except with the sticky bit.
    pub fn bind(path: impl Into<PathBuf>, access: SocketAccess) -> Result<Self, SocketError> {
        let path = path.into();
        check_directory(&path)?;
        remove_stale(&path)?;
        let io = |error| SocketError::Io { path: path.clone(), error };
        let listener = listen(&path, access).map_err(io)?;
        let made = lstat(&path).map_err(|error| io(error.into()))?;
        Ok(Self { listener, file: SocketFile { id: (made.st_dev, made.st_ino), path } })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The socket by itself, for a server that accepts by itself; the file is to be kept as long.
    pub fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }

    pub(crate) async fn accept_stream(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if lstat(&self.path).is_ok_and(|now| (now.st_dev, now.st_ino) == self.id) {
            // Best effort: a socket file without a listener is replaced by the next start.
            let _ = unlink(&self.path);
        }
    }
}

/// The mode is set on the socket before it gets a name (unix(7): the file takes it from there, less the umask), so
/// that there is no moment in which others can connect; and again on the file, because the umask may take too much.
fn listen(path: &Path, access: SocketAccess) -> io::Result<UnixListener> {
    let socket = Unbound::new_stream()?;
    fchmod(&socket, access.mode())?;
    socket.bind(path)?;
    chmod(path, access.mode())?;
    socket.listen(BACKLOG)
}

fn check_directory(path: &Path) -> Result<(), SocketError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let found = stat(directory)
        .map_err(|error| SocketError::Io { path: directory.to_owned(), error: error.into() })?;
    let mode = Mode::from_raw_mode(found.st_mode);
    let ours = found.st_uid == geteuid().as_raw() || found.st_uid == 0;
    let shared = mode.intersects(Mode::WGRP | Mode::WOTH) && !mode.contains(Mode::SVTX);
    if ours && !shared { Ok(()) } else { Err(SocketError::UnsafeDirectory(directory.to_owned())) }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let io = |error| SocketError::Io { path: path.to_owned(), error };
    match lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(io(error.into())),
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Socket => {
            return Err(SocketError::Foreign(path.to_owned()));
        }
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            unlink(path).map_err(|error| io(error.into()))
        }
        Err(error) => Err(io(error)),
    }
}
