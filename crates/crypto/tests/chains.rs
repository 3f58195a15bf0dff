//! Chains that a verifier must refuse, each with the class of its refusal. The hostile leaves are signed by an authority
//! that the verifier trusts: the path check lets them through, the profile does not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod common;

use common::{ISSUER, T0, grant, keys, request};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyPair, KeyUsagePurpose as Ku, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use std::{slice, time::Duration};
use taskpass_crypto::{
    CaBundle, CertError, CsrKey, Leeway, SignError,
    x509::{BundleError, CrlShard, GRANT_OID, LintError, ProfileError, csr, lint},
};
use taskpass_types::{Grant, ResourceName, Timestamp};
use time::OffsetDateTime;

fn new_key() -> CsrKey {
    csr::public_key(&request(&KeyPair::generate().unwrap())).unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.as_secs()).unwrap()).unwrap()
}

/// The content of the grant extension in a leaf that our own authority signed.
fn grant_extension(grant: &Grant) -> Vec<u8> {
    let der = keys().ring.ca().sign(ISSUER, &new_key(), grant).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let extension =
        certificate.extensions().iter().find(|one| one.oid.to_id_string().starts_with("2.25.")).unwrap();
    extension.value.to_vec()
}

/// An authority that signs whatever it is given.
struct Forge {
    issuer: Issuer<'static, KeyPair>,
    bundle: CaBundle,
    leaf_key: KeyPair,
    grant: Grant,
}

impl Forge {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            bundle: CaBundle::from_der(&[certificate]).unwrap(),
            issuer: Issuer::new(params, key),
            leaf_key: KeyPair::generate().unwrap(),
            grant: grant(),
        }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = leaf(&self.grant);
        change(&mut params);
        params.signed_by(&self.leaf_key, &self.issuer).unwrap().der().clone()
    }

    fn verify(&self, leaf: CertificateDer<'_>) -> Result<Grant, CertError> {
        self.bundle.verify(&[leaf], T0, Leeway::ZERO)
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
    params.subject_alt_names = vec![uri("spiffe://acme.test")];
    params.not_before = date(T0.minus(Duration::from_secs(3600)));
    params.not_after = date(T0.plus(Duration::from_secs(3600)));
    params
}

/// A place for a revocation list.
fn at(url: &str) -> CrlDistributionPoint {
    CrlDistributionPoint { uris: vec![url.to_owned()] }
}

fn shard(grant: &Grant) -> String {
    CrlShard::of(grant.lease).url(ISSUER, grant.key_generation)
}

/// What our authority would write.
fn leaf(grant: &Grant) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(grant.subject.as_str())];
    params.serial_number = Some(SerialNumber::from_slice(&grant.serial()));
    params.not_before = date(T0.minus(Duration::from_secs(30)));
    params.not_after = date(T0.plus(Duration::from_secs(299)));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![Ku::DigitalSignature];
    params.extended_key_usages = vec![Eku::ClientAuth, Eku::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points = vec![at(&shard(grant))];
    params.custom_extensions = vec![CustomExtension::from_oid_content(GRANT_OID, grant_extension(grant))];
    params
}

