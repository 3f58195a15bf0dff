//! Opens every adapter that the configuration names.

use crate::config::{ClientEntry, Config, Seal, Selectors};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};
use taskpass_attest::{
    Attestor, Attestors, Clients,
    spiffe::{BundleError, BundleFile, BundleFiles, X509Attestor},
    unix::UnixAttestor,
};
use taskpass_audit::{Action, Actor, AuditError, AuditLog, Event, Recorder as _};
use taskpass_broker::{
    ChannelSettings, DriftRule, DriftRules, DriftRulesError, Parts, PolicyKeeper, Registered, Registration,
    Registry, RegistryError, RegistryKeeper, ResourceEntry, Role, RoleEntry, Settings, UserEntry,
};
use taskpass_crypto::{KeyError, KeyPolicy, KeyRing, SealKey};
use taskpass_issue::{Issuer, JwtIssuer, X509Issuer};
use taskpass_net::{SocketError, TlsError};
use taskpass_policy::{Policies, PolicyError};
use taskpass_store::{
    Ledger, Store,
    journal::{JournalError, Journaled},
};
use taskpass_store_redb::{OpenError, RedbBackend};
use taskpass_store_redis::RedisBackend;
use taskpass_types::{Clock, LeaseId, Refusal, TenantId, Ttl, TtlError};

