//! What the tests share: a ring in a temporary directory, grants, requests.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::time::Duration;
use taskpass_crypto::{KeyPolicy, KeyRing, SealKey};
use taskpass_types::{
    ActionName, AgentId, DecisionId, Epoch, Grant, KeyGeneration, LeaseId, ManualClock, Owner,
    PolicyRevision, ResourceName, SpiffeId, TaskId, TaskPath, TenantId, Timestamp, TrustDomain,
};

pub(crate) const ISSUER: &str = "https://taskpass.acme.test";
pub(crate) const T0: Timestamp = Timestamp::from_secs(1_790_000_000);

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::new("acme.test").unwrap()
}

pub(crate) fn policy() -> KeyPolicy {
    KeyPolicy::new(trust_domain())
}

pub(crate) fn seal_key(byte: u8) -> SealKey {
    SealKey::from_env_value(&format!("{byte:02x}{}", "5a".repeat(31))).unwrap()
}

/// A ring with one generation, and the directory that it lives in.
pub(crate) struct Keys {
    pub(crate) ring: KeyRing,
    pub(crate) clock: ManualClock,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn keys_with(policy: KeyPolicy) -> Keys {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(T0);
    let ring = KeyRing::open(&dir.path().join("keys"), &seal_key(1), &clock, policy).unwrap();
    Keys { ring, clock, dir }
}

pub(crate) fn keys() -> Keys {
    keys_with(policy())
}

pub(crate) fn grant() -> Grant {
    delegated(1)
}

/// A grant whose authority passed through `count` agents.
pub(crate) fn delegated(count: usize) -> Grant {
    let task = TaskId::new();
    let path = (1..count).fold(TaskPath::root(TaskId::new()), |path, _| path.child(TaskId::new()).unwrap());
    let path = if count == 1 { TaskPath::root(task) } else { path };
    let agents: Vec<_> = (0..count).map(|i| AgentId::new(format!("ci/invoice-bot-{i}")).unwrap()).collect();
    let holder = agents.last().unwrap();
    let subject =
        SpiffeId::from_parts(&trust_domain(), &format!("{holder}/task/{}", path.task().unwrap())).unwrap();
    Grant {
        tenant: TenantId::default(),
        lease: LeaseId::new(),
        renewal: 0,
        task_path: path,
        agents,
        owner: Owner::new("maya@acme.test").unwrap(),
        subject,
        resource: ResourceName::new("billing-api").unwrap(),
        actions: ["invoice:read", "invoice:write"].map(|action| ActionName::new(action).unwrap()).to_vec(),
        decision: DecisionId::new(),
        policy_revision: PolicyRevision::new("a1b2c3d4e5f6").unwrap(),
        key_generation: KeyGeneration(1),
        deny_epoch: Epoch::default(),
        confirmation: None,
        status: None,
        issued_at: T0,
        expires_at: T0.plus(Duration::from_secs(300)),
    }
}

/// A request in DER for `key` that asks for nothing.
pub(crate) fn request(key: &rcgen::KeyPair) -> Vec<u8> {
    rcgen::CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}