#[test]
fn leaves_outside_the_profile() {
    let forge = Forge::new();
    assert_eq!(forge.verify(forge.sign(|_| {})).as_ref(), Ok(&forge.grant), "the forge itself works");
    let older = forge.sign(|p| p.crl_distribution_points.clear());
    assert_eq!(forge.verify(older).as_ref(), Ok(&forge.grant), "as brokers before there were parts of lists");
    let other = Grant { resource: ResourceName::new("payroll-api").unwrap(), ..grant() };
    let unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    let own = |content: Vec<u8>| CustomExtension::from_oid_content(GRANT_OID, content);
    let mut critical = own(grant_extension(&forge.grant));
    critical.set_criticality(true);
    let host = SanType::DnsName("broker.acme.test".try_into().unwrap());
    let subject = forge.grant.subject.as_str();
    let cases: Vec<(&str, ProfileError, CertificateDer<'_>)> = vec![
        (
            "two names",
            ProfileError::SubjectAltName,
            forge.sign(|p| p.subject_alt_names.push(uri("spiffe://acme.test/b"))),
        ),
        (
            "the name twice",
            ProfileError::SubjectAltName,
            forge.sign(|p| p.subject_alt_names.push(uri(subject))),
        ),
        ("a host too", ProfileError::SubjectAltName, forge.sign(|p| p.subject_alt_names.push(host.clone()))),
        (
            "a host instead",
            ProfileError::SubjectAltName,
            forge.sign(|p| p.subject_alt_names = vec![host.clone()]),
        ),
        (
            "no SPIFFE ID",
            ProfileError::SubjectAltName,
            forge.sign(|p| p.subject_alt_names = vec![uri("https://acme.test/")]),
        ),
        (
            "a query",
            ProfileError::SubjectAltName,
            forge.sign(|p| p.subject_alt_names = vec![uri(&format!("{subject}?a"))]),
        ),
        ("no name", ProfileError::Extensions, forge.sign(|p| p.subject_alt_names.clear())),
        (
            "a subject",
            ProfileError::Subject,
            forge.sign(|p| p.distinguished_name.push(DnType::CommonName, "a")),
        ),
        ("to sign as well", ProfileError::KeyUsage, forge.sign(|p| p.key_usages.push(Ku::KeyCertSign))),
        ("to sign CRLs as well", ProfileError::KeyUsage, forge.sign(|p| p.key_usages.push(Ku::CrlSign))),
        ("to agree instead", ProfileError::KeyUsage, forge.sign(|p| p.key_usages = vec![Ku::KeyAgreement])),
        ("no key usage", ProfileError::Extensions, forge.sign(|p| p.key_usages.clear())),
        (
            "for clients only",
            ProfileError::ExtendedKeyUsage,
            forge.sign(|p| p.extended_key_usages = vec![Eku::ClientAuth]),
        ),
        (
            "for code as well",
            ProfileError::ExtendedKeyUsage,
            forge.sign(|p| p.extended_key_usages.push(Eku::CodeSigning)),
        ),
        ("no extended key usage", ProfileError::Extensions, forge.sign(|p| p.extended_key_usages.clear())),
        ("silent about CA", ProfileError::Extensions, forge.sign(|p| p.is_ca = IsCa::NoCa)),
        ("no grant", ProfileError::Extensions, forge.sign(|p| p.custom_extensions.clear())),
        (
            "an unknown extension",
            ProfileError::Extensions,
            forge.sign(|p| p.custom_extensions.push(unknown.clone())),
        ),
        (
            "no authority key id",
            ProfileError::Extensions,
            forge.sign(|p| p.use_authority_key_identifier_extension = false),
        ),
        (
            "another serial",
            ProfileError::Serial,
            forge.sign(|p| p.serial_number = Some(SerialNumber::from_slice(&[1; 20]))),
        ),
        (
            "lives longer",
            ProfileError::Validity,
            forge.sign(|p| p.not_after = date(T0.plus(Duration::from_secs(300)))),
        ),
        (
            "begins sooner",
            ProfileError::Validity,
            forge.sign(|p| p.not_before = date(T0.minus(Duration::from_secs(31)))),
        ),
        (
            "the list of other leases",
            ProfileError::CrlDistributionPoint,
            forge.sign(|p| p.crl_distribution_points = vec![at(&format!("{}0", shard(&forge.grant)))]),
        ),
        (
            "two lists",
            ProfileError::CrlDistributionPoint,
            forge.sign(|p| p.crl_distribution_points.push(at(&shard(&forge.grant)))),
        ),
        (
            "one list at two places",
            ProfileError::CrlDistributionPoint,
            forge.sign(|p| {
                p.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![shard(&forge.grant); 2] }]
            }),
        ),
        (
            "another lease's grant",
            ProfileError::Grant(
                "the grant is not sound: its subject is not `<agent>/task/<task>` of its own holder and task"
                    .into(),
            ),
            forge.sign(|p| p.custom_extensions = vec![own(grant_extension(&other))]),
        ),
    ];
    for (what, error, leaf) in cases {
        assert_eq!(forge.verify(leaf), Err(CertError::Profile(error)), "{what}");
    }
    for (what, extension) in [
        ("no text", own(vec![5, 0])),
        ("bytes", own(vec![4, 2, 123, 125])),
        ("an empty object", own(vec![12, 2, 123, 125])),
        ("an array", own(vec![12, 2, 91, 93])),
        ("trailing bytes", own([grant_extension(&forge.grant), vec![0]].concat())),
    ] {
        let refused = forge.verify(forge.sign(|p| p.custom_extensions = vec![extension]));
        assert!(matches!(refused, Err(CertError::Profile(_))), "{what}: {refused:?}");
    }
    // The path check itself refuses these.
    let refused = [
        ("a CA", forge.sign(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        ("for servers only", forge.sign(|p| p.extended_key_usages = vec![Eku::ServerAuth])),
        ("critical grant", forge.sign(|p| p.custom_extensions = vec![critical])),
    ];
    for (what, leaf) in refused {
        assert_eq!(forge.verify(leaf).map_err(|error| error.code()), Err("untrusted"), "{what}");
    }
}

#[test]
fn an_authority_does_not_speak_for_another_trust_domain() {
    let mut forge = Forge::new();
    let mut other = authority();
    other.subject_alt_names = vec![uri("spiffe://other.test")];
    let key = KeyPair::generate().unwrap();
    let certificate = other.self_signed(&key).unwrap().der().clone();
    forge.bundle = CaBundle::from_der(&[certificate]).unwrap();
    forge.issuer = Issuer::new(other, key);
    assert_eq!(forge.verify(forge.sign(|_| {})), Err(CertError::TrustDomainMismatch));
}

#[test]
fn only_a_leaf_that_an_authority_signed_itself() {
    let forge = Forge::new();
    let good = forge.sign(|_| {});
    let stranger = Forge::new().sign(|_| {});
    let code = |chain: &[CertificateDer<'_>]| {
        forge.bundle.verify(chain, T0, Leeway::ZERO).map_or_else(|error| error.code(), |_| "ok")
    };
    assert_eq!(code(slice::from_ref(&good)), "ok");
    assert_eq!(code(&[good.clone(), stranger.clone()]), "ok", "what is sent along is ignored");
    assert_eq!(code(&[]), "chain_length");
    assert_eq!(code(&[good.clone(), good.clone(), good.clone()]), "chain_length");
    assert_eq!(code(&[vec![0x30; 16 * 1024 + 1].into()]), "chain_length");
    assert_eq!(code(slice::from_ref(&stranger)), "untrusted");
    assert_eq!(code(&[stranger, good.clone()]), "untrusted");
    for garbage in
        [&b""[..], b"\x30", b"hello", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &good[..good.len() - 1]]
    {
        assert_eq!(code(&[garbage.into()]), "untrusted");
    }

    let intermediate_key = KeyPair::generate().unwrap();
    let intermediate = authority().signed_by(&intermediate_key, &forge.issuer).unwrap().der().clone();
    let issuer = Issuer::new(authority(), intermediate_key);
    let below = leaf(&forge.grant).signed_by(&forge.leaf_key, &issuer).unwrap().der().clone();
    assert_eq!(code(&[below, intermediate]), "untrusted", "an intermediate");

    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        assert_ne!(code(&[bytes.into()]), "ok", "byte {at}");
    }
}

