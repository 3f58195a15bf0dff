//! A certificate authority for tests, at a fixed time.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it; tests may panic")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use std::time::Duration;
use taskpass_types::Timestamp;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct TestAuthority(CertifiedIssuer<'static, KeyPair>);

/// What a leaf says; starts from a good SVID.
pub(crate) struct Leaf {
    pub(crate) uris: Vec<String>,
    pub(crate) usages: Vec<KeyUsagePurpose>,
    pub(crate) extended: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) ca: bool,
    /// Object identifier and content of extensions to add, not critical.
    pub(crate) more: Vec<(Vec<u64>, Vec<u8>)>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Leaf {
    /// A good one, from a minute before 1,800,000,000 s to an hour after.
    pub(crate) fn svid(id: &str) -> Self {
        Self::with_uris([id])
    }

    pub(crate) fn with_uris<const N: usize>(uris: [&str; N]) -> Self {
        let now = Timestamp::from_secs(1_800_000_000);
        Self {
            uris: uris.map(str::to_owned).into(),
            usages: vec![KeyUsagePurpose::DigitalSignature],
            extended: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            ca: false,
            more: Vec::new(),
            not_before: now.minus(Duration::from_secs(3600)),
            not_after: now.plus(Duration::from_secs(3600)),
        }
    }
}

impl TestAuthority {
    /// Good for a day before and after `now`.
    pub(crate) fn new(name: &str, now: Timestamp) -> Self {
        Self(CertifiedIssuer::self_signed(ca_params(name, now), KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn intermediate(&self, now: Timestamp) -> Self {
        Self(
            CertifiedIssuer::signed_by(ca_params("intermediate", now), KeyPair::generate().unwrap(), &self.0)
                .unwrap(),
        )
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn sign(&self, leaf: Leaf) -> CertificateDer<'static> {
        self.sign_with_key(leaf).0
    }

    pub(crate) fn sign_with_key(&self, leaf: Leaf) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names =
            leaf.uris.into_iter().map(|uri| SanType::URI(uri.try_into().unwrap())).collect();
        params.key_usages = leaf.usages;
        params.extended_key_usages = leaf.extended;
        params.custom_extensions = leaf
            .more
            .into_iter()
            .map(|(oid, content)| CustomExtension::from_oid_content(&oid, content))
            .collect();
        params.is_ca = if leaf.ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.not_before = date(leaf.not_before);
        params.not_after = date(leaf.not_after);
        (params.signed_by(&key, &self.0).unwrap().der().clone(), key)
    }
}

fn ca_params(name: &str, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date(now.minus(DAY));
    params.not_after = date(now.plus(DAY));
    params
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.as_secs()).unwrap()).unwrap()
}
