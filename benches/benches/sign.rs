//! What is signed, and what checks it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark may panic; criterion's macros make public items"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::{hint::black_box, time::Duration};
use taskpass_bench::fixtures;
use taskpass_crypto::{
    CaBundle, Expect, KeyPolicy, KeyRing, Leeway, SealKey, TokenKeys, jws,
    x509::{self, CrlScope, CrlTerms, Revoked},
};
use taskpass_types::{Clock as _, EndReason, LeaseId, SystemClock};

fn sign(criterion: &mut Criterion) {
    let (dir, clock) = (tempfile::tempdir().unwrap(), SystemClock::default());
    let seal = SealKey::generate_file(&dir.path().join("seal")).unwrap();
    let policy = KeyPolicy::new(fixtures::trust_domain().unwrap());
    let ring = KeyRing::open(&dir.path().join("keys"), &seal, &clock, policy).unwrap();
    let grant = fixtures::grant(clock.now()).unwrap();

    let signer = ring.signer();
    let token = signer.sign(fixtures::ISSUER, &grant).unwrap();
    criterion.bench_function("jws/sign", |b| b.iter(|| signer.sign(fixtures::ISSUER, black_box(&grant))));
    criterion.bench_function("jws/read back", |b| b.iter(|| jws::read_back(black_box(&token))));
    let keys = TokenKeys::parse(ring.jwks_json().as_bytes()).unwrap();
    let expect = Expect {
        issuer: fixtures::ISSUER,
        audience: Some(&grant.resource),
        now: clock.now(),
        leeway: Leeway::MAX,
    };
    criterion.bench_function("jws/verify", |b| b.iter(|| keys.verify(black_box(&token), &expect).unwrap()));

    let request = rcgen::CertificateParams::default();
    let request = request.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = x509::csr::public_key(request.der()).unwrap();
    let ca = ring.ca();
    criterion.bench_function("x509/request", |b| b.iter(|| x509::csr::public_key(black_box(request.der()))));
    criterion.bench_function("x509/sign", |b| {
        b.iter(|| ca.sign(fixtures::ISSUER, black_box(&key), &grant).unwrap())
    });
    let leaf = [ca.sign(fixtures::ISSUER, &key, &grant).unwrap().into()];
    let authorities: Vec<_> = ring.ca_certificates().into_iter().map(Into::into).collect();
    let bundle = CaBundle::from_der(&authorities).unwrap();
    criterion.bench_function("x509/verify", |b| {
        b.iter(|| bundle.verify(black_box(&leaf), clock.now(), Leeway::MAX).unwrap());
    });
}

/// Revocation lists: a part with nothing in it, one of a million certificates, and the longest of everything.
fn lists(criterion: &mut Criterion) {
    let (dir, clock) = (tempfile::tempdir().unwrap(), SystemClock::default());
    let seal = SealKey::generate_file(&dir.path().join("seal")).unwrap();
    let policy = KeyPolicy::new(fixtures::trust_domain().unwrap());
    let ring = KeyRing::open(&dir.path().join("keys"), &seal, &clock, policy).unwrap();
    let at = clock.now().floor_to_secs();
    let terms = CrlTerms { number: 1, this_update: at, next_update: at.plus(Duration::from_secs(60)) };
    for count in [0, 31_250, 250_000] {
        let revoked =
            |_| Revoked { serial: LeaseId::new().serial(0), at, reason: EndReason::Completed.into() };
        let revoked: Vec<_> = (0..count).map(revoked).collect();
        let mut group = criterion.benchmark_group("x509/sign a revocation list");
        group.sample_size(10);
        group.bench_function(count.to_string(), |b| {
            b.iter(|| ring.ca().sign_crl(&terms, CrlScope::All, black_box(&revoked)).unwrap());
        });
    }
}

criterion_group!(benches, sign, lists);
criterion_main!(benches);
