//! I4: what is signed says what was decided, all of it, for every grant and both kinds of credential.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use common::{ISSUER, T0, delegated, grant, keys, keys_with, policy, request};
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;
use taskpass_crypto::{
    Alg, CaBundle, Expect, KeyRing, Leeway, PublicKey, TokenKeys,
    jws::{inspect_unverified, read_back},
    thumbprint,
    x509::{CrlShard, csr, lint},
};
use taskpass_types::{
    ActionName, AgentId, DecisionId, Epoch, Grant, KeyGeneration, LeaseId, Owner, PolicyRevision,
    ResourceName, SpiffeId, StatusIndex, StatusListId, TaskId, TaskPath, TenantId, Timestamp,
};

fn token_round_trip(ring: &KeyRing, grant: &Grant) -> Grant {
    let token = ring.signer().sign(ISSUER, grant).unwrap();
    assert_eq!(read_back(&token).unwrap(), *grant);
    let keys = TokenKeys::parse(ring.jwks_json().as_bytes()).unwrap();
    let expect = Expect {
        issuer: ISSUER,
        audience: Some(&grant.resource),
        now: grant.issued_at,
        leeway: Leeway::ZERO,
    };
    keys.verify(&token, &expect).unwrap()
}

fn certificate_round_trip(ring: &KeyRing, key: &csr::CsrKey, grant: &Grant) -> Grant {
    let der = ring.ca().sign(ISSUER, key, grant).unwrap();
    lint(&der, key, grant, &CrlShard::of(grant.lease).url(ISSUER, grant.key_generation)).unwrap();
    let bundle = CaBundle::from_pem(ring.ca_bundle_pem().as_bytes()).unwrap();
    bundle.verify(&[CertificateDer::from(der)], grant.issued_at, Leeway::ZERO).unwrap()
}

#[test]
fn token_with_each_algorithm_and_delegation() {
    for alg in [Alg::EdDsa, Alg::Es256] {
        let keys = keys_with(taskpass_crypto::KeyPolicy { alg, ..policy() });
        for agents in [1, 2, 8] {
            let mut grant = delegated(agents);
            grant.confirmation = Some(thumbprint::certificate(b"some certificate"));
            assert_eq!(token_round_trip(&keys.ring, &grant), grant);
        }
    }
}

#[test]
fn token_says_what_rfc_9068_and_rfc_8693_ask_for() {
    let keys = keys();
    let grant = delegated(3);
    let token = keys.ring.signer().sign(ISSUER, &grant).unwrap();
    let shown = inspect_unverified(&token).unwrap();
    assert_eq!(
        shown.header,
        serde_json::json!({"alg": "ES256", "kid": keys.ring.signer().kid(), "typ": "at+jwt"})
    );
    let claims = &shown.claims;
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], "billing-api");
    assert_eq!(claims["sub"], grant.subject.as_str());
    assert_eq!(claims["client_id"], "ci/invoice-bot-2");
    assert_eq!(claims["jti"], grant.jti());
    assert_eq!(claims["iat"], T0.as_secs());
    assert_eq!(claims["exp"], T0.as_secs() + 300);
    assert_eq!(
        claims["act"],
        serde_json::json!({"sub": "ci/invoice-bot-2", "act": {"sub": "ci/invoice-bot-1", "act": {"sub": "ci/invoice-bot-0"}}})
    );
    assert_eq!(
        claims["authorization_details"],
        serde_json::json!([{
            "type": "urn:taskpass:rar:task:v1",
            "locations": ["billing-api"],
            "actions": ["invoice:read", "invoice:write"],
        }])
    );
    assert_eq!(claims["urn:taskpass:grant"]["gen"], 1);
    assert_eq!(shown.unverified_grant, Ok(grant));
}

#[test]
fn certificate_with_each_key_and_delegation() {
    let keys = keys();
    for alg in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let key = csr::public_key(&request(&rcgen::KeyPair::generate_for(alg).unwrap())).unwrap();
        for agents in [1, 2, 8] {
            let mut grant = delegated(agents);
            assert_eq!(certificate_round_trip(&keys.ring, &key, &grant), grant);
            grant.confirmation = Some(thumbprint::key(key.public_key()));
            assert_eq!(certificate_round_trip(&keys.ring, &key, &grant), grant);
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9_-]{1,20}(/[a-z0-9_-]{1,20}){0,2}"
}

