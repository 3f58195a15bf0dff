//! Why a log cannot be opened or read: what, why and what to do about it.

use crate::Fault;
use std::{io, path::PathBuf};

/// The log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log is shorter than `HEAD` says: it was cut, or replaced by an older copy.
    #[error(
        "the audit log `{log}` ends at byte {length}, but `HEAD` says that {expected} bytes were durable: it was cut or \
         rolled back; keep both files as evidence, restore the newest copy, and compare with an anchor kept elsewhere"
    )]
    Cut {
        /// The log.
        log: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// What `HEAD` says.
        expected: u64,
    },
    /// An entry was changed, removed or put in.
    #[error(
        "the audit log `{log}` was changed at or before entry {seq}: {fault}; keep it as evidence and run `taskpass audit \
         verify` to find the first broken entry"
    )]
    Changed {
        /// The log.
        log: PathBuf,
        /// The number that the entry should have.
        seq: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// `HEAD` is missing or not readable as one.
    #[error(
        "`{head}` is {what} although the audit log has entries, so a cut could not be found; restore it, or move the \
         log away as evidence to begin a new one"
    )]
    Head {
        /// The file.
        head: PathBuf,
        /// Missing or malformed.
        what: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {what} `{path}`: {source}; check the owner, the mode and the free space")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another process writes this log.
    #[error(
        "another process writes the audit log in `{0}`; stop it, or give this one a directory of its own"
    )]
    Locked(PathBuf),
    /// Others may write into the directory.
    #[error("the audit directory `{0}` can be written by others than its owner; run `chmod 0700` on it")]
    Open(PathBuf),
}

impl AuditError {
    /// Wraps an error of the operating system.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