#[test]
fn time_ends_leaves_and_authorities() {
    let keys = keys();
    let bundle = CaBundle::from_pem(keys.ring.ca_bundle_pem().as_bytes()).unwrap();
    let leaf = CertificateDer::from(keys.ring.ca().sign(ISSUER, &new_key(), &grant()).unwrap());
    let code = |millis: i64, leeway| {
        let now = Timestamp::from_millis(T0.as_millis().saturating_add_signed(millis));
        bundle.verify(slice::from_ref(&leaf), now, leeway).map_or_else(|error| error.code(), |_| "ok")
    };
    assert_eq!(code(-30_001, Leeway::ZERO), "not_yet_valid");
    assert_eq!(code(-30_000, Leeway::ZERO), "ok");
    assert_eq!(code(-25_000, Leeway::MAX), "ok");
    assert_eq!(code(299_999, Leeway::ZERO), "ok", "to the last millisecond of the lease");
    assert_eq!(code(300_000, Leeway::ZERO), "expired");
    assert_eq!(code(304_999, Leeway::MAX), "ok");
    assert_eq!(code(305_000, Leeway::MAX), "expired");

    // The path check does not look at an anchor's own life; the bundle does.
    let mut forge = Forge::new();
    let mut ended = authority();
    ended.not_after = date(T0.minus(Duration::from_secs(1)));
    let key = KeyPair::generate().unwrap();
    forge.bundle = CaBundle::from_der(&[ended.self_signed(&key).unwrap().der().clone()]).unwrap();
    forge.issuer = Issuer::new(ended, key);
    assert_eq!(forge.verify(forge.sign(|_| {})), Err(CertError::Expired));
}

