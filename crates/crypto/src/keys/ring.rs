//! The ring of generations: who signs now, what verifiers may trust, what comes next.
//!
//! Readers take a snapshot and never wait. A change is durable on disk before the snapshot shows it.

use super::{
    KeyError, KeyPolicy, KeyState, MAX_GENERATIONS, SealKey,
    directory::KeyDirectory,
    generation::{Due, Generation},
};
use crate::{Alg, TokenKeys, TokenSigner, jws::render_jwks, x509::CertificateAuthority};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::{path::Path, sync::Arc};
use taskpass_types::{Clock, KeyGeneration, Timestamp};

/// Something that happens to a generation; for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEvent {
    /// It signs from now on; the one before is retired.
    Activated(KeyGeneration),
    /// Verifiers may fetch it from now on.
    Published(KeyGeneration),
    /// It and its file are gone.
    Removed(KeyGeneration),
}

/// What may be told about a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its number.
    pub generation: KeyGeneration,
    /// Where it is in its life.
    pub state: KeyState,
    /// The name of its token key.
    pub kid: String,
    /// The algorithm of its token key.
    pub alg: Alg,
    /// The last second in which its certificate authority is valid.
    pub authority_not_after: Timestamp,
}

/// The signing keys of one broker.
pub struct KeyRing {
    directory: KeyDirectory,
    policy: KeyPolicy,
    /// Held by whoever changes the ring, from reading the snapshot to storing the next.
    pub(super) change: Mutex<()>,
    snapshot: ArcSwap<Snapshot>,
}

/// One moment of the ring.
struct Snapshot {
    /// By number.
    generations: Vec<Generation>,
    signer: Arc<TokenSigner>,
    authority: Arc<CertificateAuthority>,
    jwks: Arc<str>,
    token_keys: Arc<TokenKeys>,
    bundle_pem: Arc<str>,
}

impl Snapshot {
    /// `None` without an active generation.
    fn new(generations: Vec<Generation>) -> Result<Option<Self>, KeyError> {
        let Some(active) = generations.iter().find(|one| matches!(one.state, KeyState::Active { .. })) else {
            return Ok(None);
        };
        let jwks = render_jwks(generations.iter().map(|one| one.signer.as_ref()))
            .map_err(|error| KeyError::Primitive(error.to_string()))?;
        let token_keys =
            TokenKeys::parse(jwks.as_bytes()).map_err(|error| KeyError::Primitive(error.to_string()))?;
        let bundle_pem: String = generations.iter().map(|one| one.authority.certificate_pem()).collect();
        let (signer, authority) = (active.signer.clone(), active.authority.clone());
        Ok(Some(Self {
            signer,
            authority,
            jwks: jwks.into(),
            token_keys: Arc::new(token_keys),
            bundle_pem: bundle_pem.into(),
            generations,
        }))
    }

    /// The generation of this number, unless verifiers may not have fetched it yet.
    fn once_active(&self, number: KeyGeneration) -> Option<&Generation> {
        let has_signed = |one: &&Generation| !matches!(one.state, KeyState::Published { .. });
        self.generations.iter().find(|one| one.number == number).filter(has_signed)
    }
}

impl KeyRing {
    /// Opens the keys in `dir`, sealed with `seal`; makes the directory and the first generation, active at once, if
    /// there is none. Nobody else can open it until this ring is dropped.
    pub fn open(dir: &Path, seal: &SealKey, clock: &dyn Clock, policy: KeyPolicy) -> Result<Self, KeyError> {
        Self::open_announced(dir, seal, clock, policy, |_| {})
    }

    /// The same; `announce` is told of the first generation before it is made.
    pub fn open_announced(
        dir: &Path,
        seal: &SealKey,
        clock: &dyn Clock,
        policy: KeyPolicy,
        announce: impl FnOnce(KeyGeneration),
    ) -> Result<Self, KeyError> {
        policy.check()?;
        let now = clock.now();
        let directory = KeyDirectory::open(dir, seal)?;
        let mut generations = Vec::new();
        for number in directory.generations()? {
            generations.push(Generation::from_bytes(
                number,
                &directory.read(number)?,
                &directory.file(number),
            )?);
        }
        if generations.is_empty() {
            announce(KeyGeneration(1));
            let first = Generation::create(KeyGeneration(1), KeyState::Active { since: now }, &policy, now)?;
            directory.write(first.number, &first.to_bytes()?)?;
            generations.push(first);
        }
        check_trust_domain(dir, &generations, &policy)?;
        finish_hand_over(&directory, &mut generations)?;
        let snapshot = Snapshot::new(generations)?
            .ok_or_else(|| KeyError::NoActiveKey { dir: directory.path().to_owned() })?;
        Ok(Self { directory, policy, change: Mutex::new(()), snapshot: ArcSwap::from_pointee(snapshot) })
    }