/// A set of more keys than anyone has is refused by whoever parses what is read of it.
const MAX_JWKS_BYTES: u64 = 64 * 1024 + 1;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself what it is")]
pub enum StartError {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("cannot listen on `{address}` for {what}: {error}")]
    Bind { what: &'static str, address: SocketAddr, error: io::Error },
    #[error(transparent)]
    Bundles(#[from] BundleError),
    #[error(transparent)]
    Drift(#[from] DriftRulesError),
    #[error("[[clients]]: {0}")]
    Clients(String),
    #[error("`{path}` cannot be made: {error}")]
    Directory { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Ledger(#[from] taskpass_store_redis::OpenError),
    #[error(transparent)]
    LedgerPassword(#[from] super::PasswordError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("the seal key is not set: {0}")]
    NoSeal(String),
    #[error(transparent)]
    Policies(#[from] PolicyError),
    #[error("the API's description cannot be served: {0}")]
    Reflection(#[source] tonic_reflection::server::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("it cannot begin: {0}")]
    StoreUnavailable(#[from] Refusal),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Ttl(#[from] TtlError),
}

impl StartError {
    /// What the operator can do about it, where the message does not say so itself.
    pub fn fix(&self) -> Option<&str> {
        match self {
            Self::Bind { .. } => Some("stop who listens there, or choose another address under [listen]"),
            Self::Clients(_) => {
                Some("a JWK set is {\"keys\":[…]} of public keys, P-256 or Ed25519, each with a `kid`")
            }
            Self::Journal(error) => Some(error.fix()),
            Self::Ledger(error) => Some(error.fix()),
            Self::NoSeal(_) => {
                Some("make one: head -c 32 /dev/urandom | base64 > FILE && chmod 600 FILE; see [keys]")
            }
            Self::Policies(_) => Some("taskpass policy check DIR"),
            Self::Store(error) => Some(error.fix()),
            Self::StoreUnavailable(refusal) => refusal.fix_text(),
            _ => None,
        }
    }
}

/// Everything that was opened.
pub(super) struct Adapters {
    pub(super) audit: Arc<AuditLog>,
    pub(super) attestors: Arc<dyn Attestor>,
    pub(super) bundles: Arc<BundleFiles>,
    store: Arc<dyn Store>,
    keys: Arc<KeyRing>,
    policies: Policies,
}

impl Adapters {
    /// Opens what must not be lost first, so that a broker that cannot keep its word does not begin.
    pub(super) async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, StartError> {
        private_directory(&config.data.dir)?;
        let audit = Arc::new(AuditLog::open(&config.data.audit(), clock.clone())?);
        let store = store(config).await?;
        let seal = seal(&config.keys.seal)?;
        let policy = config.keys.policy(config.trust_domain.clone());
        let keys = keys(config, &seal, clock, policy, &audit)?;
        let bundles = BundleFiles::load(config.bundles.iter().cloned().map(BundleFile::from))?;
        let attestors: Vec<Arc<dyn Attestor>> =
            vec![Arc::new(X509Attestor::new(bundles.bundles())), Arc::new(UnixAttestor::new())];
        Ok(Self {
            audit,
            attestors: Arc::new(Attestors::new(attestors)),
            bundles: Arc::new(bundles),
            store: Arc::new(Journaled::open(store, &config.data.revocations(), config.limits.clone())?),
            keys: Arc::new(keys),
            policies: Policies::load_dir(&config.policy.dir)?,
        })
    }

    pub(super) fn into_parts(self, config: &Config, clock: Arc<dyn Clock>) -> Result<Parts, StartError> {
        let issuers: Vec<Arc<dyn Issuer>> = vec![
            Arc::new(JwtIssuer::new(self.keys.clone(), config.issuer.as_str().to_owned())),
            Arc::new(X509Issuer::new(self.keys.clone(), config.crl_base())),
        ];
        let (registry, drift) = registry(config)?;
        Ok(Parts {
            store: self.store,
            audit: self.audit,
            issuers,
            keys: self.keys,
            policies: Arc::new(PolicyKeeper::new(self.policies, clock.now())),
            registry: Arc::new(RegistryKeeper::new(registry)),
            drift: arc_swap::ArcSwap::from_pointee(drift),
            clock,
            settings: Settings {
                trust_domain: config.trust_domain.clone(),
                issuer: config.issuer.as_str().to_owned(),
                jwt_ttl: Ttl::from_duration(config.defaults.jwt_ttl)?,
                x509_ttl: Ttl::from_duration(config.defaults.x509_ttl)?,
                task_ttl: Ttl::from_duration(config.defaults.task_ttl)?,
                fleet: config.store.redis.is_some(),
                broker: LeaseId::new().to_string(),
                channels: ChannelSettings {
                    crl_validity: config.channels.crl_validity,
                    status_lists: config.channels.status_lists,
                    certificate_life: config.limits.x509_max,
                    ..ChannelSettings::new(config.crl_base())
                },
            },
        })
    }
}

/// Opens the embedded store, or the ledger of the fleet.
async fn store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let limits = config.limits.clone();
    let Some(redis) = &config.store.redis else {
        return Ok(Arc::new(Ledger::new(RedbBackend::open(config.data.store(), limits)?)));
    };
    let settings = super::settings(redis)?;
    Ok(Arc::new(Ledger::new(RedisBackend::open(settings, limits, Some(&config.data.ends())).await?)))
}

/// Opens the signing keys. The first generation is written down as every other one is: before it is made and after.
fn keys(
    config: &Config,
    seal: &SealKey,
    clock: &Arc<dyn Clock>,
    policy: KeyPolicy,
    audit: &AuditLog,
) -> Result<KeyRing, StartError> {
    let note = |of: fn(&TenantId, Action, Actor) -> Event, describe: &dyn Fn(Event) -> Event| {
        for action in [Action::KeyPublish, Action::KeyActivate] {
            audit.note(describe(of(&TenantId::default(), action, Actor::Broker("keys"))));
        }
    };
    let mut first = None;
    let keys = KeyRing::open_announced(&config.data.keys(), seal, &**clock, policy, |generation| {
        first = Some(generation);
        note(Event::intent, &|event| event.key_generation(generation));
    })?;
    if let Some(generation) = first {
        note(Event::outcome, &|event| event.key_generation(generation).key(keys.signer().kid()));
    }
    Ok(keys)
}

fn private_directory(path: &PathBuf) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| StartError::Directory { path: path.clone(), error })
}

/// The key that seals the others, from where the configuration says it is.
///
/// # Errors
/// It is not there, or is none.
pub fn seal(seal: &Seal) -> Result<SealKey, StartError> {
    let variable = |name: &str| {
        std::env::var(name)
            .map_err(|error| StartError::NoSeal(format!("environment variable `{name}`: {error}")))
    };
    Ok(match seal {
        Seal::Credential(name) => {
            SealKey::from_credentials_dir(variable("CREDENTIALS_DIRECTORY")?.as_ref(), name)?
        }
        Seal::Env(name) => SealKey::from_env_value(&variable(name)?)?,
        Seal::File(path) if !path.exists() => {
            return Err(StartError::NoSeal(format!("there is no file `{}`", path.display())));
        }
        Seal::File(path) => SealKey::from_file(path)?,
    })
}

/// Whose assertions count at the OAuth endpoints.
pub(super) fn clients(config: &Config, clients: &Clients) -> Result<(), StartError> {
    let read = |entry: &ClientEntry| {
        let mut text = String::new();
        let opened = File::open(&entry.jwks);
        let read = opened.and_then(|file| file.take(MAX_JWKS_BYTES).read_to_string(&mut text));
        let unreadable = |error| format!("`{}` cannot be read: {error}", entry.jwks.display());
        read.map(|_| (entry.name.to_string(), text)).map_err(unreadable)
    };
    let all = config.clients.iter().map(read).collect::<Result<Vec<_>, _>>();
    all.and_then(|all| clients.replace(&all)).map_err(StartError::Clients)
}

/// Who is who, and what follows from drift, by the configuration.
pub(super) fn registry(config: &Config) -> Result<(Registry, DriftRules), StartError> {
    let agents = config.agents.iter().cloned().map(|agent| Registration {
        tenant: config.tenant.clone(),
        id: agent.id,
        owner: agent.owner,
        selectors: agent.selectors.into_set(),
        labels: agent.labels,
        groups: agent.groups,
        suspended: agent.suspended,
    });
    let users = config.users.iter().cloned().map(|user| UserEntry {
        name: user.name,
        selectors: user.selectors.map(Selectors::into_set).unwrap_or_default(),
        groups: user.groups,
        labels: user.labels,
    });
    let roles = [(Role::Operator, &config.operators), (Role::Orchestrator, &config.orchestrators)];
    let roles = roles.into_iter().flat_map(|(role, entries)| {
        entries.iter().cloned().map(move |entry| RoleEntry {
            role,
            name: entry.name,
            selectors: entry.selectors.into_set(),
            resources: BTreeSet::new(),
        })
    });
    let verifiers = config.verifiers.iter().cloned().map(|entry| RoleEntry {
        role: Role::Verifier,
        name: entry.name,
        selectors: entry.selectors.into_set(),
        resources: entry.resources,
    });
    let resources = config.resources.iter().cloned().map(|resource| ResourceEntry {
        name: resource.name,
        labels: resource.labels,
        environment: resource.environment,
        sensitivity: resource.sensitivity,
    });
    let registered = Registered {
        agents: agents.collect(),
        users: users.collect(),
        roles: roles.chain(verifiers).collect(),
        resources: resources.collect(),
    };
    let rules = DriftRules::new(config.drift.iter().cloned().map(DriftRule::from).collect())?;
    Ok((Registry::new(config.tenant.clone(), registered)?, rules))
}