prop_compose! {
    fn any_grant()(
        agents in prop::collection::vec(name(), 1..=8),
        tenant in "[a-z0-9_-]{1,63}",
        owner in "[a-zA-Z0-9@+!#$%&(){}|~^_=?-]{1,60}",
        resource in name(),
        actions in prop::collection::btree_set("[a-z0-9:*_-]{1,20}", 1..12),
        policy in "[a-f0-9]{1,64}",
        lease: [u8; 16], decision: [u8; 16], task: [u8; 16],
        renewal: u32,
        deny_epoch in 0..3_u64,
        issued in T0.as_secs()..T0.as_secs() + 1_000_000,
        life in 1..604_800_u64,
    ) -> Grant {
        let depth = agents.len();
        let agents: Vec<_> = agents.into_iter().map(|agent| AgentId::new(agent).unwrap()).collect();
        let task_path = (1..depth).fold(TaskPath::root(TaskId::from_bytes(task)), |path, _| {
            path.child(TaskId::new()).unwrap()
        });
        // A UUIDv7 of our time begins so: a serial number without this would not be positive.
        let mut lease = lease;
        lease[0] = 1;
        let path = format!("{}/task/{}", agents.last().unwrap(), task_path.task().unwrap());
        Grant {
            tenant: TenantId::new(tenant).unwrap(),
            lease: LeaseId::from_bytes(lease),
            renewal,
            subject: SpiffeId::from_parts(&common::trust_domain(), &path).unwrap(),
            task_path,
            agents,
            owner: Owner::new(owner).unwrap(),
            resource: ResourceName::new(resource).unwrap(),
            actions: actions.into_iter().map(|action| ActionName::new(action).unwrap()).collect(),
            decision: DecisionId::from_bytes(decision),
            policy_revision: PolicyRevision::new(policy).unwrap(),
            key_generation: KeyGeneration(1),
            deny_epoch: Epoch(deny_epoch),
            confirmation: None,
            status: None,
            issued_at: Timestamp::from_secs(issued),
            expires_at: Timestamp::from_secs(issued + life),
        }
    }
}

#[test]
fn every_grant_comes_back_from_both() {
    let keys = keys();
    let key = csr::public_key(&request(&rcgen::KeyPair::generate().unwrap())).unwrap();
    proptest!(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }, |(grant in any_grant(), bound: bool, random: [u8; 12], generation in 0..=1u32, index in 0..StatusListId::SIZE)| {
        let place = StatusIndex { list: StatusListId::new(KeyGeneration(generation), random), index };
        let bound = bound.then(|| thumbprint::key(key.public_key()));
        let grant = Grant { confirmation: bound, ..grant };
        prop_assert_eq!(&token_round_trip(&keys.ring, &grant), &grant);
        let listed = Grant { status: Some(place), ..grant.clone() };
        prop_assert_eq!(&token_round_trip(&keys.ring, &listed), &listed);
        prop_assert!(keys.ring.ca().sign(ISSUER, &key, &listed).is_err(), "a certificate has no place on a status list");
        prop_assert_eq!(&certificate_round_trip(&keys.ring, &key, &grant), &grant);
    });
}

#[test]
fn no_signer_signs_a_grant_that_it_cannot_say() {
    let keys = keys();
    let key = csr::public_key(&request(&rcgen::KeyPair::generate().unwrap())).unwrap();
    let good = grant();
    let spiffe = |path: &str| SpiffeId::from_parts(&common::trust_domain(), path).unwrap();
    let actions = |names: &[&str]| names.iter().map(|name| ActionName::new(name).unwrap()).collect();
    let place = |generation, index| {
        Some(StatusIndex { list: StatusListId::new(KeyGeneration(generation), [7; 12]), index })
    };
    let bad = [
        ("no agent", Grant { agents: vec![], ..good.clone() }),
        ("nine agents", Grant { agents: vec![good.agents[0].clone(); 9], ..good.clone() }),
        ("no action", Grant { actions: vec![], ..good.clone() }),
        ("actions not sorted", Grant { actions: actions(&["b", "a"]), ..good.clone() }),
        ("an action twice", Grant { actions: actions(&["a", "a"]), ..good.clone() }),
        ("another's subject", Grant { subject: spiffe("other/task/x"), ..good.clone() }),
        ("another task", Grant { task_path: TaskPath::root(TaskId::new()), ..good.clone() }),
        ("milliseconds", Grant { issued_at: Timestamp::from_millis(T0.as_millis() + 1), ..good.clone() }),
        ("no life", Grant { expires_at: T0, ..good.clone() }),
        ("before time", Grant { issued_at: Timestamp::from_secs(0), ..good.clone() }),
        ("after time", Grant { expires_at: Timestamp::from_secs(1 << 40), ..good.clone() }),
        ("beyond its status list", Grant { status: place(1, StatusListId::SIZE), ..good.clone() }),
        ("a status list of later keys", Grant { status: place(2, 0), ..good.clone() }),
        ("another generation", Grant { key_generation: KeyGeneration(2), ..good.clone() }),
        (
            "no thumbprint",
            Grant {
                confirmation: Some(taskpass_types::Confirmation::KeyThumbprint("x".into())),
                ..good.clone()
            },
        ),
    ];
    for (what, grant) in bad {
        assert!(keys.ring.signer().sign(ISSUER, &grant).is_err(), "token: {what}");
        assert!(keys.ring.ca().sign(ISSUER, &key, &grant).is_err(), "certificate: {what}");
    }
    let elsewhere = Some(thumbprint::key(&PublicKey::Ed25519([1; 32])));
    assert!(
        keys.ring.ca().sign(ISSUER, &key, &Grant { confirmation: elsewhere, ..good.clone() }).is_err(),
        "another's key"
    );
    let after =
        Grant { expires_at: keys.ring.ca().not_after().plus(std::time::Duration::from_secs(2)), ..good };
    assert!(keys.ring.ca().sign(ISSUER, &key, &after).is_err(), "outlives the authority");
}
