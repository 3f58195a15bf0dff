//! Certificate signing requests: the key is taken, every wish is dropped.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use common::{ISSUER, T0, grant, keys, request};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use taskpass_crypto::{
    CaBundle, Leeway,
    x509::csr::{MAX_CSR_BYTES, public_key},
};
use taskpass_types::Reason;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

fn params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    change(&mut params);
    params
}

#[test]
fn wishes_are_dropped() {
    let keys = keys();
    let bundle = CaBundle::from_pem(keys.ring.ca_bundle_pem().as_bytes()).unwrap();
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let wishes = [
        ("nothing", params(|_| {})),
        ("a CA", params(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        ("to sign", params(|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign])),
        ("another's name", params(|p| p.subject_alt_names = vec![uri("spiffe://acme.test/admin")])),
        (
            "two names",
            params(|p| p.subject_alt_names = vec![uri("spiffe://acme.test/a"), uri("spiffe://b.test/b")]),
        ),
        (
            "a host",
            params(|p| p.subject_alt_names = vec![SanType::DnsName("broker.acme.test".try_into().unwrap())]),
        ),
        ("an address", params(|p| p.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())])),
        ("a subject", params(|p| p.distinguished_name.push(DnType::CommonName, "root"))),
        ("to sign code", params(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning])),
        (
            "an unknown extension",
            params(|p| {
                let mut extension =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![4, 1, 0]);
                extension.set_criticality(true);
                p.custom_extensions = vec![extension];
            }),
        ),
        (
            "a grant of its own",
            params(|p| {
                p.custom_extensions = vec![CustomExtension::from_oid_content(
                    taskpass_crypto::x509::GRANT_OID,
                    vec![12, 2, 123, 125],
                )];
            }),
        ),
    ];
    for alg in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        for (what, params) in &wishes {
            let key = KeyPair::generate_for(alg).unwrap();
            let request = params.serialize_request(&key).unwrap();
            let taken = public_key(request.der()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(taken, public_key(request.pem().unwrap().as_bytes()).unwrap());
            assert_eq!(taken.spki_der(), rcgen::PublicKeyData::subject_public_key_info(&key));
            assert_eq!(taken.jkt(), taken.public_key().thumbprint());

            let grant = grant();
            let leaf = CertificateDer::from(keys.ring.ca().sign(ISSUER, &taken, &grant).unwrap());
            assert_eq!(bundle.verify(&[leaf], T0, Leeway::ZERO), Ok(grant), "{what}");
        }
    }
}

/// A request whose key is no longer the one that signed it.
fn signed_by_another() -> Vec<u8> {
    let mut der = request(&KeyPair::generate().unwrap());
    let other = KeyPair::generate().unwrap();
    let (mine, point) = (other.public_key_raw(), [0x03, 0x42, 0x00, 0x04]);
    let at = der.windows(4).position(|window| window == point).unwrap() + 3;
    der[at..at + 65].copy_from_slice(mine);
    der
}

#[test]
fn bad_requests() {
    let good = request(&KeyPair::generate().unwrap());
    let pem = params(|_| {}).serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let edit = |change: fn(&mut Vec<u8>)| {
        let mut der = good.clone();
        change(&mut der);
        der
    };
    let certificate = keys().ring.ca().certificate_der().to_vec();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("garbage", b"hello".to_vec()),
        ("zeros", vec![0; 100]),
        ("a sequence of nothing", vec![0x30, 0]),
        ("an endless length", vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
        ("deep", [0x30, 0x80].repeat(2000)),
        ("huge", vec![0x30; MAX_CSR_BYTES + 1]),
        ("cut", good[..good.len() - 1].to_vec()),
        ("trailing byte", edit(|der| der.push(0))),
        ("bad signature", edit(|der| *der.last_mut().unwrap() ^= 1)),
        ("signed by another", signed_by_another()),
        ("a certificate", certificate),
        ("P-384", request(&KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap())),
        ("RSA 2048", RSA_2048.as_bytes().to_vec()),
        ("PEM of a key", KeyPair::generate().unwrap().serialize_pem().into_bytes()),
        ("PEM without an end", pem.as_bytes()[..pem.len() - 30].to_vec()),
        ("PEM with garbage", pem.replace('M', "!").into_bytes()),
    ];
    for (what, bytes) in cases {
        let refusal = public_key(&bytes).expect_err(what);
        assert_eq!(refusal.reason(), Reason::CsrInvalid, "{what}");
        assert!(refusal.fix_text().is_some(), "{what}");
    }
}

#[test]
fn no_flipped_bit_gives_another_key() {
    let good = request(&KeyPair::generate().unwrap());
    let key = public_key(&good).unwrap();
    let (_, parsed) = X509CertificationRequest::from_der(&good).unwrap();
    // The header of the outer sequence has three bytes; behind what is signed there are two forms of one thing.
    let signed = 3..3 + parsed.certification_request_info.raw.len();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut der = good.clone();
            der[at] ^= 1 << bit;
            if let Ok(other) = public_key(&der) {
                assert!(!signed.contains(&at) && other == key, "byte {at} bit {bit}");
            }
        }
    }
}

/// Made once, its key thrown away: the primitives here cannot make one.
const RSA_2048: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
MIICUTCCATkCAQAwDDEKMAgGA1UEAwwBeDCCASIwDQYJKoZIhvcNAQEBBQADggEP\n\
ADCCAQoCggEBAPC0o6cLHFjSM9O8PK9rzG/zave2EHhAgxqtVrgLHDE+wcLXly2n\n\
FsFjSWbCFpdnSpJfxq3dvE06O4MXNyHScm0gcwmLN/PXboYfkpqvmtcE6twyeolF\n\
10p3JeJqWD3Mgy/V9n88lj6Y5BZ4Kc+mhrE5WdKy6DOUzbt1W7/AyI00VNmWtmI9\n\
PUTeepk0YeTXIFb/33SSsSuWdjgXsPtNOtsyYA0LnXwsZc5uuUPDVVjHv9iX9mbP\n\
2YMCied5d4sIFgc33yY5zAEvbpu2Oga5L2hrOcB7p7xB4reeoAEsGx6ay6LUaJQq\n\
e+8WA7VxdOXWZm8qm9tXOxbBgS/8rxKgLzECAwEAAaAAMA0GCSqGSIb3DQEBCwUA\n\
A4IBAQBBQxzEjsrJcOMXbe42IYbQcORtJOtc9YVGINNmhBrzOmUyNzS+uK8DHrTz\n\
z2gsD+fu3zWo1ox8eT4IvGc2xt5twPEGQTOz+nDgUkHROEl8DkVo9mw6Qoh/pNeG\n\
MfXfGSWbW6SQpiNo+946VkBNg+BgzVO0zsOLzgWYPVn4SQDcQ2YkF1O+xpi+Qz8X\n\
jn2eEJl7tJVtamB5WSJpw/lTldf0koDaNzSSSKDLKeUqXRYQereF4bwiq6MiuE7F\n\
X4oR7yFXy8JAkJ7zRrhzFqbPQZqUdisFEldi08agKLyYp7hvdHgi9koG0IrP5Khx\n\
q1FChmsyJc+P74lvObFPc2zrwcxF\n\
-----END CERTIFICATE REQUEST-----\n";
