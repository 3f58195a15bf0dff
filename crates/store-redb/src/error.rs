//! Why a store file cannot be opened, and what the operator can do about it.

use redb::{DatabaseError, StorageError};
use std::{
    io,
    path::{Path, PathBuf},
};
use taskpass_types::{Reason, Refusal};

/// Why a store file cannot be opened. The message names the file; [`OpenError::fix`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is damaged.
    #[error("the store `{}` is damaged: {why}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        why: String,
    },
    /// It has no content, which a store never leaves behind.
    #[error("the store `{}` is an empty file", .0.display())]
    Empty(PathBuf),
    /// It is some other program's file.
    #[error("`{}` is not a Taskpass store", .0.display())]
    Foreign(PathBuf),
    /// Another process, or another handle in this one, has it open.
    #[error("the store `{}` is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The operating system refuses.
    #[error("the store `{}` cannot be opened: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A newer version of Taskpass wrote it.
    #[error("the store `{}` has format {found}, this version reads up to {supported}", .file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is understood.
        supported: u32,
    },
}

impl OpenError {
    /// What the operator can do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Damaged { .. } | Self::Empty(_) => {
                "restore it from a backup; or move it away to begin with an empty store, which ends every task"
            }
            Self::Foreign(_) => "name another file as the store",
            Self::InUse(_) => "stop the other broker, or give each its own file",
            Self::Io { .. } => "check that the directory exists, belongs to the broker and has free space",
            Self::Newer { .. } => "start the version of Taskpass that wrote it, or a newer one",
        }
    }

    pub(crate) fn io(file: &Path, error: io::Error) -> Self {
        Self::Io { file: file.to_owned(), error }
    }

    pub(crate) fn damaged(file: &Path, why: impl ToString) -> Self {
        Self::Damaged { file: file.to_owned(), why: why.to_string() }
    }

    pub(crate) fn database(file: &Path, error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Self::InUse(file.to_owned())
            }
            DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
                io::ErrorKind::InvalidData => Self::Foreign(file.to_owned()),
                io::ErrorKind::UnexpectedEof => Self::damaged(file, "it is cut short"),
                _ => Self::io(file, error),
            },
            other => Self::damaged(file, other),
        }
    }
}

/// What a caller learns when the file fails under us; the cause is for the log.
pub(crate) fn unavailable(cause: impl Into<redb::Error>) -> Refusal {
    Refusal::new(Reason::StoreUnavailable, "the store cannot read or write its file")
        .fix("ask again; the operator finds the cause in the broker's log")
        .because(cause.into())
}
