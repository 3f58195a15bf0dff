//! The life of keys, with a clock that the test moves, and what a key directory must refuse.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod common;

use common::{ISSUER, Keys, T0, grant, keys, keys_with, policy, seal_key};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use taskpass_crypto::{
    Alg, CaBundle, Expect, KeyError, KeyPolicy, KeyRing, Leeway, SealKey, SignError, TokenKeys,
    keys::{KeyEvent, KeyState},
};
use taskpass_types::{Clock, Grant, KeyGeneration, ManualClock, TrustDomain};

const GEN_1: KeyGeneration = KeyGeneration(1);
const GEN_2: KeyGeneration = KeyGeneration(2);

fn reopen(keys: Keys) -> Keys {
    let Keys { ring, clock, dir } = keys;
    drop(ring);
    let ring = KeyRing::open(&dir.path().join("keys"), &seal_key(1), &clock, policy()).unwrap();
    Keys { ring, clock, dir }
}

fn states(ring: &KeyRing) -> Vec<(u32, &'static str)> {
    let word = |state| match state {
        KeyState::Active { .. } => "active",
        KeyState::Published { .. } => "published",
        KeyState::Retired { .. } => "retired",
    };
    ring.list().iter().map(|one| (one.generation.0, word(one.state))).collect()
}

#[test]
fn a_generation_is_published_waits_signs_retires_and_goes() {
    let mut keys = keys();
    let wait = policy().publish_wait;
    let tick = |keys: &Keys| keys.ring.tick(keys.clock.now()).unwrap();
    let old = keys.ring.signer();
    assert_eq!((states(&keys.ring), old.generation()), (vec![(1, "active")], GEN_1));

    assert_eq!(keys.ring.rotate(keys.clock.now()).unwrap(), GEN_2);
    assert_eq!(states(&keys.ring), [(1, "active"), (2, "published")]);
    assert_eq!(keys.ring.signer().kid(), old.kid(), "what is published does not sign yet");
    assert!(
        keys.ring.signer_of(GEN_2).is_none() && keys.ring.ca_of(GEN_2).is_none(),
        "not even when asked to"
    );
    assert!(matches!(
        keys.ring.rotate(keys.clock.now()),
        Err(KeyError::RotationPending { generation: GEN_2 })
    ));

    keys.clock.advance(wait - Duration::from_millis(1));
    assert_eq!(tick(&keys), []);
    keys = reopen(keys);
    keys.clock.advance(Duration::from_millis(1));
    assert_eq!(tick(&keys), [KeyEvent::Activated(GEN_2)]);
    assert_eq!(states(&keys.ring), [(1, "retired"), (2, "active")]);
    assert_eq!((keys.ring.signer().generation(), keys.ring.ca().generation()), (GEN_2, GEN_2));
    assert_ne!(keys.ring.signer().kid(), old.kid());
    assert_eq!(keys.ring.signer_of(GEN_1).unwrap().kid(), old.kid(), "for what was planned before");
    assert_eq!(keys.ring.ca_of(GEN_1).unwrap().generation(), GEN_1);

    keys = reopen(keys);
    assert_eq!(states(&keys.ring), [(1, "retired"), (2, "active")]);
    let expect = Expect { issuer: ISSUER, audience: None, now: T0, leeway: Leeway::ZERO };
    let verifier = TokenKeys::parse(keys.ring.jwks_json().as_bytes()).unwrap();
    assert!(
        verifier.verify(&old.sign(ISSUER, &grant()).unwrap(), &expect).is_ok(),
        "what it signed is still good"
    );

    keys.clock.advance(policy().retire_keep - Duration::from_millis(1));
    assert_eq!(tick(&keys), []);
    keys.clock.advance(Duration::from_millis(1));
    assert_eq!(tick(&keys), [KeyEvent::Removed(GEN_1)]);
    keys = reopen(keys);
    assert_eq!(states(&keys.ring), [(2, "active")]);
    assert!(keys.ring.signer_of(GEN_1).is_none() && keys.ring.ca_of(GEN_1).is_none());
    let verifier = TokenKeys::parse(keys.ring.jwks_json().as_bytes()).unwrap();
    assert_eq!(
        verifier.verify(&old.sign(ISSUER, &grant()).unwrap(), &expect).unwrap_err().code(),
        "key_unknown"
    );
}

