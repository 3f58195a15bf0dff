//! Who vouches for callers: what SPIRE is in production, and also what a forger could make.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use std::net::{IpAddr, Ipv4Addr};
use time::{Duration, OffsetDateTime};

/// The authority of one trust domain, in memory.
pub struct Authority {
    trust_domain: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Signed {
    /// PEM, the leaf first.
    pub chain_pem: String,
    /// PEM, PKCS #8.
    pub key_pem: String,
}

/// What a certificate is to say; begins as a good X.509-SVID.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its URI names.
    pub uris: Vec<String>,
    /// Whether it says that it can sign others.
    pub ca: bool,
    /// Seconds from now to its end; negative: it has expired.
    pub ends_in: i64,
}

impl Leaf {
    /// A good one, for an hour.
    pub fn svid(id: impl Into<String>) -> Self {
        Self { uris: vec![id.into()], ca: false, ends_in: 3600 }
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn new(trust_domain: &str) -> Self {
        let mut params = lasting(3600);
        params.distinguished_name.push(DnType::CommonName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let id = format!("spiffe://{trust_domain}");
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { trust_domain: trust_domain.to_owned(), issuer }
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// `spiffe://<trust domain>/<path>`.
    pub fn id(&self, path: &str) -> String {
        format!("spiffe://{}/{path}", self.trust_domain)
    }

    /// A good X.509-SVID for `path`.
    pub fn svid(&self, path: &str) -> Signed {
        self.sign(&Leaf::svid(self.id(path)))
    }

    /// Whatever `leaf` says.
    ///
    /// # Panics
    /// When a name of it is no URI.
    pub fn sign(&self, leaf: &Leaf) -> Signed {
        let mut params = lasting(leaf.ends_in);
        params.subject_alt_names =
            leaf.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())).collect();
        if leaf.ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        self.complete(params)
    }

    /// A server certificate for `localhost`, `127.0.0.1` and `address`.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn server(&self, address: Ipv4Addr) -> Signed {
        let mut params = lasting(3600);
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V4(address)),
        ];
        self.complete(params)
    }

    fn complete(&self, mut params: CertificateParams) -> Signed {
        let key = KeyPair::generate().unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { chain_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

/// From an hour ago to `ends_in` seconds from now.
fn lasting(ends_in: i64) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::seconds(ends_in);
    params
}
