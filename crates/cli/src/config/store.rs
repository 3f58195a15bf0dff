//! `[store]`: one broker's own file, or a ledger that a fleet shares.

use super::{Problem, place::KeyPath};
use crate::span;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use std::{fmt, path::PathBuf, time::Duration};
use taskpass_store_redis::Address;

/// Where tasks, leases and deny records live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// A ledger in Redis or Valkey; `None`: the embedded store in the data directory.
    pub redis: Option<RedisConfig>,
}

/// A ledger in Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Which of the ledgers on this server; brokers that name the same one are a fleet.
    #[serde(default = "ledger")]
    pub ledger: String,
    /// The server.
    pub address: Option<HostPort>,
    /// Sentinels that know the server.
    pub sentinel: Option<SentinelConfig>,
    /// Nodes of a Cluster that know who has the ledger's slot.
    pub cluster: Option<Vec<HostPort>>,
    /// Who the broker is to the server.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Password>,
    /// Encrypt.
    pub tls: Option<RedisTls>,
    /// What an acknowledgement means.
    #[serde(default)]
    pub durability: Durability,
    /// How many replicas could be promoted. `durable` has every write confirmed by all of them, `standard` what takes
    /// something away.
    pub replicas: Option<u32>,
    /// How long the server may take to answer.
    #[serde(default = "timeout", deserialize_with = "span::duration")]
    pub timeout: Duration,
}

/// The Sentinels of one service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentinelConfig {
    /// The name that they watch it under.
    pub service: String,
    /// Where they are.
    pub addresses: Vec<HostPort>,
    /// Who the broker is to them, if they ask.
    pub user: Option<String>,
    /// Its password there.
    pub password: Option<Password>,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Every replica that could be promoted has it.
    Durable,
    /// The primary has it.
    #[default]
    Standard,
}

/// Where a password is; never in this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// In a credential of this name that systemd passes.
    Credential(String),
    /// In this environment variable.
    Env(String),
    /// In this file.
    File(PathBuf),
}

/// By hand, because what is written here by mistake is likely to be the password itself: no error repeats it.
impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Where;

        impl<'de> Visitor<'de> for Where {
            type Value = Password;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("where the password is: `{ file = \"…\" }`, `{ credential = \"…\" }` or `{ env = \"…\" }`")
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Password, E> {
                Err(E::custom(
                    "the password itself must not be in this file; say where it is, as `{ file = \"…\" }`",
                ))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Password, A::Error> {
                let wrong = || de::Error::invalid_type(de::Unexpected::Map, &self);
                let (key, value) = map.next_entry::<String, String>()?.ok_or_else(wrong)?;
                if map.next_key::<String>()?.is_some() {
                    return Err(wrong());
                }
                match key.as_str() {
                    "credential" => Ok(Password::Credential(value)),
                    "env" => Ok(Password::Env(value)),
                    "file" => Ok(Password::File(value.into())),
                    _ => Err(wrong()),
                }
            }
        }

        deserializer.deserialize_any(Where)
    }
}

/// PEM files for the connection to the server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisTls {
    /// Who may have signed the server's certificate.
    pub ca: PathBuf,
    /// Our certificate, if the server asks for one.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPort(pub Address);

impl TryFrom<String> for HostPort {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const WRONG: &str = "it is no address, expected `host:port`";
        let (host, port) = text.rsplit_once(':').ok_or(WRONG)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| WRONG)?;
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(WRONG);
        }
        Ok(Self(Address { host: host.to_owned(), port }))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn ledger() -> String {
    "taskpass".to_owned()
}
fn timeout() -> Duration {
    Duration::from_millis(500)
}

impl StoreConfig {
    /// What is contradictory about it.
    pub(super) fn check(&self, text: &str) -> Vec<Problem> {
        let Some(redis) = &self.redis else { return Vec::new() };
        let at = |key: &str, what: &str, fix: &str| {
            Problem::at(text, &KeyPath::default().key("store").key("redis").key(key), what, fix)
        };
        let mut problems = Vec::new();
        let places = [redis.address.is_some(), redis.sentinel.is_some(), redis.cluster.is_some()];
        if places.into_iter().filter(|given| *given).count() != 1 {
            problems.push(at(
                "address",
                "a ledger is in exactly one place",
                "give one of `address`, `sentinel`, `cluster`",
            ));
        }
        let empty = |list: Option<&Vec<HostPort>>| list.is_some_and(Vec::is_empty);
        if empty(redis.cluster.as_ref()) || empty(redis.sentinel.as_ref().map(|one| &one.addresses)) {
            problems.push(at("cluster", "there is nobody to ask", "give at least one address"));
        }
        if redis.durability == Durability::Durable && redis.replicas.unwrap_or(0) == 0 {
            problems.push(at(
                "replicas",
                "`durable` has to know how many replicas could be promoted",
                "set `replicas` to their number, 1 or more",
            ));
        }
        if redis.tls.as_ref().is_some_and(|tls| tls.certificate.is_some() != tls.key.is_some()) {
            problems.push(at("tls", "a certificate is of no use without its key", "give both, or none"));
        }
        problems
    }

    pub(super) fn paths(&mut self) -> Vec<&mut PathBuf> {
        let Some(RedisConfig { password, sentinel, tls, .. }) = &mut self.redis else { return Vec::new() };
        let passwords = [password.as_mut(), sentinel.as_mut().and_then(|one| one.password.as_mut())];
        let files = passwords.into_iter().flatten().filter_map(|password| match password {
            Password::File(file) => Some(file),
            Password::Credential(_) | Password::Env(_) => None,
        });
        let tls = tls.iter_mut().flat_map(|tls| {
            [Some(&mut tls.ca), tls.certificate.as_mut(), tls.key.as_mut()].into_iter().flatten()
        });
        files.chain(tls).collect()
    }
}
