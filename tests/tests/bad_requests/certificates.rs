//! Requests for certificates: of a request, the key is taken and nothing else.

use super::Desk;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use taskpass_e2e::certificate;
use tonic::Code;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

fn der(params: CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.serialize_request(key).unwrap().der().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_or_has_no_acceptable_key_is_refused() {
    let desk = Desk::open().await;
    let good = der(CertificateParams::default(), &KeyPair::generate().unwrap());
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    for (what, csr) in [
        ("nothing", vec![]),
        ("noise", b"\x30\x82not a request".to_vec()),
        ("half a request", good[..good.len() / 2].to_vec()),
        ("a request and a bit more", [good.as_slice(), b"\0"].concat()),
        ("a signature that is not the key's", forged),
        ("an RSA key", include_bytes!("../fixtures/rsa-2048.csr.pem").to_vec()),
        ("a P-384 key", der(CertificateParams::default(), &p384)),
        ("more than 8 KiB", [good.as_slice(), &[0; 9000]].concat()),
    ] {
        let since = desk.world.next_entry();
        let refused = desk.agent.issue(certificate(&desk.task.id, csr)).await.unwrap_err();
        desk.refused(what, since, &refused, (Code::InvalidArgument, "CSR_INVALID")).await;
        assert!(refused.about("fix").contains("P-256"), "{what}: {refused:?}");
    }
    desk.close(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_in_a_request_are_dropped() {
    let desk = Desk::open().await;
    for key in [KeyPair::generate().unwrap(), KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()] {
        let mut wishes = CertificateParams::default();
        wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wishes.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        wishes.distinguished_name.push(DnType::CommonName, "admin");
        wishes.subject_alt_names = vec![
            SanType::DnsName("broker.acme.test".try_into().unwrap()),
            SanType::URI("spiffe://acme.test/ops/oncall".try_into().unwrap()),
        ];
        let ask = certificate(&desk.task.id, der(wishes, &key));
        let (lease, chain) = desk.agent.issue_certificate(ask).await.unwrap();

        let (rest, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        assert!(rest.is_empty());
        assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
        assert!(!leaf.is_ca());
        let usage = leaf.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        let expected = format!("spiffe://acme.test/dev/bot/task/{}", desk.task.id);
        assert!(matches!(names.as_slice(), [GeneralName::URI(uri)] if *uri == expected), "{names:?}");
        assert!(!leaf.subject().to_string().contains("admin"), "{}", leaf.subject());
        // A certificate is good up to and including its last second.
        assert!(leaf.validity().not_after.timestamp() < lease.expire_time.unwrap().seconds);
    }
    desk.close(2).await;
}
