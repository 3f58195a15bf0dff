//! Revocation lists (RFC 5280 section 5), for whoever checks certificates without us: nginx, PostgreSQL, openssl.
//!
//! Invariant: as with leaves, a list is built unsigned and read back, and only bytes that say exactly what was asked for
//! are signed.

use super::{der, leaf::only_uri};
use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, KeyIdMethod,
    RevokedCertParams, SerialNumber,
};
use taskpass_types::{EndReason, Timestamp};
use time::OffsetDateTime;
use x509_parser::{
    extensions::{IssuingDistributionPoint, ParsedExtension},
    prelude::FromDer,
    revocation_list::{CertificateRevocationList, RevokedCertificate},
    x509::{ReasonCode, X509Version},
};

/// Why a certificate is on a list. Nobody tells us that a key is stolen, so `keyCompromise` is never said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    /// What it was for is over.
    CessationOfOperation,
    /// It was taken away: policy no longer allows it, or an operator killed it.
    PrivilegeWithdrawn,
}

impl From<EndReason> for RevocationReason {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Drifted | EndReason::Killed => Self::PrivilegeWithdrawn,
            EndReason::Cancelled
            | EndReason::Completed
            | EndReason::Expired
            | EndReason::ParentEnded
            | EndReason::Silent
            | EndReason::TimedOut => Self::CessationOfOperation,
        }
    }
}

impl RevocationReason {
    const fn for_rcgen(self) -> rcgen::RevocationReason {
        match self {
            Self::CessationOfOperation => rcgen::RevocationReason::CessationOfOperation,
            Self::PrivilegeWithdrawn => rcgen::RevocationReason::PrivilegeWithdrawn,
        }
    }

    const fn code(self) -> ReasonCode {
        match self {
            Self::CessationOfOperation => ReasonCode::CessationOfOperation,
            Self::PrivilegeWithdrawn => ReasonCode::PrivilegeWithdrawn,
        }
    }
}

/// One certificate that is no longer good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number: see [`taskpass_types::Grant::serial`].
    pub serial: [u8; 20],
    /// Since when; the list says it in whole seconds.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// Which certificates of its authority a list speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrlScope<'a> {
    /// All of them: what it does not name is good.
    All,
    /// Those that say that their list is at this place: see [`super::CrlShard::url`].
    At(&'a str),
}

impl CrlScope<'_> {
    fn for_rcgen(self) -> Option<CrlIssuingDistributionPoint> {
        match self {
            Self::All => None,
            Self::At(url) => Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint { uris: vec![url.to_owned()] },
                scope: Some(rcgen::CrlScope::UserCertsOnly),
            }),
        }
    }

    /// Whether this is what a list says that it speaks for.
    fn is(self, found: Option<&IssuingDistributionPoint<'_>>) -> bool {
        match (self, found) {
            (Self::All, None) => true,
            (Self::At(url), Some(found)) => {
                found.distribution_point.as_ref().and_then(only_uri) == Some(url)
                    && found.only_contains_user_certs
                    && !(found.only_contains_ca_certs || found.only_contains_attribute_certs)
                    && !found.indirect_crl
                    && found.only_some_reasons.is_none()
            }
            _ => false,
        }
    }
}

/// What a list says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlTerms {
    /// Greater than that of every list before it, of the same authority.
    pub number: u128,
    /// From when on it holds; whole seconds.
    pub this_update: Timestamp,
    /// Until when it may be relied on; whole seconds.
    pub next_update: Timestamp,
}

fn calendar(at: Timestamp) -> Option<OffsetDateTime> {
    i64::try_from(at.as_secs()).ok().and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
}

/// As the library wants it; `None` for times that no calendar has.
pub(super) fn params(
    terms: &CrlTerms,
    scope: CrlScope<'_>,
    revoked: &[Revoked],
) -> Option<CertificateRevocationListParams> {
    let entry = |one: &Revoked| {
        Some(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&one.serial),
            revocation_time: calendar(one.at)?,
            reason_code: Some(one.reason.for_rcgen()),
            invalidity_date: None,
        })
    };
    Some(CertificateRevocationListParams {
        this_update: calendar(terms.this_update)?,
        next_update: calendar(terms.next_update)?,
        crl_number: SerialNumber::from_slice(&terms.number.to_be_bytes()),
        issuing_distribution_point: scope.for_rcgen(),
        revoked_certs: revoked.iter().map(entry).collect::<Option<_>>()?,
        key_identifier_method: KeyIdMethod::Sha256,
    })
}

/// A list that says what was asked for; all that an authority's key signs besides leaves.
pub(super) struct LintedCrl<'a>(&'a [u8]);

impl<'a> LintedCrl<'a> {
    /// Reads back the list `der`, whose signature is still missing; `issuer` is the authority's name in DER. `None` when
    /// it says anything else.
    pub(super) fn check(
        der: &'a [u8],
        issuer: &[u8],
        terms: &CrlTerms,
        scope: CrlScope<'_>,
        revoked: &[Revoked],
    ) -> Option<Self> {
        let (rest, list) = CertificateRevocationList::from_der(der).ok()?;
        let tbs = &list.tbs_cert_list;
        let at = |secs: i64| u64::try_from(secs).ok().map(Timestamp::from_secs);
        let number = list.crl_number()?.to_bytes_be();
        let wanted = terms.number.to_be_bytes();
        let wanted = wanted.iter().position(|byte| *byte != 0).and_then(|first| wanted.get(first..));
        let same = rest.is_empty()
            && tbs.version == Some(X509Version::V2)
            && tbs.issuer.as_raw() == issuer
            && at(tbs.this_update.timestamp()) == Some(terms.this_update)
            && at(tbs.next_update?.timestamp()) == Some(terms.next_update)
            && Some(number.as_slice()) == wanted
            && scope.is(speaks_for(&list).ok()?)
            && tbs.revoked_certificates.len() == revoked.len()
            && tbs.revoked_certificates.iter().zip(revoked).all(|(found, wanted)| is(found, wanted));
        same.then_some(())?;
        der::to_be_signed(der).map(Self)
    }

    /// What may be signed.
    pub(super) fn to_be_signed(&self) -> &'a [u8] {
        self.0
    }
}

/// What a list says that it speaks for; an error when that cannot be read, or is there twice.
fn speaks_for<'a>(
    list: &'a CertificateRevocationList<'_>,
) -> Result<Option<&'a IssuingDistributionPoint<'a>>, ()> {
    let mut found = None;
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) if found.is_none() && extension.critical => {
                found = Some(point);
            }
            ParsedExtension::IssuingDistributionPoint(_) | ParsedExtension::ParseError { .. } => {
                return Err(());
            }
            _ => {}
        }
    }
    Ok(found)
}

fn is(found: &RevokedCertificate<'_>, wanted: &Revoked) -> bool {
    found.raw_serial() == wanted.serial
        && u64::try_from(found.revocation_date.timestamp()).ok() == Some(wanted.at.as_secs())
        && found.reason_code().map(|(_, code)| code) == Some(wanted.reason.code())
}
