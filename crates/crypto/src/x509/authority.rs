//! A certificate authority of one trust domain: one P-256 key, one self-signed certificate, leaves only.

use super::{
    CrlScope, CrlShard, CrlTerms, CsrKey, GRANT_OID, MAX_CERTIFICATE_BYTES, Revoked,
    crl::{self, LintedCrl},
    der,
    leaf::validity,
    lint::Linted,
};
use crate::{
    PublicKey, SignError,
    claims::{self, GrantClaim},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls_pki_types::CertificateDer;
use std::time::Duration;
use taskpass_types::{Grant, KeyGeneration, Timestamp, TrustDomain};
use time::OffsetDateTime;

/// How much sooner than its making an authority begins, so that every leaf lies within it.
const AUTHORITY_BACKDATE: Duration = Duration::from_secs(3600);

/// Signs leaves with one key of one generation.
pub struct CertificateAuthority {
    key: AuthorityKey,
    issuer: Issuer<'static, Unsigned>,
    certificate: CertificateDer<'static>,
    generation: KeyGeneration,
    /// Its name, in DER.
    name: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// The private half of an authority's key; it cannot be printed.
pub(crate) struct AuthorityKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl AuthorityKey {
    /// Parses PKCS#8; `None` when it is no P-256 key.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random).ok()?;
        Some(Self { pair, random })
    }

    fn sign(&self, tbs: &[u8]) -> Result<CertificateDer<'static>, SignError> {
        let signature = self.pair.sign(&self.random, tbs).map_err(|_| no_random())?;
        Ok(der::certificate(tbs, signature.as_ref()).into())
    }

    fn public(&self) -> Option<PublicKey> {
        PublicKey::from_point(self.pair.public_key().as_ref())
    }
}

/// Stands for the authority's key while a certificate is built, so that it can be read before it is signed.
struct Unsigned(PublicKey);

impl PublicKeyData for Unsigned {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl rcgen::SigningKey for Unsigned {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0])
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.as_bytes()
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Ed25519(_) => &rcgen::PKCS_ED25519,
            Self::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}

fn no_random() -> SignError {
    SignError::Primitive("the system's random numbers failed".into())
}
fn unbuildable(error: impl std::fmt::Display) -> SignError {
    SignError::Primitive(error.to_string())
}

fn calendar(at: Timestamp) -> Result<OffsetDateTime, SignError> {
    let secs = i64::try_from(at.as_secs()).map_err(unbuildable)?;
    OffsetDateTime::from_unix_timestamp(secs).map_err(unbuildable)
}

fn uri(text: &str) -> Result<SanType, SignError> {
    text.try_into().map(SanType::URI).map_err(unbuildable)
}

/// Makes the self-signed certificate of a new authority.
pub(crate) fn new_authority(
    key: &AuthorityKey,
    trust_domain: &TrustDomain,
    now: Timestamp,
    life: Duration,
) -> Result<CertificateDer<'static>, SignError> {
    let mut serial = [0; 20];
    key.random.fill(&mut serial).map_err(|_| no_random())?;
    // Positive, and without a leading zero that DER would have to drop.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    let public = key.public().ok_or_else(|| unbuildable("no public key"))?;
    let mut params = issuer_params(&public);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))?];
    params.not_before = calendar(now.minus(AUTHORITY_BACKDATE))?;
    params.not_after = calendar(now.plus(life))?;
    let unsigned = params.self_signed(&Unsigned(public)).map_err(unbuildable)?;
    let tbs = der::to_be_signed(unsigned.der())
        .ok_or_else(|| unbuildable("the certificate cannot be read back"))?;
    key.sign(tbs)
}

