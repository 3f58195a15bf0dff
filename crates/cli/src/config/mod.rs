//! The broker's configuration: one typed TOML file.
//!
//! Invariants: what loads is complete and means something (parsed into the types that the broker uses, cross-checked);
//! an unknown key is an error, because a misspelt limit is no limit; every error says where, what and how to fix it;
//! relative paths are relative to the file; no secret is in the file, only where it is. `deploy/taskpass.full.toml` has
//! every key with its default.

mod channels;
mod check;
mod drift;
mod error;
mod keys;
mod limits;
mod listen;
mod place;
mod registry;
mod store;
#[cfg(test)]
mod tests;

pub use channels::{Channels, CrlUrl};
pub use drift::DriftConfig;
pub use error::{ConfigError, Problem};
pub use keys::{Data, Keys, Seal};
pub use limits::Defaults;
pub use listen::{Listen, SocketMode, TlsFiles};
pub use place::Position;
pub use registry::{
    AgentEntry, BundleEntry, BundleForm, ClientEntry, ClientName, ResourceConfig, RoleEntry, Selectors,
    UserConfig, VerifierEntry,
};
pub use store::{Durability, HostPort, Password, RedisConfig, RedisTls, SentinelConfig, StoreConfig};

use crate::span;
use serde::Deserialize;
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};
use taskpass_types::{TenantId, TrustDomain};

/// Every key with its default and what it is for.
pub const FULL: &str = include_str!("../../../../deploy/taskpass.full.toml");

/// The largest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// What `taskpass serve` runs with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The trust domain of the SPIFFE IDs that the broker issues.
    pub trust_domain: TrustDomain,
    /// The `iss` of its tokens.
    pub issuer: Issuer,
    /// The tenant that everything below belongs to.
    #[serde(default)]
    pub tenant: TenantId,
    /// Where it listens.
    #[serde(default)]
    pub listen: Listen,
    /// Who it is to callers over TCP.
    pub tls: Option<TlsFiles>,
    /// Where it keeps what it must not lose.
    #[serde(default)]
    pub data: Data,
    /// Where tasks, leases and deny records live, if not there.
    #[serde(default)]
    pub store: StoreConfig,
    /// What it signs with.
    pub keys: Keys,
    /// What it decides by.
    #[serde(default)]
    pub policy: PolicyFiles,
    /// What it grants to a caller that does not say how long.
    #[serde(default)]
    pub defaults: Defaults,
    /// What it never grants more of.
    #[serde(default, with = "limits::Limits")]
    pub limits: taskpass_lease::Limits,
    /// What those get who do not follow the deny feed.
    #[serde(default)]
    pub channels: Channels,
    /// What connections may take.
    #[serde(default, with = "limits::Connections")]
    pub connections: taskpass_net::Limits,
    /// Whose certificates it believes.
    #[serde(default)]
    pub bundles: Vec<BundleEntry>,
    /// Whose assertions it believes at the OAuth endpoints.
    #[serde(default)]
    pub clients: Vec<ClientEntry>,
    /// Who can hold credentials.
    #[serde(default)]
    pub agents: Vec<AgentEntry>,
    /// Who can list, kill, release and read the audit log.
    #[serde(default)]
    pub operators: Vec<RoleEntry>,
    /// Who can start and end tasks for agents.
    #[serde(default)]
    pub orchestrators: Vec<RoleEntry>,
    /// Who can follow the deny feed.
    #[serde(default)]
    pub verifiers: Vec<VerifierEntry>,
    /// The people that policies and approvals know.
    #[serde(default)]
    pub users: Vec<UserConfig>,
    /// What policies know of resources.
    #[serde(default)]
    pub resources: Vec<ResourceConfig>,
    /// What follows from drift.
    #[serde(default)]
    pub drift: Vec<DriftConfig>,
    /// Where it was read; the lists of who and what is registered are read again when that changes.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// The policies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyFiles {
    /// The directory with the `*.cedar` files.
    pub dir: PathBuf,
    /// How often it is looked at for changes.
    #[serde(deserialize_with = "span::duration")]
    pub poll: Duration,
}

impl Default for PolicyFiles {
    fn default() -> Self {
        Self { dir: "/etc/taskpass/policies".into(), poll: Duration::from_millis(200) }
    }
}

/// An issuer by RFC 8414: an `https` URL, or `http` on the loopback address, without query or fragment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Issuer(String);

impl Issuer {
    /// The URL as it was written; verifiers compare it byte by byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Issuer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const WRONG: &str = "it is not an issuer, expected a URL such as `https://taskpass.acme.test` without query or fragment";
        let uri: http::Uri = text.parse().map_err(|_| WRONG)?;
        let loopback = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let scheme = uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && loopback);
        let bare = uri.query().is_none() && !text.contains(['#', '@']);
        if scheme && bare { Ok(Self(text)) } else { Err(WRONG) }
    }
}

impl Config {
    /// The URL below which certificates say that their revocation lists are.
    pub fn crl_base(&self) -> String {
        let own = self.channels.crl_url.as_ref().map(CrlUrl::as_str);
        own.unwrap_or_else(|| taskpass_crypto::jws::origin(self.issuer.as_str())).to_owned()
    }

    /// Reads, parses and checks a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, with line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error: std::io::Error| {
            ConfigError::new(path, vec![Problem::of_file(format!("cannot be read: {error}"))])
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(unreadable)?;
        if u64::try_from(text.len()).is_ok_and(|len| len > MAX_BYTES) {
            let problem = Problem::of_file("has more than 4 MiB");
            return Err(ConfigError::new(path, vec![problem]));
        }
        let mut config = Self::parse(&text).map_err(|problems| ConfigError::new(path, problems))?;
        config.anchor(path.parent().unwrap_or(Path::new("")));
        config.file = Some(path.to_owned());
        Ok(config)
    }

    /// Parses and checks a text. Paths stay as they are written.
    ///
    /// # Errors
    /// Everything that is wrong with it; never empty.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let deserializer =
            toml::Deserializer::parse(text).map_err(|error| vec![Problem::syntax(text, &error)])?;
        let config: Self = serde_path_to_error::deserialize(deserializer)
            .map_err(|error| vec![Problem::meaning(text, &error)])?;
        let problems = config.check(text);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Makes relative paths absolute or relative to the working directory, as `folder` is.
    fn anchor(&mut self, folder: &Path) {
        let Self { listen, tls, data, store, keys, policy, bundles, clients, .. } = self;
        let mut paths = vec![&mut listen.socket, &mut data.dir, &mut policy.dir];
        if let Seal::File(file) = &mut keys.seal {
            paths.push(file);
        }
        if let Some(TlsFiles { certificate, key }) = tls {
            paths.extend([certificate, key]);
        }
        paths.extend(store.paths());
        paths.extend(bundles.iter_mut().map(|bundle| &mut bundle.file));
        paths.extend(clients.iter_mut().map(|client| &mut client.jwks));
        for path in paths {
            *path = folder.join(&*path);
        }
    }
}
