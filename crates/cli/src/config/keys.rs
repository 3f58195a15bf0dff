//! `[data]` and `[keys]`: what the broker must not lose, and what it must not leak.

use crate::span;
use serde::Deserialize;
use std::{path::PathBuf, time::Duration};
use taskpass_crypto::{Alg, KeyPolicy};
use taskpass_types::TrustDomain;

/// Where the broker keeps its data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// The directory; it belongs to the broker alone.
    pub dir: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: "/var/lib/taskpass".into() }
    }
}

impl Data {
    /// Tasks, leases and deny records.
    pub fn store(&self) -> PathBuf {
        self.dir.join("store.redb")
    }

    /// The ends that wait for the store to write again.
    pub fn revocations(&self) -> PathBuf {
        self.dir.join("revocations.journal")
    }

    /// The ends that this broker wrote into a shared ledger.
    pub fn ends(&self) -> PathBuf {
        self.dir.join("ends")
    }

    /// The revision of the policy files that this broker last took up.
    pub fn policies_seen(&self) -> PathBuf {
        self.dir.join("policies.revision")
    }

    /// The audit log.
    pub fn audit(&self) -> PathBuf {
        self.dir.join("audit")
    }

    /// The sealed signing keys.
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }
}

/// What the broker signs with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Where the key is that seals the others.
    pub seal: Seal,
    /// How tokens are signed.
    #[serde(default = "alg")]
    pub alg: Alg,
    /// How old the signing key becomes.
    #[serde(default = "rotate_after", deserialize_with = "span::duration")]
    pub rotate_after: Duration,
    /// How long a new key is published before it signs.
    #[serde(default = "publish_wait", deserialize_with = "span::duration")]
    pub publish_wait: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn alg() -> Alg {
    Alg::Es256
}
fn rotate_after() -> Duration {
    90 * DAY
}
fn publish_wait() -> Duration {
    Duration::from_secs(3600)
}

impl Keys {
    /// As the key ring wants it.
    pub fn policy(&self, trust_domain: TrustDomain) -> KeyPolicy {
        KeyPolicy {
            alg: self.alg,
            rotate_after: self.rotate_after,
            publish_wait: self.publish_wait,
            ..KeyPolicy::new(trust_domain)
        }
    }
}

/// Where the seal key is: 32 bytes, or their hex or base64; never in the data directory, never in this file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seal {
    /// In a credential of this name that systemd passes (`LoadCredentialEncrypted=`).
    Credential(String),
    /// In this environment variable.
    Env(String),
    /// In this file, which only the broker's user may read.
    File(PathBuf),
}