/// What an authority's certificate and its leaves' issuer have in common; the name differs from key to key, because
/// path builders that choose an issuer by name alone would try the wrong one after a rotation.
fn issuer_params(public: &PublicKey) -> CertificateParams {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Taskpass");
    name.push(
        DnType::CommonName,
        format!("Taskpass CA {}", public.thumbprint().get(..16).unwrap_or_default()),
    );
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

impl CertificateAuthority {
    /// `None` unless `certificate` is that of `key`.
    pub(crate) fn new(
        key: AuthorityKey,
        certificate: CertificateDer<'static>,
        generation: KeyGeneration,
    ) -> Option<Self> {
        let public = key.public()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        if parsed.tbs_certificate.subject_pki.raw != public.spki_der() {
            return None;
        }
        let validity = parsed.validity();
        let not_before = Timestamp::from_secs(u64::try_from(validity.not_before.timestamp()).ok()?);
        let not_after = Timestamp::from_secs(u64::try_from(validity.not_after.timestamp()).ok()?);
        let name = parsed.subject().as_raw().to_vec();
        let issuer = Issuer::new(issuer_params(&public), Unsigned(public));
        Some(Self { key, issuer, certificate, generation, name, not_before, not_after })
    }

    /// The generation that a grant must name to be signed by this authority.
    pub fn generation(&self) -> KeyGeneration {
        self.generation
    }

    /// Its own certificate.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its own certificate in PEM (RFC 7468).
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// The last second in which it is valid; no leaf ends later.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Signs the DER of a leaf for `key` that says all of `grant`, where its revocation list is for a broker whose lists are
    /// below `crl_base`, and nothing else.
    ///
    /// The certificate is built unsigned and read back, and only bytes that passed the linter are signed. Refuses a
    /// grant for another key generation, one that is not sound, one that is bound to another key, and one that does
    /// not lie within the authority's own life.
    pub fn sign(&self, crl_base: &str, key: &CsrKey, grant: &Grant) -> Result<Vec<u8>, SignError> {
        claims::check(grant)?;
        if grant.key_generation != self.generation {
            return Err(SignError::GenerationDiffers {
                decided: grant.key_generation,
                signer: self.generation,
            });
        }
        let (not_before, not_after) = validity(grant);
        if not_before < self.not_before || not_after > self.not_after {
            return Err(SignError::OutsideAuthority);
        }
        let crl = CrlShard::of(grant.lease).url(crl_base, self.generation);
        let params = leaf_params(grant, &crl)?;
        let unsigned = params.signed_by(key.public_key(), &self.issuer).map_err(unbuildable)?;
        let linted = Linted::check(unsigned.der(), key, grant, &crl)?;
        let signed = self.key.sign(linted.to_be_signed())?.to_vec();
        if signed.len() > MAX_CERTIFICATE_BYTES { Err(SignError::TooLong(signed.len())) } else { Ok(signed) }
    }

    /// Signs the DER of a revocation list that says `terms`, speaks for `scope` and names exactly `revoked`.
    pub fn sign_crl(
        &self,
        terms: &CrlTerms,
        scope: CrlScope<'_>,
        revoked: &[Revoked],
    ) -> Result<Vec<u8>, SignError> {
        let params = crl::params(terms, scope, revoked)
            .ok_or_else(|| unbuildable("a time of the list is beyond any calendar"))?;
        let unsigned = params.signed_by(&self.issuer).map_err(unbuildable)?;
        let linted = LintedCrl::check(unsigned.der(), &self.name, terms, scope, revoked)
            .ok_or_else(|| unbuildable("the list does not read back as it was meant"))?;
        Ok(self.key.sign(linted.to_be_signed())?.to_vec())
    }
}

/// A revocation list in PEM (RFC 7468 section 6).
pub fn crl_pem(der: &[u8]) -> String {
    pem("X509 CRL", der)
}

fn leaf_params(grant: &Grant, crl: &str) -> Result<CertificateParams, SignError> {
    let (not_before, not_after) = validity(grant);
    let json = serde_json::to_vec(&GrantClaim::for_certificate(grant)).map_err(unbuildable)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(grant.subject.as_str())?];
    params.serial_number = Some(SerialNumber::from_slice(&grant.serial()));
    params.not_before = calendar(not_before)?;
    params.not_after = calendar(not_after)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![crl.to_owned()] }];
    params.custom_extensions = vec![CustomExtension::from_oid_content(GRANT_OID, der::utf8_string(&json))];
    Ok(params)
}

/// The text form of RFC 7468: 64 characters a line.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