    /// What signs tokens now.
    pub fn signer(&self) -> Arc<TokenSigner> {
        self.snapshot.load().signer.clone()
    }

    /// What signs certificates now.
    pub fn ca(&self) -> Arc<CertificateAuthority> {
        self.snapshot.load().authority.clone()
    }

    /// What signs tokens for a lease that was planned when `generation` was active, even if another one took over in
    /// between: such a lease ends before the generation is gone. `None` when it is gone, or has never been active.
    pub fn signer_of(&self, generation: KeyGeneration) -> Option<Arc<TokenSigner>> {
        self.snapshot.load().once_active(generation).map(|one| one.signer.clone())
    }

    /// What signs certificates for such a lease.
    pub fn ca_of(&self, generation: KeyGeneration) -> Option<Arc<CertificateAuthority>> {
        self.snapshot.load().once_active(generation).map(|one| one.authority.clone())
    }

    /// The public token keys of all generations as a JWKS (RFC 7517), with `kid`, `use` and `alg`.
    pub fn jwks_json(&self) -> Arc<str> {
        self.snapshot.load().jwks.clone()
    }

    /// The same, ready to check a token that came back.
    pub fn token_keys(&self) -> Arc<TokenKeys> {
        self.snapshot.load().token_keys.clone()
    }

    /// The certificates of the authorities of all generations, in PEM.
    pub fn ca_bundle_pem(&self) -> Arc<str> {
        self.snapshot.load().bundle_pem.clone()
    }

    /// The certificates of the authorities of all generations, in DER.
    pub fn ca_certificates(&self) -> Vec<Vec<u8>> {
        let generations = &self.snapshot.load().generations;
        generations.iter().map(|one| one.authority.certificate_der().to_vec()).collect()
    }

    /// The authorities of all generations, oldest first: each answers for what it signed until it is gone.
    pub fn authorities(&self) -> Vec<Arc<CertificateAuthority>> {
        self.snapshot.load().generations.iter().map(|one| one.authority.clone()).collect()
    }

    /// All generations, oldest first.
    pub fn list(&self) -> Vec<KeyInfo> {
        let info = |one: &Generation| KeyInfo {
            generation: one.number,
            state: one.state,
            kid: one.signer.kid().to_owned(),
            alg: one.signer.alg(),
            authority_not_after: one.authority.not_after(),
        };
        self.snapshot.load().generations.iter().map(info).collect()
    }

    /// Makes and publishes the next generation; it will sign when [`KeyRing::tick`] finds the publish wait over.
    ///
    /// Refuses while another one waits, and when four are published already.
    pub fn rotate(&self, now: Timestamp) -> Result<KeyGeneration, KeyError> {
        let _change = self.change.lock();
        self.publish(now)
    }

    /// Makes the published generation sign at once, without the rest of the wait: for a key that may be stolen.
    /// Verifiers that have not fetched it refuse what it signs until they do. `None` when none is published.
    pub fn activate_now(&self, now: Timestamp) -> Result<Option<KeyGeneration>, KeyError> {
        let _change = self.change.lock();
        let generations = &self.snapshot.load().generations;
        let published = generations.iter().find(|one| matches!(one.state, KeyState::Published { .. }));
        published.map(|one| self.activate(one.number, now).map(|()| one.number)).transpose()
    }

    /// Makes a new generation that signs at once, and gives up all others: for when nothing counts any more that they
    /// signed. So there is always room for it.
    pub fn replace_all(&self, now: Timestamp) -> Result<KeyGeneration, KeyError> {
        let _change = self.change.lock();
        let before = self.snapshot.load().generations.clone();
        let newest = before.last().map_or(0, |one| one.number.0);
        let number = KeyGeneration(newest.checked_add(1).ok_or(KeyError::Full)?);
        let next = Generation::create(number, KeyState::Active { since: now }, &self.policy, now)?;
        self.directory.write(number, &next.to_bytes()?)?;
        self.show(vec![next])?;
        // What a crash leaves here is retired at the next start, and goes in its time.
        before.iter().try_for_each(|one| self.directory.remove(one.number))?;
        Ok(number)
    }

    /// What time asks for: to activate what was published long enough, to remove what was retired long enough, and to
    /// publish a next generation when the active one is old. By number, so that the oldest is gone before a new one needs
    /// its place.
    pub fn due(&self, now: Timestamp) -> Vec<KeyEvent> {
        let snapshot = self.snapshot.load();
        let generations = &snapshot.generations;
        let mut room = MAX_GENERATIONS.saturating_sub(generations.len());
        let is_pending = generations.iter().any(|one| matches!(one.state, KeyState::Published { .. }));
        let next = generations.last().and_then(|one| one.number.0.checked_add(1)).map(KeyGeneration);
        let mut due = Vec::new();
        for one in generations {
            due.extend(match one.state.due(&self.policy, now) {
                Due::Activate => Some(KeyEvent::Activated(one.number)),
                Due::Remove => {
                    room += 1;
                    Some(KeyEvent::Removed(one.number))
                }
                Due::Replace if !is_pending && room > 0 => next.map(KeyEvent::Published),
                Due::Nothing | Due::Replace => None,
            });
        }
        due
    }

