//! What can be wrong with the key directory; every message names the file and the way out.

use std::{io, path::PathBuf};
use taskpass_types::{KeyGeneration, Reason, Refusal};

/// Why keys cannot be opened, made or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key file was changed or cut, or was written under another name.
    #[error(
        "`{file}` is damaged ({why}): restore it from a backup, or move the key directory away to start with new keys"
    )]
    Damaged {
        /// Which.
        file: PathBuf,
        /// How.
        why: &'static str,
    },
    /// Four generations are published.
    #[error("four key generations are published already: wait until the oldest is retired and gone")]
    Full,
    /// Another process has the directory open.
    #[error("`{dir}` is in use by another process: stop it, or give this one its own key directory")]
    InUse {
        /// Which.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} `{file}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There are keys, but none that signs.
    #[error(
        "`{dir}` has no active key: restore the missing file from a backup, or move the directory away to start with new keys"
    )]
    NoActiveKey {
        /// Which directory.
        dir: PathBuf,
    },
    /// Others than the owner may read a file or directory.
    #[error("`{file}` is open to others (mode {mode:03o}): run `chmod go= {file}`")]
    PermissionsTooOpen {
        /// Which.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The policy contradicts itself.
    #[error("the key policy is not possible: {0}")]
    PolicyInvalid(&'static str),
    /// A primitive failed.
    #[error("a cryptographic primitive failed: {0}")]
    Primitive(String),
    /// A rotation is under way.
    #[error("key generation {generation} is published and not active yet: wait for it, or activate it now")]
    RotationPending {
        /// The one that is coming.
        generation: KeyGeneration,
    },
    /// The seal key is not 32 bytes.
    #[error("{source_name} is not a seal key ({why}): make one with `head -c 32 /dev/urandom | base64`")]
    SealKeyInvalid {
        /// A file's name, or where else it came from.
        source_name: String,
        /// How.
        why: &'static str,
    },
    /// The file was sealed with another key.
    #[error("`{file}` was sealed with another seal key: give the one that it was made with")]
    SealKeyWrong {
        /// Which.
        file: PathBuf,
    },
    /// The keys are those of another trust domain.
    #[error(
        "`{dir}` holds the keys of trust domain `{found}`: use another key directory, or the same trust domain"
    )]
    TrustDomainDiffers {
        /// Which directory.
        dir: PathBuf,
        /// Whose keys.
        found: String,
    },
    /// A newer Taskpass wrote the file.
    #[error("`{file}` has format version {version}, which this version cannot read: upgrade")]
    VersionUnknown {
        /// Which.
        file: PathBuf,
        /// Its version.
        version: u8,
    },
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        let message = match error {
            KeyError::Full | KeyError::RotationPending { .. } => error.to_string(),
            _ => "the signing keys cannot be used".to_owned(),
        };
        Refusal::new(Reason::SignerUnavailable, message).because(error)
    }
}
