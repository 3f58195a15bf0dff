//! Reads a leaf and holds it against the profile: SPIFFE X.509-SVID sections 3 to 4, RFC 5280, and our own narrower
//! rules. It says nothing about who signed.

use super::{BACKDATE, CrlShard, GRANT_OID, MAX_CERTIFICATE_BYTES, ProfileError, der};
use crate::{PublicKey, claims::GrantClaim, object};
use std::time::Duration;
use taskpass_types::{Grant, SpiffeId, Timestamp};
use x509_parser::{
    certificate::X509Certificate,
    der_parser::asn1_rs::Oid,
    extensions::{
        CRLDistributionPoint, DistributionPointName, ExtendedKeyUsage, GeneralName, ParsedExtension,
        X509Extension,
    },
    prelude::FromDer,
    x509::X509Version,
};

/// The key usage bits of digital signature alone, as the parser counts them.
const DIGITAL_SIGNATURE: u16 = 1;

/// A leaf that is in the profile.
pub(super) struct Leaf {
    /// What it says.
    pub(super) grant: Grant,
    /// Its key.
    pub(super) key: PublicKey,
    /// Where the revocation list is that would name it; those of older brokers do not say it.
    pub(super) crl: Option<String>,
}

/// When the certificate of a grant begins and when its last second begins (RFC 5280 section 4.1.2.5: inclusive).
pub(super) fn validity(grant: &Grant) -> (Timestamp, Timestamp) {
    (grant.issued_at.minus(BACKDATE), grant.expires_at.minus(Duration::from_secs(1)))
}

/// What the extensions say, each there exactly once.
struct Extensions<'a> {
    subject: SpiffeId,
    grant_json: &'a [u8],
    crl: Option<&'a str>,
}

impl Leaf {
    /// Parses `der`; refuses whatever is not exactly what our authority writes.
    pub(super) fn read(der: &[u8]) -> Result<Self, ProfileError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(ProfileError::Malformed);
        }
        let Ok(([], certificate)) = X509Certificate::from_der(der) else {
            return Err(ProfileError::Malformed);
        };
        let tbs = &certificate.tbs_certificate;
        if tbs.version != X509Version::V3 {
            return Err(ProfileError::Malformed);
        }
        if tbs.subject.iter().next().is_some() {
            return Err(ProfileError::Subject);
        }
        let key = PublicKey::from_spki_der(tbs.subject_pki.raw).ok_or(ProfileError::Key)?;
        let extensions = Extensions::read(tbs.extensions())?;
        let claim: GrantClaim = object::from_json(extensions.grant_json)
            .map_err(|error| ProfileError::Grant(error.to_string()))?;
        let grant = claim.with_own_terms(extensions.subject)?;
        if tbs.raw_serial() != grant.serial() {
            return Err(ProfileError::Serial);
        }
        let (not_before, not_after) =
            (timestamp(tbs.validity.not_before.timestamp())?, timestamp(tbs.validity.not_after.timestamp())?);
        if (not_before, not_after) != validity(&grant) {
            return Err(ProfileError::Validity);
        }
        let shard = CrlShard::of(grant.lease).path(grant.key_generation);
        if extensions.crl.is_some_and(|url| !url.ends_with(&shard)) {
            return Err(ProfileError::CrlDistributionPoint);
        }
        Ok(Self { grant, key, crl: extensions.crl.map(str::to_owned) })
    }
}

fn timestamp(secs: i64) -> Result<Timestamp, ProfileError> {
    u64::try_from(secs).map(Timestamp::from_secs).map_err(|_| ProfileError::Validity)
}

impl<'a> Extensions<'a> {
    fn read(extensions: &[X509Extension<'a>]) -> Result<Self, ProfileError> {
        let grant_oid = Oid::from(GRANT_OID).map_err(|_| ProfileError::Extensions)?;
        let (mut subject, mut grant_json, mut crl) = (None, None, None);
        let mut seen = [false; 8];
        for extension in extensions {
            let place = match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) if id.key_identifier.is_some() => 0,
                ParsedExtension::BasicConstraints(basic) if extension.critical && !basic.ca => 1,
                ParsedExtension::BasicConstraints(_) => return Err(ProfileError::BasicConstraints),
                ParsedExtension::ExtendedKeyUsage(usage) if is_client_and_server(usage) => 2,
                ParsedExtension::ExtendedKeyUsage(_) => return Err(ProfileError::ExtendedKeyUsage),
                ParsedExtension::KeyUsage(usage)
                    if extension.critical && usage.flags == DIGITAL_SIGNATURE =>
                {
                    3
                }
                ParsedExtension::KeyUsage(_) => return Err(ProfileError::KeyUsage),
                ParsedExtension::SubjectAlternativeName(names) => {
                    subject = Some(only_spiffe_id(&names.general_names, extension.critical)?);
                    4
                }
                ParsedExtension::SubjectKeyIdentifier(_) => 5,
                _ if extension.oid == grant_oid && !extension.critical => {
                    grant_json = der::read_utf8_string(extension.value);
                    6
                }
                ParsedExtension::CRLDistributionPoints(points) if !extension.critical => {
                    crl = Some(only_url(points)?);
                    7
                }
                _ => return Err(ProfileError::Extensions),
            };
            match seen.get_mut(place) {
                Some(before) if !*before => *before = true,
                _ => return Err(ProfileError::Extensions),
            }
        }
        let [required @ .., _] = seen;
        match (subject, grant_json) {
            (Some(subject), Some(grant_json)) if required == [true; 7] => {
                Ok(Self { subject, grant_json, crl })
            }
            _ => Err(ProfileError::Extensions),
        }
    }
}

/// Whether the purposes are client and server authentication and no other (SPIFFE X.509-SVID section 4.4 wants both).
fn is_client_and_server(usage: &ExtendedKeyUsage<'_>) -> bool {
    let others = [
        usage.any,
        usage.code_signing,
        usage.email_protection,
        usage.time_stamping,
        usage.ocsp_signing,
        !usage.other.is_empty(),
    ];
    usage.client_auth && usage.server_auth && others == [false; 6]
}

fn only_spiffe_id(names: &[GeneralName<'_>], critical: bool) -> Result<SpiffeId, ProfileError> {
    match names {
        [GeneralName::URI(uri)] if critical => SpiffeId::new(uri).map_err(|_| ProfileError::SubjectAltName),
        _ => Err(ProfileError::SubjectAltName),
    }
}

/// The place of the one list for all reasons, by the authority itself (RFC 5280 section 4.2.1.13).
fn only_url<'a>(points: &[CRLDistributionPoint<'a>]) -> Result<&'a str, ProfileError> {
    match points {
        [CRLDistributionPoint { distribution_point: Some(name), reasons: None, crl_issuer: None }] => {
            only_uri(name)
        }
        _ => None,
    }
    .ok_or(ProfileError::CrlDistributionPoint)
}

/// The one URI that a distribution point is named by.
pub(super) fn only_uri<'a>(name: &DistributionPointName<'a>) -> Option<&'a str> {
    match name {
        DistributionPointName::FullName(names) => match names.as_slice() {
            [GeneralName::URI(url)] => Some(url),
            _ => None,
        },
        DistributionPointName::NameRelativeToCRLIssuer(_) => None,
    }
}
