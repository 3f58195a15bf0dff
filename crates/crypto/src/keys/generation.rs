//! One generation: a token key and a certificate authority that live and die together.

use super::{KeyError, KeyPolicy};
use crate::{
    Alg, TokenSigner,
    jws::TokenPrivateKey,
    x509::{AuthorityKey, CertificateAuthority, new_authority},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};
use taskpass_types::{KeyGeneration, Timestamp};
use zeroize::Zeroizing;

/// Where a generation is in its life. The order of the variants is the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    /// It signs.
    Active {
        /// From when on.
        since: Timestamp,
    },
    /// Verifiers may fetch it; it does not sign yet.
    Published {
        /// From when on.
        at: Timestamp,
    },
    /// It signs no more; what it signed may still be alive.
    Retired {
        /// When it signed last.
        at: Timestamp,
    },
}

/// What time asks of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Activate,
    Nothing,
    Remove,
    Replace,
}

impl KeyState {
    /// What is due at `now`.
    pub(super) fn due(self, policy: &KeyPolicy, now: Timestamp) -> Due {
        match self {
            Self::Active { since } if now >= since.plus(policy.rotate_after) => Due::Replace,
            Self::Published { at } if now >= at.plus(policy.publish_wait) => Due::Activate,
            Self::Retired { at } if now >= at.plus(policy.retire_keep) => Due::Remove,
            _ => Due::Nothing,
        }
    }
}

/// A generation in use.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) number: KeyGeneration,
    pub(super) state: KeyState,
    pub(super) signer: Arc<TokenSigner>,
    pub(super) authority: Arc<CertificateAuthority>,
    /// The plain content of its file but for the state; wiped when dropped.
    secrets: Arc<Secrets>,
}

struct Secrets {
    alg: Alg,
    token_key: Zeroizing<Vec<u8>>,
    authority_key: Zeroizing<Vec<u8>>,
    certificate: Vec<u8>,
}

/// The plain content of a file, in postcard; keys are PKCS#8.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    number: KeyGeneration,
    state: KeyState,
    token_alg_is_ed25519: bool,
    token_key: &'a [u8],
    authority_key: &'a [u8],
    certificate: &'a [u8],
}

impl Generation {
    /// Makes new keys. They exist nowhere but here until [`Generation::to_bytes`] is durable.
    pub(super) fn create(
        number: KeyGeneration,
        state: KeyState,
        policy: &KeyPolicy,
        now: Timestamp,
    ) -> Result<Self, KeyError> {
        let token_key = new_pkcs8(policy.alg)?;
        let authority_key = new_pkcs8(Alg::Es256)?;
        let key =
            AuthorityKey::from_pkcs8(&authority_key).ok_or_else(|| KeyError::Primitive("P-256".into()))?;
        let certificate = new_authority(&key, &policy.trust_domain, now, policy.authority_life)
            .map_err(|error| KeyError::Primitive(error.to_string()))?
            .to_vec();
        let secrets = Secrets { alg: policy.alg, token_key, authority_key, certificate };
        Self::build(number, state, secrets)
            .ok_or_else(|| KeyError::Primitive("the new keys cannot be used".into()))
    }

    fn build(number: KeyGeneration, state: KeyState, secrets: Secrets) -> Option<Self> {
        let signer = TokenSigner::new(TokenPrivateKey::from_pkcs8(secrets.alg, &secrets.token_key)?, number)?;
        let key = AuthorityKey::from_pkcs8(&secrets.authority_key)?;
        let authority = CertificateAuthority::new(key, secrets.certificate.clone().into(), number)?;
        Some(Self {
            number,
            state,
            signer: Arc::new(signer),
            authority: Arc::new(authority),
            secrets: Arc::new(secrets),
        })
    }

    /// Reads the plain content of `file`.
    pub(super) fn from_bytes(number: KeyGeneration, plain: &[u8], file: &Path) -> Result<Self, KeyError> {
        let damaged = |why| KeyError::Damaged { file: file.to_owned(), why };
        let stored: Stored<'_> =
            postcard::from_bytes(plain).map_err(|_| damaged("its content cannot be read"))?;
        if stored.number != number {
            return Err(damaged("it is of another generation than its name says"));
        }
        let secrets = Secrets {
            alg: if stored.token_alg_is_ed25519 { Alg::EdDsa } else { Alg::Es256 },
            token_key: Zeroizing::new(stored.token_key.to_vec()),
            authority_key: Zeroizing::new(stored.authority_key.to_vec()),
            certificate: stored.certificate.to_vec(),
        };
        Self::build(number, stored.state, secrets).ok_or_else(|| damaged("its keys cannot be used"))
    }

    /// The plain content of its file.
    pub(super) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        postcard::to_stdvec(&Stored {
            number: self.number,
            state: self.state,
            token_alg_is_ed25519: self.secrets.alg == Alg::EdDsa,
            token_key: &self.secrets.token_key,
            authority_key: &self.secrets.authority_key,
            certificate: &self.secrets.certificate,
        })
        .map(Zeroizing::new)
        .map_err(|error| KeyError::Primitive(error.to_string()))
    }

    /// The same keys in another state.
    pub(super) fn in_state(&self, state: KeyState) -> Self {
        Self { state, ..self.clone() }
    }
}

fn new_pkcs8(alg: Alg) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let random = SystemRandom::new();
    let pkcs8 = match alg {
        Alg::EdDsa => Ed25519KeyPair::generate_pkcs8(&random),
        Alg::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
    };
    pkcs8
        .map(|key| Zeroizing::new(key.as_ref().to_vec()))
        .map_err(|_| KeyError::Primitive("random numbers".into()))
}
