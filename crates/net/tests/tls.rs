//! Real handshakes over the loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use futures::future::join_all;
use rcgen::{BasicConstraints, IsCa};
use rustls::{
    SignatureScheme,
    client::{
        ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
    },
    crypto::ring::sign::any_supported_type,
    sign::CertifiedKey,
    version::TLS12,
};
use rustls_pki_types::ServerName;
use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::{Ca, Client, Pair, Server, ask, closed, session, uri};
use taskpass_attest::spiffe::Bundle;
use taskpass_net::{ClientAuth, Limits, Protocol, ServerCertificate, Tls, listen_tcp};
use taskpass_types::TrustDomain;

const BOT: &str = "spiffe://acme.test/ci/bot";

#[tokio::test]
async fn a_good_svid_is_served() {
    let server = Server::start(Limits::default()).await;
    let client = server.client(&server.ca.svid(BOT));
    let mut stream = client.connect(server.address).await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), BOT);
    assert_eq!(session(&stream).alpn_protocol(), Some(&b"h2"[..]));
    let peers = server.acceptor.connections().peers();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].identity(server.now()).unwrap().description, BOT);
    assert_eq!(peers[0].evidence_kind(), "x509");
}

#[tokio::test]
async fn a_refused_peer_hears_why_and_is_closed_soon() {
    let limits = Limits { refused_connection_life: Duration::from_secs(2), ..Limits::default() };
    let server = Server::start(limits).await;
    let other = Ca::new();
    let cases: Vec<(Pair, &str)> = vec![
        (server.ca.expired(BOT), "ATTESTATION_EXPIRED"),
        (other.svid("spiffe://other.test/ci/bot"), "ATTESTATION_INVALID trust domain `other.test`"),
        (other.svid(BOT), "ATTESTATION_INVALID no authority"),
        (
            server
                .ca
                .sign(|params| params.subject_alt_names = vec![uri(BOT), uri("spiffe://acme.test/ci/other")]),
            "ATTESTATION_INVALID the certificate has 2 URI names",
        ),
        (
            server.ca.sign(|params| {
                params.subject_alt_names = vec![uri(BOT)];
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            "ATTESTATION_INVALID the certificate is an authority",
        ),
    ];
    let server = &server;
    let refusals = cases.into_iter().map(async |(pair, why)| {
        let mut stream = server.client(&pair).connect(server.address).await.expect(why);
        let line = ask(&mut stream).await.unwrap();
        assert!(line.starts_with(why), "{why}: {line}");
        closed(&mut stream).await;
    });
    join_all(refusals).await;
}

#[tokio::test]
async fn without_a_certificate_there_is_no_connection() {
    let server = Server::start(Limits::default()).await;
    let client = Client::new(&server.ca, None);
    assert!(server.ask(&client).await.is_err());
    assert!(server.acceptor.connections().is_empty());
}

/// Offers a certificate with another key's signature.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesClientCert for Thief {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let server = Server::start(Limits::default()).await;
    let (stolen, own) = (server.ca.svid(BOT), server.ca.svid("spiffe://acme.test/ci/thief"));
    let key = any_supported_type(&own.private_key()).unwrap();
    let mut client = Client::new(&server.ca, None);
    client.config.client_auth_cert_resolver = Arc::new(Thief(Arc::new(CertifiedKey::new(stolen.chain, key))));
    assert!(server.ask(&client).await.is_err());
    assert!(server.acceptor.connections().is_empty());
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let server = Server::start(Limits::default()).await;
    let client = Client::with_version(&server.ca, Some(&server.ca.svid(BOT)), &TLS12);
    assert!(client.connect(server.address).await.is_err());
}

/// Counts the tickets that the server sends; offers none.
#[derive(Debug, Default)]
struct Tickets(AtomicUsize);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, _group: rustls::NamedGroup) {}

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _session: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, _ticket: Tls13ClientSessionValue) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

