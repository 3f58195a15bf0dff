//! The X.509 attestor against certificates that a test authority signs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

mod authority;

use authority::{Leaf, TestAuthority};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use std::time::Duration;
use taskpass_attest::{
    Attestor, Evidence, Selector,
    conformance::{self, Subject},
    spiffe::{Authority, Bundle, Bundles, X509Attestor},
    unix::UnixPeer,
};
use taskpass_types::{Confirmation, Reason, Refusal, Timestamp, TrustDomain};
use tokio::net::UnixStream;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn bundles<'a>(authorities: impl IntoIterator<Item = (&'a str, &'a TestAuthority)>) -> Bundles {
    Bundles::new(authorities.into_iter().map(|(domain, authority)| {
        (TrustDomain::new(domain).unwrap(), Bundle::new(vec![Authority::from_der(&authority.der()).unwrap()]))
    }))
}

async fn attest(
    bundles: Bundles,
    chain: Vec<CertificateDer<'static>>,
) -> Result<taskpass_attest::Identity, Refusal> {
    X509Attestor::new(bundles).attest(&Evidence::X509(chain), NOW).await
}

#[tokio::test]
async fn keeps_the_contract() {
    let authority = TestAuthority::new("acme.test", NOW);
    let (socket, _other) = UnixStream::pair().unwrap();
    conformance::check(Subject {
        attestor: &X509Attestor::new(bundles([("acme.test", &authority)])),
        good: Evidence::X509(vec![authority.sign(Leaf::svid("spiffe://acme.test/ci/bot"))]),
        foreign: Evidence::Unix(UnixPeer::from_stream(&socket).unwrap()),
        now: NOW,
        ends_by_time: true,
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_svid_is_its_spiffe_id() {
    let authority = TestAuthority::new("acme.test", NOW);
    let identity = attest(
        bundles([("acme.test", &authority)]),
        vec![authority.sign(Leaf::svid("spiffe://acme.test/ci/bot"))],
    )
    .await
    .unwrap();
    assert_eq!(identity.description, "spiffe://acme.test/ci/bot");
    let selectors: Vec<_> = identity.selectors.iter().map(Selector::as_str).collect();
    assert_eq!(selectors, ["spiffe:id:spiffe://acme.test/ci/bot", "spiffe:td:acme.test"]);
    assert!(
        matches!(identity.confirmation, Some(Confirmation::CertificateThumbprint(text)) if text.len() == 43)
    );
    assert_eq!(identity.expires_at, NOW.plus(Duration::from_secs(3600)));
}

#[tokio::test]
async fn an_intermediate_is_part_of_the_path() {
    let root = TestAuthority::new("acme.test", NOW);
    let intermediate = root.intermediate(NOW);
    let leaf = intermediate.sign(Leaf::svid("spiffe://acme.test/ci/bot"));
    let trusted = || bundles([("acme.test", &root)]);
    assert!(attest(trusted(), vec![leaf.clone(), intermediate.der()]).await.is_ok());
    let refusal = attest(trusted(), vec![leaf]).await.unwrap_err();
    assert!(refusal.message().contains("no authority"), "{refusal:?}");
}

#[tokio::test]
async fn a_leaf_that_breaks_a_rule_is_refused() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign, KeyEncipherment};
    let svid = || Leaf::svid("spiffe://acme.test/ci/bot");
    let expired = NOW.minus(Duration::from_secs(60));
    let cases: Vec<(Leaf, Reason, &str)> = vec![
        (Leaf { uris: vec![], ..svid() }, Reason::AttestationInvalid, "0 URI names"),
        (
            Leaf::with_uris(["spiffe://acme.test/a", "spiffe://acme.test/b"]),
            Reason::AttestationInvalid,
            "2 URI names",
        ),
        (
            Leaf::with_uris(["spiffe://acme.test/a", "https://acme.test/"]),
            Reason::AttestationInvalid,
            "2 URI names",
        ),
        (Leaf::with_uris(["spiffe://acme.test"]), Reason::AttestationInvalid, "no path"),
        (Leaf::with_uris(["https://acme.test/a"]), Reason::AttestationInvalid, "not a valid SPIFFE ID"),
        (Leaf::with_uris(["spiffe://acme.test/a?b"]), Reason::AttestationInvalid, "not a valid SPIFFE ID"),
        (Leaf { ca: true, ..svid() }, Reason::AttestationInvalid, "is an authority"),
        (
            Leaf { usages: vec![DigitalSignature, KeyCertSign], ..svid() },
            Reason::AttestationInvalid,
            "is an authority",
        ),
        (
            Leaf { usages: vec![DigitalSignature, CrlSign], ..svid() },
            Reason::AttestationInvalid,
            "is an authority",
        ),
        (
            Leaf { usages: vec![KeyEncipherment], ..svid() },
            Reason::AttestationInvalid,
            "lacks digitalSignature",
        ),
        (Leaf { usages: vec![], ..svid() }, Reason::AttestationInvalid, "no key usage"),
        (
            Leaf { extended: vec![ExtendedKeyUsagePurpose::ServerAuth], ..svid() },
            Reason::AttestationInvalid,
            "not for client authentication",
        ),
        (
            Leaf { extended: vec![ExtendedKeyUsagePurpose::ClientAuth], ..svid() },
            Reason::AttestationInvalid,
            "lacks client or server authentication",
        ),
        (
            // The content is a bit string with the first bit, digitalSignature.
            Leaf { usages: vec![], more: vec![(vec![2, 5, 29, 15], vec![3, 2, 7, 0x80])], ..svid() },
            Reason::AttestationInvalid,
            "key usage is not critical",
        ),
        (
            Leaf {
                uris: vec![],
                more: vec![(vec![2, 5, 29, 17], uri_name(b"spiffe://acme.test/a"))],
                ..svid()
            },
            Reason::AttestationInvalid,
            "alternative names are not critical",
        ),
        (Leaf { not_after: expired, ..svid() }, Reason::AttestationExpired, "expired at"),
        (
            Leaf { not_before: NOW.plus(Duration::from_secs(60)), ..svid() },
            Reason::AttestationInvalid,
            "not valid before",
        ),
        (
            Leaf::with_uris(["spiffe://other.test/a"]),
            Reason::AttestationInvalid,
            "`other.test` is not trusted here",
        ),
    ];
    let authority = TestAuthority::new("acme.test", NOW);
    for (leaf, reason, why) in cases {
        let refusal =
            attest(bundles([("acme.test", &authority)]), vec![authority.sign(leaf)]).await.expect_err(why);
        assert_eq!(refusal.reason(), reason, "{why}: {refusal:?}");
        assert!(refusal.message().contains(why), "{why}: {refusal:?}");
    }
}

/// The content of a subjectAltName with one URI: a sequence with one element of tag 6.
fn uri_name(uri: &[u8]) -> Vec<u8> {
    let len = u8::try_from(uri.len()).unwrap();
    [&[0x30, len + 2, 0x86, len], uri].concat()
}

#[tokio::test]
async fn extended_key_usage_may_be_absent() {
    let authority = TestAuthority::new("acme.test", NOW);
    let leaf = Leaf { extended: vec![], ..Leaf::svid("spiffe://acme.test/ci/bot") };
    assert!(attest(bundles([("acme.test", &authority)]), vec![authority.sign(leaf)]).await.is_ok());
}

#[tokio::test]
async fn a_stranger_is_told_which_setting_would_trust_it() {
    let authority = TestAuthority::new("other.test", NOW);
    let refusal =
        attest(bundles([]), vec![authority.sign(Leaf::svid("spiffe://other.test/a"))]).await.unwrap_err();
    assert!(refusal.fix_text().unwrap().contains("`[[bundles]]`"), "{:?}", refusal.fix_text());
}

/// Bundles are never pooled: what one trust domain's authority signs about another is worth nothing.
#[tokio::test]
async fn an_authority_speaks_for_its_own_trust_domain_only() {
    let (acme, other) = (TestAuthority::new("acme.test", NOW), TestAuthority::new("other.test", NOW));
    let trusted = || bundles([("acme.test", &acme), ("other.test", &other)]);
    let forged = other.sign(Leaf::svid("spiffe://acme.test/ci/bot"));
    let refusal = attest(trusted(), vec![forged.clone()]).await.unwrap_err();
    assert!(refusal.message().contains("no authority of trust domain `acme.test`"), "{refusal:?}");
    assert!(
        attest(trusted(), vec![forged, other.der()]).await.is_err(),
        "a chain does not bring its own root"
    );
}

#[tokio::test]
async fn a_revoked_trust_domain_and_an_expired_authority_are_refused() {
    let authority = TestAuthority::new("acme.test", NOW);
    let trusted = bundles([("acme.test", &authority)]);
    let chain = vec![authority.sign(Leaf::svid("spiffe://acme.test/ci/bot"))];
    assert!(attest(trusted.clone(), chain.clone()).await.is_ok());
    trusted.set(TrustDomain::new("acme.test").unwrap(), Bundle::default());
    let refusal = attest(trusted, chain).await.unwrap_err();
    assert!(refusal.message().contains("no authority in force"), "{refusal:?}");

    let stale = TestAuthority::new("acme.test", NOW.minus(Duration::from_secs(30 * 24 * 3600)));
    let chain = vec![stale.sign(Leaf::svid("spiffe://acme.test/ci/bot"))];
    let refusal = attest(bundles([("acme.test", &stale)]), chain).await.unwrap_err();
    assert!(refusal.message().contains("no authority in force"), "{refusal:?}");
}

#[test]
fn only_an_authority_can_be_in_a_bundle() {
    let authority = TestAuthority::new("acme.test", NOW);
    assert!(Authority::from_der(&authority.sign(Leaf::svid("spiffe://acme.test/a"))).is_err());
    assert!(Authority::from_der(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])).is_err());
    let mut trailing = authority.der().to_vec();
    trailing.push(0);
    assert!(Authority::from_der(&CertificateDer::from(trailing)).is_err());
}
