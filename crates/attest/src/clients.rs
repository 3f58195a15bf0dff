//! Clients of the OAuth endpoints that prove who they are by a signed assertion.
//!
//! Invariants: one assertion is good for one request: its id is remembered until nobody would accept it any more, and when
//! a client has used up what can be remembered of it, it waits, and nothing is forgotten early. The ids of one client take
//! no place from those of another. Only the keys that an operator registered count.

use crate::{Identity, Selector, digest};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use taskpass_crypto::{TokenError, TokenKeys, jws::unverified_client};
use taskpass_types::Timestamp;

/// Ids that are remembered of one client: some 200 requests a second with assertions of five minutes, and more with
/// shorter ones.
const MAX_IDS: usize = 65_536;
/// For so long callers keep the same identity, so that what was looked up for it is not looked up for every request.
const IDENTITY_LIFE: Duration = Duration::from_secs(60);

/// Why an assertion proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// It is no good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nobody registered this client.
    #[error("no such client is registered")]
    Unknown,
    /// It was used before.
    #[error("the assertion was used before: make one for every request")]
    Replayed,
    /// No more of this client can be remembered.
    #[error("the client has used too many assertions in a short time: give them a shorter life, or wait")]
    TooMany,
}

/// The registered clients.
pub struct Clients {
    known: ArcSwap<HashMap<String, Arc<Known>>>,
    used: Mutex<HashMap<String, Used>>,
    most: usize,
}

struct Known {
    selector: Selector,
    keys: TokenKeys,
    digest: String,
    identity: Mutex<Option<Arc<Identity>>>,
}

/// The ids that one client used, and until when they count.
#[derive(Default)]
struct Used {
    ids: HashMap<String, Timestamp>,
    /// Nothing can be forgotten before.
    next: Timestamp,
}

impl Default for Clients {
    fn default() -> Self {
        Self { known: ArcSwap::default(), used: Mutex::default(), most: MAX_IDS }
    }
}

impl Clients {
    /// Puts other clients in the place of those before: a name, and the JWK set of its public keys as a text. What names
    /// that stay have used stays used.
    ///
    /// # Errors
    /// What is wrong, of which client; then nothing has changed.
    pub fn replace(&self, clients: &[(String, String)]) -> Result<(), String> {
        let mut known = HashMap::with_capacity(clients.len());
        for (name, jwks) in clients {
            let selector = Selector::client(name).map_err(|error| error.to_string())?;
            let keys = TokenKeys::parse(jwks.as_bytes())
                .map_err(|error| format!("the keys of client `{name}`: {error}"))?;
            let digest = digest::hex(&digest::of_parts([name.as_bytes(), jwks.as_bytes()]));
            let one = Known { selector, keys, digest, identity: Mutex::default() };
            known.insert(name.clone(), Arc::new(one));
        }
        self.used.lock().retain(|name, _| known.contains_key(name));
        self.known.store(Arc::new(known));
        Ok(())
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.known.load().is_empty()
    }

    /// Whose assertion it is, for one of `audiences`. `said` is what the request says besides about who asks, if it does.
    ///
    /// # Errors
    /// Why it proves nothing; not for whoever sent it, who could learn from it which clients there are.
    pub fn identify(
        &self,
        assertion: &str,
        said: Option<&str>,
        audiences: &[&str],
        now: Timestamp,
    ) -> Result<Arc<Identity>, Unproven> {
        let name = unverified_client(assertion)?;
        if said.is_some_and(|said| said != name) {
            return Err(TokenError::IssuerMismatch.into());
        }
        let known = self.known.load().get(&name).cloned().ok_or(Unproven::Unknown)?;
        let assertion = known.keys.verify_assertion(assertion, &name, audiences, now)?;
        self.used.lock().entry(name).or_default().take(assertion.id, assertion.forget_at, now, self.most)?;
        Ok(known.identity(now))
    }
}

impl Used {
    fn take(
        &mut self,
        id: String,
        forget_at: Timestamp,
        now: Timestamp,
        most: usize,
    ) -> Result<(), Unproven> {
        if self.ids.get(&id).is_some_and(|until| now < *until) {
            return Err(Unproven::Replayed);
        }
        if self.ids.len() >= most && self.next <= now {
            self.ids.retain(|_, until| now < *until);
            self.next = self.ids.values().min().copied().unwrap_or_default();
        }
        if self.ids.len() >= most {
            return Err(Unproven::TooMany);
        }
        if self.ids.is_empty() || forget_at < self.next {
            self.next = forget_at;
        }
        self.ids.insert(id, forget_at);
        Ok(())
    }
}

impl Known {
    fn identity(&self, now: Timestamp) -> Arc<Identity> {
        let mut held = self.identity.lock();
        if let Some(identity) = held.as_ref().filter(|identity| identity.verified_at <= now)
            && now < identity.verified_at.plus(IDENTITY_LIFE / 2)
        {
            return identity.clone();
        }
        let identity = Arc::new(Identity {
            selectors: BTreeSet::from([self.selector.clone()]),
            spiffe_id: None,
            confirmation: None,
            description: self.selector.to_string(),
            evidence_digest: self.digest.clone(),
            verified_at: now,
            expires_at: now.plus(IDENTITY_LIFE),
        });
        *held = Some(identity.clone());
        identity
    }
}

#[cfg(test)]
mod tests;