#[test]
fn an_old_generation_is_replaced_by_itself() {
    let keys = keys();
    keys.clock.advance(policy().rotate_after - Duration::from_millis(1));
    assert_eq!(keys.ring.tick(keys.clock.now()).unwrap(), []);
    keys.clock.advance(Duration::from_millis(1));
    assert_eq!(keys.ring.tick(keys.clock.now()).unwrap(), [KeyEvent::Published(GEN_2)]);
    assert_eq!(keys.ring.tick(keys.clock.now()).unwrap(), [], "once");
    // Through three years: never two active ones, never an authority that has ended, never more than four.
    for _ in 0..3 * 365 * 4 {
        keys.clock.advance(Duration::from_secs(6 * 3600));
        keys.ring.tick(keys.clock.now()).unwrap();
        let states = states(&keys.ring);
        assert_eq!(states.iter().filter(|(_, state)| *state == "active").count(), 1, "{states:?}");
        assert!(states.len() <= 4, "{states:?}");
        assert!(keys.ring.ca().not_after() > keys.clock.now().plus(policy().retire_keep));
    }
}

#[test]
fn a_stolen_key_is_replaced_at_once() {
    let keys = keys();
    assert_eq!(keys.ring.activate_now(T0).unwrap(), None);
    keys.ring.rotate(T0).unwrap();
    assert_eq!(keys.ring.activate_now(T0).unwrap(), Some(GEN_2));
    assert_eq!(keys.ring.signer().generation(), GEN_2);
    let stale = keys.ring.signer().sign(ISSUER, &grant());
    assert!(matches!(stale, Err(SignError::GenerationDiffers { .. })), "a grant of the old generation");
    assert!(keys.ring.signer().sign(ISSUER, &Grant { key_generation: GEN_2, ..grant() }).is_ok());
}

#[test]
fn at_most_four_generations_are_published() {
    let keys = keys();
    for _ in 0..3 {
        keys.ring.rotate(T0).unwrap();
        keys.ring.activate_now(T0).unwrap();
    }
    assert!(matches!(keys.ring.rotate(T0), Err(KeyError::Full)));
    let jwks: serde_json::Value = serde_json::from_str(&keys.ring.jwks_json()).unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 4);
    for key in jwks["keys"].as_array().unwrap() {
        assert_eq!((&key["use"], &key["alg"], &key["kty"]), (&"sig".into(), &"ES256".into(), &"EC".into()));
        assert!(key.get("d").is_none());
    }
    assert!(CaBundle::from_pem(keys.ring.ca_bundle_pem().as_bytes()).is_ok());
}

#[test]
fn a_crash_between_two_writes_leaves_one_active_generation() {
    let keys = keys();
    let first = file(&keys, GEN_1);
    let before = fs::read(&first).unwrap();
    keys.ring.rotate(T0).unwrap();
    keys.ring.activate_now(T0).unwrap();
    // As if the power had failed before the old one was retired on disk, and while another file was being written.
    fs::write(&first, before).unwrap();
    let unfinished = first.with_extension("key.unfinished");
    fs::write(&unfinished, b"half").unwrap();
    let keys = reopen(keys);
    assert_eq!(states(&keys.ring), [(1, "retired"), (2, "active")]);
    assert!(!unfinished.exists());
}

#[test]
fn a_new_algorithm_comes_with_the_next_generation() {
    let keys = keys();
    let Keys { ring, clock, dir } = keys;
    drop(ring);
    let path = dir.path().join("keys");
    let ring = KeyRing::open(&path, &seal_key(1), &clock, KeyPolicy { alg: Alg::EdDsa, ..policy() }).unwrap();
    assert_eq!(ring.signer().alg(), Alg::Es256);
    ring.rotate(T0).unwrap();
    ring.activate_now(T0).unwrap();
    assert_eq!(ring.signer().alg(), Alg::EdDsa);
    drop(ring);
    let ring = KeyRing::open(&path, &seal_key(1), &clock, policy()).unwrap();
    assert_eq!(ring.signer().alg(), Alg::EdDsa);
}

fn file(keys: &Keys, generation: KeyGeneration) -> PathBuf {
    keys.dir.path().join(format!("keys/generation-{:010}.key", generation.0))
}

