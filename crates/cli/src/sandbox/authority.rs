//! The sandbox's own certificate authority: what SPIRE and a web PKI are in production.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// A certificate authority that lives in memory.
pub struct Authority {
    trust_domain: String,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Signed {
    /// PEM, the leaf first.
    pub chain_pem: String,
    /// PEM, PKCS #8.
    pub key_pem: String,
}

impl Authority {
    /// A new one for a trust domain.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(trust_domain: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = valid_for(Duration::days(30));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Taskpass sandbox");
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { trust_domain: trust_domain.to_owned(), certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// Its certificate: the trust bundle, and the root of the server certificates.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// An X.509-SVID for `spiffe://<trust domain>/<path>`.
    ///
    /// # Errors
    /// When `path` cannot be part of a SPIFFE ID, or no key can be made.
    pub fn svid(&self, path: &str) -> anyhow::Result<Signed> {
        let mut params = valid_for(Duration::hours(12));
        let id = format!("spiffe://{}/{path}", self.trust_domain);
        params.subject_alt_names = vec![SanType::URI(id.try_into()?)];
        self.sign(params)
    }

    /// A server certificate for `localhost` and the loopback addresses.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn server(&self) -> anyhow::Result<Signed> {
        let mut params = valid_for(Duration::days(30));
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
            SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()),
        ];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> anyhow::Result<Signed> {
        let key = KeyPair::generate()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Signed { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn valid_for(span: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = OffsetDateTime::now_utc() - Duration::minutes(1);
    params.not_after = OffsetDateTime::now_utc() + span;
    params
}
