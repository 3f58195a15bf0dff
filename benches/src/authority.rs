//! A test trust domain: X.509-SVIDs for callers and a server certificate for the loopback.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use std::{net::Ipv4Addr, time::Duration};
use taskpass_types::{Clock as _, SystemClock};
use time::OffsetDateTime;

/// How long everything is valid, from as long ago.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A self-signed authority in memory.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Leaf {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// The certificate in PEM.
    pub certificate: String,
    /// The key in PEM.
    pub key: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = params()?;
        params.distinguished_name.push(DnType::CommonName, "bench");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.0.der()
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// An X.509-SVID.
    pub fn svid(&self, id: &str) -> anyhow::Result<Leaf> {
        self.leaf(vec![SanType::URI(id.try_into()?)])
    }

    /// A server certificate for `127.0.0.1`.
    pub fn server(&self) -> anyhow::Result<Leaf> {
        self.leaf(vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())])
    }

    fn leaf(&self, names: Vec<SanType>) -> anyhow::Result<Leaf> {
        let key = KeyPair::generate()?;
        let mut params = params()?;
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Leaf { der: certificate.der().clone(), certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn params() -> anyhow::Result<CertificateParams> {
    let now = SystemClock::default().now();
    let date = |secs: u64| anyhow::Ok(OffsetDateTime::from_unix_timestamp(i64::try_from(secs)?)?);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date(now.minus(DAY).as_secs())?;
    params.not_after = date(now.plus(DAY).as_secs())?;
    Ok(params)
}
