//! What kind of keys, and how long each part of their life is.

use super::KeyError;
use crate::Alg;
use std::time::Duration;
use taskpass_types::{TrustDomain, Ttl};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How keys are made and live.
#[derive(Clone, Debug)]
pub struct KeyPolicy {
    /// The algorithm of new token keys. Certificates are always signed with ES256.
    pub alg: Alg,
    /// The trust domain that the certificate authority speaks for.
    pub trust_domain: TrustDomain,
    /// How long a new generation is published before it signs: longer than any verifier keeps a JWKS or CA bundle.
    pub publish_wait: Duration,
    /// How long a generation stays published after it signed last: at least the longest life of a credential.
    pub retire_keep: Duration,
    /// How old the active generation becomes before the next one is published by itself.
    pub rotate_after: Duration,
    /// How long a certificate authority is valid.
    pub authority_life: Duration,
}

impl KeyPolicy {
    /// ES256; one hour published before use; kept for the longest TTL and a day; a new generation every 90 days; an
    /// authority valid for a year.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            alg: Alg::Es256,
            trust_domain,
            publish_wait: Duration::from_secs(3600),
            retire_keep: Duration::from_secs(u64::from(Ttl::MAX_SECS)) + DAY,
            rotate_after: 90 * DAY,
            authority_life: 365 * DAY,
        }
    }

    /// An authority must outlive all that it can sign, and generations must not pile up.
    pub(super) fn check(&self) -> Result<(), KeyError> {
        let signs = self.publish_wait.saturating_add(self.rotate_after).saturating_add(self.publish_wait);
        if signs.saturating_add(self.retire_keep) > self.authority_life {
            return Err(KeyError::PolicyInvalid(
                "a certificate authority must be valid for two publish waits, the time to the next rotation and the \
                 time that retired keys are kept",
            ));
        }
        if self.retire_keep > self.rotate_after.saturating_mul(2) {
            return Err(KeyError::PolicyInvalid(
                "retired keys are kept so long that more than four would be published",
            ));
        }
        Ok(())
    }
}