    /// Does one thing that is [due](KeyRing::due).
    pub fn carry_out(&self, event: KeyEvent, now: Timestamp) -> Result<(), KeyError> {
        let _change = self.change.lock();
        match event {
            KeyEvent::Activated(number) => self.activate(number, now),
            KeyEvent::Published(_) => self.publish(now).map(drop),
            KeyEvent::Removed(number) => self.remove(number),
        }
    }

    /// Does everything that is due. To be called often; it is cheap when there is nothing.
    pub fn tick(&self, now: Timestamp) -> Result<Vec<KeyEvent>, KeyError> {
        let due = self.due(now);
        due.iter().try_for_each(|event| self.carry_out(*event, now))?;
        Ok(due)
    }

    fn publish(&self, now: Timestamp) -> Result<KeyGeneration, KeyError> {
        let mut generations = self.snapshot.load().generations.clone();
        if let Some(pending) = generations.iter().find(|one| matches!(one.state, KeyState::Published { .. }))
        {
            return Err(KeyError::RotationPending { generation: pending.number });
        }
        if generations.len() >= MAX_GENERATIONS {
            return Err(KeyError::Full);
        }
        let newest = generations.last().map_or(0, |one| one.number.0);
        let number = KeyGeneration(newest.checked_add(1).ok_or(KeyError::Full)?);
        let next = Generation::create(number, KeyState::Published { at: now }, &self.policy, now)?;
        self.directory.write(number, &next.to_bytes()?)?;
        generations.push(next);
        self.show(generations)?;
        Ok(number)
    }

    /// The new one is made active on disk before the old one is retired there: a crash between the two leaves two
    /// active ones, which [`finish_hand_over`] resolves, and never none.
    fn activate(&self, number: KeyGeneration, now: Timestamp) -> Result<(), KeyError> {
        let mut generations = self.snapshot.load().generations.clone();
        for one in generations.iter_mut().filter(|one| one.number == number) {
            *one = one.in_state(KeyState::Active { since: now });
            self.directory.write(one.number, &one.to_bytes()?)?;
        }
        finish_hand_over(&self.directory, &mut generations)?;
        self.show(generations)
    }

    fn remove(&self, number: KeyGeneration) -> Result<(), KeyError> {
        self.directory.remove(number)?;
        let mut generations = self.snapshot.load().generations.clone();
        generations.retain(|one| one.number != number);
        self.show(generations)
    }

    pub(super) fn directory(&self) -> &KeyDirectory {
        &self.directory
    }

    /// Whether these generations may be ours.
    pub(super) fn check(&self, generations: &[Generation]) -> Result<(), KeyError> {
        check_trust_domain(self.directory.path(), generations, &self.policy)?;
        match Snapshot::new(generations.to_vec())? {
            Some(_) => Ok(()),
            None => Err(KeyError::NoActiveKey { dir: self.directory.path().to_owned() }),
        }
    }

    pub(super) fn show(&self, generations: Vec<Generation>) -> Result<(), KeyError> {
        let snapshot = Snapshot::new(generations)?
            .ok_or_else(|| KeyError::NoActiveKey { dir: self.directory.path().to_owned() })?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }
}

/// Retires every active generation but the newest, at the moment when the newest took over.
fn finish_hand_over(directory: &KeyDirectory, generations: &mut [Generation]) -> Result<(), KeyError> {
    let mut taken_over = None;
    for one in generations.iter_mut().rev() {
        let KeyState::Active { since } = one.state else { continue };
        if let Some(at) = taken_over {
            *one = one.in_state(KeyState::Retired { at });
            directory.write(one.number, &one.to_bytes()?)?;
        } else {
            taken_over = Some(since);
        }
    }
    Ok(())
}

fn check_trust_domain(dir: &Path, generations: &[Generation], policy: &KeyPolicy) -> Result<(), KeyError> {
    let certificates: Vec<_> =
        generations.iter().map(|one| one.authority.certificate_der().clone()).collect();
    match crate::CaBundle::from_der(&certificates) {
        Ok(bundle) if *bundle.trust_domain() == policy.trust_domain => Ok(()),
        Ok(bundle) => Err(KeyError::TrustDomainDiffers {
            dir: dir.to_owned(),
            found: bundle.trust_domain().to_string(),
        }),
        Err(error) => Err(KeyError::Primitive(error.to_string())),
    }
}
