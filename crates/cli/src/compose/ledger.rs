//! The settings of a shared ledger, with the passwords that the configuration only points at.

use crate::config::{Durability, Password, RedisConfig};
use std::{io, path::Path};
use taskpass_store_redis as redis;
use taskpass_types::Secret;

/// Why the settings of the ledger are not complete.
#[derive(Debug, thiserror::Error)]
#[error("the password of the ledger cannot be read: {place}: {error}")]
pub struct PasswordError {
    place: String,
    #[source]
    error: io::Error,
}

/// As the store wants them.
///
/// # Errors
/// A password that is not where it should be.
pub fn settings(config: &RedisConfig) -> Result<redis::Settings, PasswordError> {
    let account = |user: &Option<String>, password: &Option<Password>| {
        let account = |password| Ok(redis::Account { user: user.clone(), password: read(password)? });
        password.as_ref().map(account).transpose()
    };
    let addresses = |list: &[crate::config::HostPort]| list.iter().map(|one| one.0.clone()).collect();
    let place = match (&config.address, &config.sentinel, &config.cluster) {
        (_, Some(sentinel), _) => redis::Place::Sentinel {
            service: sentinel.service.clone(),
            sentinels: addresses(&sentinel.addresses),
        },
        (Some(address), ..) => redis::Place::Single(address.0.clone()),
        (None, None, nodes) => redis::Place::Cluster(addresses(nodes.as_deref().unwrap_or_default())),
    };
    let sentinel = config.sentinel.as_ref();
    Ok(redis::Settings {
        place,
        ledger: config.ledger.clone(),
        account: account(&config.user, &config.password)?,
        sentinel_account: sentinel.map(|one| account(&one.user, &one.password)).transpose()?.flatten(),
        tls: config.tls.as_ref().map(|tls| redis::TlsFiles {
            ca: tls.ca.clone(),
            client: tls.certificate.clone().zip(tls.key.clone()),
        }),
        durability: match config.durability {
            Durability::Durable => redis::Durability::Durable { replicas: config.replicas.unwrap_or(1) },
            Durability::Standard => redis::Durability::Standard { replicas: config.replicas.unwrap_or(0) },
        },
        patience: config.timeout,
    })
}

fn read(password: &Password) -> Result<Secret<String>, PasswordError> {
    let at = |place: &dyn std::fmt::Display| {
        let place = place.to_string();
        move |error| PasswordError { place, error }
    };
    let variable = |name: &str| std::env::var(name).map_err(io::Error::other).map_err(at(&name));
    let file = |path: &Path| std::fs::read_to_string(path).map_err(at(&path.display()));
    let text = match password {
        Password::Credential(name) => file(&Path::new(&variable("CREDENTIALS_DIRECTORY")?).join(name))?,
        Password::Env(name) => variable(name)?,
        Password::File(path) => file(path)?,
    };
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}