#[test]
fn bundles() {
    let sign = |change: fn(&mut CertificateParams)| {
        let mut params = authority();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    };
    let (good, other) = (sign(|_| {}), sign(|p| p.subject_alt_names = vec![uri("spiffe://other.test")]));
    assert_eq!(CaBundle::from_der(&[]).unwrap_err(), BundleError::Empty);
    assert_eq!(CaBundle::from_pem(b"").unwrap_err(), BundleError::Empty);
    assert_eq!(CaBundle::from_der(&vec![good.clone(); 17]).unwrap_err(), BundleError::TooLarge);
    assert_eq!(CaBundle::from_pem(&vec![b'\n'; 1 << 20]).unwrap_err(), BundleError::TooLarge);
    assert_eq!(CaBundle::from_der(&[good.clone(), other]).unwrap_err(), BundleError::TrustDomains);
    let not_authorities = [
        ("no CA", sign(|p| p.is_ca = IsCa::ExplicitNoCa)),
        ("may not sign", sign(|p| p.key_usages = vec![Ku::CrlSign])),
        ("no name", sign(|p| p.subject_alt_names.clear())),
        ("a path", sign(|p| p.subject_alt_names = vec![uri("spiffe://acme.test/broker")])),
        ("two names", sign(|p| p.subject_alt_names.push(uri("spiffe://other.test")))),
        ("garbage", b"hello"[..].into()),
        ("cut", good[..good.len() - 1].into()),
    ];
    for (what, certificate) in not_authorities {
        let refused = CaBundle::from_der(&[good.clone(), certificate]).unwrap_err();
        assert!(matches!(refused, BundleError::NotAuthority(_)), "{what}: {refused}");
    }
    assert!(CaBundle::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
}

#[test]
fn the_authority_is_what_it_should_be() {
    let keys = keys();
    let authority = keys.ring.ca();
    let (_, certificate) = x509_parser::parse_x509_certificate(authority.certificate_der()).unwrap();
    certificate.verify_signature(None).unwrap();
    let basic = certificate.basic_constraints().unwrap().unwrap();
    assert_eq!((basic.critical, basic.value.ca, basic.value.path_len_constraint), (true, true, Some(0)));
    let usage = certificate.key_usage().unwrap().unwrap();
    assert_eq!((usage.critical, usage.value.flags), (true, 0b110_0000), "keyCertSign and cRLSign");
    assert!(certificate.name_constraints().unwrap().is_none());
    assert_eq!(certificate.raw_serial().len(), 20);
    assert_eq!(
        certificate.validity().not_after.timestamp(),
        i64::try_from(authority.not_after().as_secs()).unwrap()
    );
    assert!(authority.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
}

#[test]
fn the_linter_sees_every_difference() {
    let keys = keys();
    let (key, decided) = (new_key(), grant());
    let der = keys.ring.ca().sign(ISSUER, &key, &decided).unwrap();
    let crl = CrlShard::of(decided.lease).url(ISSUER, decided.key_generation);
    assert_eq!(lint(&der, &key, &decided, &crl), Ok(()));
    assert_eq!(lint(&der, &new_key(), &decided, &crl), Err(LintError::KeyDiffers));
    let elsewhere = CrlShard::of(decided.lease).url("https://other.test", decided.key_generation);
    assert_eq!(lint(&der, &key, &decided, &elsewhere), Err(LintError::CrlDistributionPointDiffers));
    let other = grant();
    let list = taskpass_types::StatusListId::new(decided.key_generation, [1; 12]);
    let status = Some(taskpass_types::StatusIndex { list, index: 0 });
    let differences = [
        ("tenant", Grant { tenant: taskpass_types::TenantId::new("acme").unwrap(), ..decided.clone() }),
        ("lease", Grant { lease: other.lease, ..decided.clone() }),
        ("renewal", Grant { renewal: 1, ..decided.clone() }),
        ("task_path", Grant { task_path: other.task_path, ..decided.clone() }),
        ("agents", Grant { agents: vec![], ..decided.clone() }),
        ("owner", Grant { owner: taskpass_types::Owner::new("li@acme.test").unwrap(), ..decided.clone() }),
        ("subject", Grant { subject: other.subject, ..decided.clone() }),
        ("resource", Grant { resource: ResourceName::new("payroll-api").unwrap(), ..decided.clone() }),
        ("actions", Grant { actions: decided.actions[..1].to_vec(), ..decided.clone() }),
        ("decision", Grant { decision: other.decision, ..decided.clone() }),
        (
            "policy_revision",
            Grant { policy_revision: taskpass_types::PolicyRevision::new("b").unwrap(), ..decided.clone() },
        ),
        ("deny_epoch", Grant { deny_epoch: taskpass_types::Epoch(2), ..decided.clone() }),
        ("key_generation", Grant { key_generation: taskpass_types::KeyGeneration(2), ..decided.clone() }),
        (
            "confirmation",
            Grant { confirmation: Some(taskpass_crypto::thumbprint::certificate(b"")), ..decided.clone() },
        ),
        ("status", Grant { status, ..decided.clone() }),
        ("issued_at", Grant { issued_at: T0.plus(Duration::from_secs(1)), ..decided.clone() }),
        ("expires_at", Grant { expires_at: T0.plus(Duration::from_secs(1)), ..decided.clone() }),
    ];
    for (field, decided) in differences {
        assert_eq!(lint(&der, &key, &decided, &crl), Err(LintError::GrantDiffers(field)));
    }
    let elsewhere = Grant { confirmation: Some(taskpass_crypto::thumbprint::certificate(b"")), ..decided };
    let refused = keys.ring.ca().sign(ISSUER, &key, &elsewhere);
    assert!(matches!(refused, Err(SignError::Lint(LintError::ConfirmationDiffers))));
}