fn open_error(dir: &Path, seal: &SealKey, policy: KeyPolicy) -> KeyError {
    match KeyRing::open(dir, seal, &ManualClock::new(T0), policy) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

#[test]
fn files_are_private_sealed_and_locked() {
    let keys = keys();
    let dir = keys.dir.path().join("keys");
    let path = file(&keys, GEN_1);
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let sealed = fs::read(&path).unwrap();
    assert!(
        !sealed.windows(8).any(|window| window == b"Taskpass"),
        "the certificate's text shows: not sealed"
    );
    assert!(matches!(open_error(&dir, &seal_key(1), policy()), KeyError::InUse { .. }));
    drop(keys.ring);

    assert!(matches!(open_error(&dir, &seal_key(2), policy()), KeyError::SealKeyWrong { .. }));
    let other = KeyPolicy { trust_domain: TrustDomain::new("other.test").unwrap(), ..policy() };
    assert!(matches!(open_error(&dir, &seal_key(1), other), KeyError::TrustDomainDiffers { .. }));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = open_error(&dir, &seal_key(1), policy());
    assert!(matches!(error, KeyError::PermissionsTooOpen { mode: 0o640, .. }));
    assert!(error.to_string().contains("chmod go= "), "{error}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(
        open_error(&dir, &seal_key(1), policy()),
        KeyError::PermissionsTooOpen { mode: 0o750, .. }
    ));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let keys = keys();
    let (dir, path) = (keys.dir.path().join("keys"), file(&keys, GEN_1));
    drop(keys.ring);
    let good = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).unwrap();
        let error = open_error(&dir, &seal_key(1), policy());
        let expected = matches!(
            error,
            KeyError::Damaged { .. } | KeyError::SealKeyWrong { .. } | KeyError::VersionUnknown { .. }
        );
        assert!(expected, "{what}: {error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{what}: {error}");
    };
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes, format!("byte {at}"));
    }
    for len in (0..good.len()).step_by(7) {
        refused(&good[..len], format!("cut to {len}"));
    }
    refused(&[&good[..], &[0]].concat(), "longer".into());
    refused(&vec![0; 1 << 20], "huge".into());

    fs::rename(&path, path.with_file_name("generation-0000000002.key")).unwrap();
    fs::write(path.with_file_name("generation-0000000002.key"), &good).unwrap();
    assert!(
        matches!(open_error(&dir, &seal_key(1), policy()), KeyError::Damaged { .. }),
        "under another name"
    );
}

#[test]
fn a_directory_whose_active_key_is_gone_does_not_start_anew() {
    let keys = keys();
    keys.ring.rotate(T0).unwrap();
    let path = file(&keys, GEN_1);
    let dir = keys.dir.path().join("keys");
    drop(keys.ring);
    fs::remove_file(path).unwrap();
    assert!(matches!(open_error(&dir, &seal_key(1), policy()), KeyError::NoActiveKey { .. }));
}

#[test]
fn an_impossible_policy_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(24 * 3600);
    for bad in [
        KeyPolicy { authority_life: 30 * day, ..policy() },
        KeyPolicy { rotate_after: day, ..policy() },
        KeyPolicy { rotate_after: Duration::MAX, ..policy() },
    ] {
        let error = open_error(&dir.path().join("keys"), &seal_key(1), bad);
        assert!(matches!(error, KeyError::PolicyInvalid(_)), "{error}");
    }
}

#[test]
fn a_seal_key_has_32_bytes_in_one_of_three_forms() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seal.key");
    let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let raw: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&key[2 * i..2 * i + 2], 16).unwrap()).collect();
    let keys_dir = dir.path().join("keys");
    drop(
        KeyRing::open(&keys_dir, &SealKey::from_env_value(key).unwrap(), &ManualClock::new(T0), policy())
            .unwrap(),
    );
    let base64 = "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=";
    let url = base64.replace('/', "_");
    let forms =
        [raw.clone(), key.into(), format!("{key}\n").into(), base64.into(), url.trim_end_matches('=').into()];
    for form in forms {
        fs::write(&path, &form).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        for seal in [SealKey::from_file(&path), SealKey::from_credentials_dir(dir.path(), "seal.key")] {
            assert!(
                KeyRing::open(&keys_dir, &seal.unwrap(), &ManualClock::new(T0), policy()).is_ok(),
                "{form:?}"
            );
        }
        fs::remove_file(&path).unwrap();
    }
    let bad: [&[u8]; 8] = [
        b"",
        &raw[..31],
        &[&raw[..], &[0]].concat(),
        &key.as_bytes()[1..],
        &[0; 32],
        &[b'0'; 64],
        &[b'+'; 64],
        &[b'x'; 5000],
    ];
    for bad in bad {
        fs::write(&path, bad).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(SealKey::from_file(&path).is_err(), "{bad:?}");
    }
    fs::write(&path, &raw).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(SealKey::from_file(&path), Err(KeyError::PermissionsTooOpen { mode: 0o644, .. })));
    let credential = || SealKey::from_credentials_dir(dir.path(), "seal.key");
    assert!(matches!(credential(), Err(KeyError::PermissionsTooOpen { mode: 0o644, .. })));
    // As systemd hands a credential to a unit with `User=`.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(credential().is_ok());
    assert!(matches!(SealKey::from_file(&path), Err(KeyError::PermissionsTooOpen { mode: 0o440, .. })));
    assert!(SealKey::from_file(dir.path()).is_err(), "a directory");
    assert!(matches!(SealKey::from_file(&dir.path().join("none")), Err(KeyError::Io { .. })));
    for name in ["", ".", "..", "../seal.key", "a/b"] {
        assert!(SealKey::from_credentials_dir(dir.path(), name).is_err(), "{name:?}");
    }
}

