//! Revocation lists: what they say, read by two parsers that are not ours, and checked against a certificate.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod common;

use common::{ISSUER, T0, grant, keys, request};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use taskpass_crypto::x509::{CrlScope, CrlShard, CrlTerms, RevocationReason, Revoked, crl_pem, csr};
use taskpass_types::{EndReason, Grant};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::FromDer as _;

fn terms(number: u128) -> CrlTerms {
    CrlTerms { number, this_update: T0, next_update: T0.plus(Duration::from_secs(60)) }
}

fn revoked(grant: &Grant) -> Revoked {
    Revoked { serial: grant.serial(), at: T0, reason: EndReason::Completed.into() }
}

/// What webpki says of a leaf, `after` seconds after the list was made.
fn judge(keys: &common::Keys, leaf: &[u8], crl: &[u8], after: u64) -> Result<(), Error> {
    let anchor = CertificateDer::from(keys.ring.ca_certificates().remove(0));
    let anchor = webpki::anchor_from_trusted_cert(&anchor).unwrap();
    let list: CertRevocationList<'_> = BorrowedCertRevocationList::from_der(crl).unwrap().into();
    let lists = [&list];
    let options = RevocationOptionsBuilder::new(&lists)
        .unwrap()
        .with_depth(RevocationCheckDepth::EndEntity)
        .with_status_policy(UnknownStatusPolicy::Deny)
        .with_expiration_policy(ExpirationPolicy::Enforce)
        .build();
    let leaf = CertificateDer::from(leaf.to_vec());
    let at = UnixTime::since_unix_epoch(Duration::from_secs(T0.as_secs() + after));
    EndEntityCert::try_from(&leaf)
        .unwrap()
        .verify_for_usage(
            &[webpki::ring::ECDSA_P256_SHA256],
            &[anchor],
            &[],
            at,
            KeyUsage::client_auth(),
            Some(options),
            None,
        )
        .map(drop)
}

#[test]
fn a_listed_certificate_is_refused_another_is_not_and_an_old_list_refuses_all() {
    let keys = keys();
    let ca = keys.ring.ca();
    let (good, bad) = (grant(), grant());
    let key = csr::public_key(&request(&rcgen::KeyPair::generate().unwrap())).unwrap();
    let (good_leaf, bad_leaf) = (ca.sign(ISSUER, &key, &good).unwrap(), ca.sign(ISSUER, &key, &bad).unwrap());
    let empty = ca.sign_crl(&terms(1), CrlScope::All, &[]).unwrap();
    assert_eq!(judge(&keys, &bad_leaf, &empty, 1), Ok(()));
    let crl = ca.sign_crl(&terms(2), CrlScope::All, &[revoked(&bad)]).unwrap();
    assert_eq!(judge(&keys, &bad_leaf, &crl, 1), Err(Error::CertRevoked));
    assert_eq!(judge(&keys, &good_leaf, &crl, 1), Ok(()));
    assert!(judge(&keys, &good_leaf, &crl, 61).is_err(), "the list is too old");
    let other = common::keys().ring.ca().sign_crl(&terms(3), CrlScope::All, &[]).unwrap();
    assert!(judge(&keys, &good_leaf, &other, 1).is_err(), "another authority's list says nothing");
}

#[test]
fn a_list_says_its_number_its_key_and_every_reason() {
    let keys = keys();
    let ca = keys.ring.ca();
    let all: Vec<_> = EndReason::ALL
        .iter()
        .map(|reason| Revoked { reason: (*reason).into(), ..revoked(&grant()) })
        .collect();
    for number in [1, 0x80, u128::from(u64::MAX), u128::MAX] {
        let der = ca.sign_crl(&terms(number), CrlScope::All, &all).unwrap();
        let (_, list) = x509_parser::revocation_list::CertificateRevocationList::from_der(&der).unwrap();
        assert_eq!(list.crl_number().unwrap().to_string(), number.to_string());
        let codes: Vec<_> =
            list.iter_revoked_certificates().map(|one| one.reason_code().unwrap().1.0).collect();
        assert_eq!(codes, [5, 5, 9, 5, 9, 5, 5, 5]);
        let (_, authority) = x509_parser::parse_x509_certificate(ca.certificate_der()).unwrap();
        list.verify_signature(authority.public_key()).unwrap();
        let own = authority.iter_extensions().find_map(|one| match one.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let named = list.extensions().iter().find_map(|one| match one.parsed_extension() {
            x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().map(|id| id.0.to_vec())
            }
            _ => None,
        });
        assert!(own.is_some() && own == named, "the list names the authority's key");
    }
    let pem = crl_pem(&ca.sign_crl(&terms(1), CrlScope::All, &all).unwrap());
    assert!(pem.starts_with("-----BEGIN X509 CRL-----\n") && pem.ends_with("-----END X509 CRL-----\n"));
}

#[test]
fn what_ended_well_and_what_was_taken_away_are_told_apart() {
    for reason in EndReason::ALL {
        let taken = matches!(reason, EndReason::Drifted | EndReason::Killed);
        assert_eq!(RevocationReason::from(reason) == RevocationReason::PrivilegeWithdrawn, taken, "{reason}");
    }
}

/// A list that speaks for one part.
fn part(keys: &common::Keys, shard: CrlShard, number: u128, revoked: &[Revoked]) -> Vec<u8> {
    let ca = keys.ring.ca();
    let url = shard.url(ISSUER, ca.generation());
    ca.sign_crl(&terms(number), CrlScope::At(&url), revoked).unwrap()
}

#[test]
fn a_part_speaks_for_its_own_certificates_and_for_no_others() {
    let keys = keys();
    let ca = keys.ring.ca();
    let key = csr::public_key(&request(&rcgen::KeyPair::generate().unwrap())).unwrap();
    let bad = grant();
    let own = CrlShard::of(bad.lease);
    let leaf = ca.sign(ISSUER, &key, &bad).unwrap();
    assert_eq!(judge(&keys, &leaf, &part(&keys, own, 1, &[]), 1), Ok(()));
    assert_eq!(judge(&keys, &leaf, &part(&keys, own, 2, &[revoked(&bad)]), 1), Err(Error::CertRevoked));
    for other in CrlShard::all().filter(|shard| *shard != own) {
        let list = part(&keys, other, 3, &[]);
        assert!(judge(&keys, &leaf, &list, 1).is_err(), "{other:?} says nothing about it");
    }
    // The whole list goes on speaking for all, also for those that name a part.
    let whole = ca.sign_crl(&terms(4), CrlScope::All, &[revoked(&bad)]).unwrap();
    assert_eq!(judge(&keys, &leaf, &whole, 1), Err(Error::CertRevoked));
}