#[tokio::test]
async fn no_session_is_resumed_so_a_revoked_authority_counts_at_once() {
    let server = Server::start(Limits::default()).await;
    let tickets = Arc::new(Tickets::default());
    let mut counting = server.client(&server.ca.svid(BOT));
    counting.config.resumption = Resumption::store(tickets.clone());
    assert_eq!(server.ask(&counting).await.unwrap(), BOT);
    assert_eq!(tickets.0.load(Ordering::Relaxed), 0, "the server sent a session ticket");

    let client = server.client(&server.ca.svid(BOT));
    assert_eq!(server.ask(&client).await.unwrap(), BOT);
    server.bundles.set(TrustDomain::new("acme.test").unwrap(), Bundle::default());
    let mut second = client.connect(server.address).await.unwrap();
    assert_eq!(session(&second).handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert!(ask(&mut second).await.unwrap().starts_with("ATTESTATION_INVALID"));
}

#[tokio::test]
async fn a_new_bundle_turns_a_refused_peer_into_an_accepted_one() {
    let server = Server::start(Limits::default()).await;
    let other = Ca::new();
    let client = server.client(&other.svid("spiffe://other.test/ci/bot"));
    assert!(server.ask(&client).await.unwrap().contains("not trusted here"));
    server.bundles.set(TrustDomain::new("other.test").unwrap(), other.bundle());
    assert_eq!(server.ask(&client).await.unwrap(), "spiffe://other.test/ci/bot");
}

#[tokio::test]
async fn a_replaced_server_certificate_is_shown_to_the_next_client() {
    let server = Server::start(Limits::default()).await;
    let client = server.client(&server.ca.svid(BOT));
    let first = client.connect(server.address).await.unwrap();
    let next = server.ca.server();
    server.certificate.replace(next.chain.clone(), next.private_key()).unwrap();
    let second = client.connect(server.address).await.unwrap();
    assert_ne!(session(&first).peer_certificates(), session(&second).peer_certificates());
    assert_eq!(session(&second).peer_certificates().unwrap(), next.chain);

    let stranger = server.ca.server();
    assert!(
        server.certificate.replace(next.chain.clone(), stranger.private_key()).is_err(),
        "a key that does not fit"
    );
    assert_eq!(server.ask(&client).await.unwrap(), BOT);
}

#[tokio::test]
async fn an_svid_that_expires_ends_its_connection() {
    let server =
        Server::start(Limits { reattest_after: Duration::from_millis(20), ..Limits::default() }).await;
    let mut stream = server.client(&server.ca.svid(BOT)).connect(server.address).await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), BOT);
    server.clock.advance(Duration::from_secs(2 * 3600));
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_revoked_authority_ends_connections_that_only_listen() {
    let server =
        Server::start(Limits { reattest_after: Duration::from_millis(20), ..Limits::default() }).await;
    let mut stream = server.client(&server.ca.svid(BOT)).connect(server.address).await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), BOT);
    server.bundles.set(TrustDomain::new("acme.test").unwrap(), Bundle::default());
    // The identity is still fresh by the clock; a little later it has to be verified again.
    server.clock.advance(Duration::from_secs(1));
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_public_listener_asks_for_nothing_and_attests_nobody() {
    let limits = Limits { refused_connection_life: Duration::ZERO, ..Limits::default() };
    let server = Server::start(limits).await;
    let bind = || listen_tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();

    let (listener, plain) = (bind(), bind());
    let (tls_address, plain_address) = (listener.local_addr().unwrap(), plain.local_addr().unwrap());
    let tls = Tls::new(server.certificate.clone(), ClientAuth::None, Protocol::Http2OrHttp1).unwrap();
    server.answer(server.acceptor.tls(listener, tls));
    server.answer(server.acceptor.tcp(plain));

    let mut client = Client::new(&server.ca, None);
    client.config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut secure = client.connect(tls_address).await.unwrap();
    assert_eq!(session(&secure).alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut bare = tokio::net::TcpStream::connect(plain_address).await.unwrap();
    for _ in 0..2 {
        let refused = "ATTESTATION_INVALID the caller presented no identity on this connection";
        assert_eq!(ask(&mut secure).await.unwrap(), refused);
        assert_eq!(ask(&mut bare).await.unwrap(), refused);
    }
}

#[test]
fn a_server_certificate_follows_its_files_and_keeps_the_last_good_one() {
    let (ca, directory) = (Ca::new(), tempfile::tempdir().unwrap());
    let (chain, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let write = |pair: &Pair, other: &Pair| {
        std::fs::write(&chain, pair.pem()).unwrap();
        std::fs::write(&key, other.key.serialize_pem()).unwrap();
    };
    let (first, second) = (ca.server(), ca.server());
    assert!(ServerCertificate::from_pem_files(&chain, &key).is_err(), "there are no files");
    write(&first, &second);
    assert!(ServerCertificate::from_pem_files(&chain, &key).is_err(), "the key is another's");
    write(&first, &first);
    let certificate = ServerCertificate::from_pem_files(&chain, &key).unwrap();
    assert!(!certificate.reload_pem_files(&chain, &key).unwrap());
    write(&second, &first);
    assert!(certificate.reload_pem_files(&chain, &key).is_err(), "half of a rotation");
    write(&second, &second);
    assert!(certificate.reload_pem_files(&chain, &key).unwrap());
    std::fs::write(&chain, "").unwrap();
    assert!(certificate.reload_pem_files(&chain, &key).is_err());
}