#[test]
fn a_generated_seal_key_is_new_private_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seal.key");
    let made = SealKey::generate_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(matches!(SealKey::generate_file(&path), Err(KeyError::Io { .. })));
    let keys_dir = dir.path().join("keys");
    drop(KeyRing::open(&keys_dir, &made, &ManualClock::new(T0), policy()).unwrap());
    let read = SealKey::from_file(&path).unwrap();
    assert!(KeyRing::open(&keys_dir, &read, &ManualClock::new(T0), policy()).is_ok());
    let other = SealKey::generate_file(&dir.path().join("other")).unwrap();
    assert!(matches!(open_error(&keys_dir, &other, policy()), KeyError::SealKeyWrong { .. }));
}

#[test]
fn an_eddsa_ring_publishes_an_okp_key() {
    let keys = keys_with(KeyPolicy { alg: Alg::EdDsa, ..policy() });
    let jwks: serde_json::Value = serde_json::from_str(&keys.ring.jwks_json()).unwrap();
    let key = &jwks["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&"OKP".into(), &"Ed25519".into(), &"EdDSA".into()));
    assert_eq!(key["kid"], keys.ring.signer().kid());
    assert!(key.get("y").is_none());
}

#[test]
fn a_fleet_signs_with_the_same_keys_and_no_stranger_brings_others() {
    let (ours, theirs) = (keys(), keys());
    assert_ne!(ours.ring.signer().kid(), theirs.ring.signer().kid());
    ours.ring.rotate(ours.clock.now()).unwrap();
    let sealed = ours.ring.to_sealed().unwrap();
    theirs.ring.take_up_sealed(&sealed).unwrap();
    assert_eq!(theirs.ring.list(), ours.ring.list());
    assert_eq!(theirs.ring.jwks_json(), ours.ring.jwks_json());
    let theirs = reopen(theirs);
    assert_eq!(theirs.ring.list(), ours.ring.list(), "it is on their disk, too");

    // What has one generation less takes that one away.
    let alone = keys();
    let one = alone.ring.to_sealed().unwrap();
    theirs.ring.take_up_sealed(&one).unwrap();
    assert_eq!(theirs.ring.list(), alone.ring.list());

    let before = theirs.ring.list();
    let stranger = {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::open(&dir.path().join("keys"), &seal_key(2), &ours.clock, policy()).unwrap();
        ring.to_sealed().unwrap()
    };
    let foreign = KeyPolicy::new(TrustDomain::new("foreign.test").unwrap());
    let foreign = keys_with(foreign).ring.to_sealed().unwrap();
    for wrong in [stranger, foreign, Vec::new(), vec![0], one[..one.len() - 1].to_vec(), vec![0xff; 70_000]] {
        assert!(theirs.ring.take_up_sealed(&wrong).is_err());
        assert_eq!(theirs.ring.list(), before);
    }
}

#[test]
fn all_keys_can_be_given_up_at_once_however_many_there_are() {
    let mut keys = keys();
    keys.ring.rotate(keys.clock.now()).unwrap();
    for number in 3..10 {
        let old = keys.ring.signer();
        assert_eq!(keys.ring.replace_all(keys.clock.now()).unwrap(), KeyGeneration(number));
        assert_eq!(states(&keys.ring), [(number, "active")]);
        assert_ne!(keys.ring.signer().kid(), old.kid());
        assert!(!keys.ring.jwks_json().contains(old.kid()));
        keys = reopen(keys);
        assert_eq!(states(&keys.ring), [(number, "active")]);
    }
}
