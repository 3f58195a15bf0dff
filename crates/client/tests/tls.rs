//! TLS to the broker: both sides proved, nothing resumed, rotated files taken up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ProtocolVersion, RootCertStore, ServerConfig,
    crypto::ring,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{fs, path::PathBuf, sync::Arc};
use taskpass_client::{Endpoint, EndpointError, Tls};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Issued {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        Issued { der: certificate.der().clone(), pem: certificate.pem(), key }
    }
}

/// What a connection showed to the server.
struct Seen {
    peer: CertificateDer<'static>,
    alpn: Option<Vec<u8>>,
    version: Option<ProtocolVersion>,
    resumed: bool,
}

struct Fixture {
    authority: Authority,
    address: String,
    seen: mpsc::Receiver<Seen>,
    dir: tempfile::TempDir,
}

impl Fixture {
    async fn start(versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        let authority = Authority::new();
        let server = authority.issue("localhost");
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![server.der.clone()], secret(&server.key))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (told, seen) = mpsc::channel(16);
        TaskTracker::new().spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), told));
        Self { authority, address, seen, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn endpoint(&self) -> Endpoint {
        let tls = Tls::new(self.path("ca.pem")).identity(self.path("cert.pem"), self.path("key.pem"));
        Endpoint::https(&self.address, tls).unwrap()
    }

    fn write(&self, identity: &Issued) {
        fs::write(self.path("ca.pem"), self.authority.0.pem()).unwrap();
        fs::write(self.path("cert.pem"), &identity.pem).unwrap();
        fs::write(self.path("key.pem"), identity.key.serialize_pem()).unwrap();
    }
}

fn secret(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

/// Shakes hands and keeps the connection open; an HTTP/2 client needs no more to be connected.
async fn accept(listener: TcpListener, acceptor: TlsAcceptor, told: mpsc::Sender<Seen>) {
    let mut open = Vec::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let Ok(tls) = acceptor.accept(tcp).await else { continue };
        let connection = tls.get_ref().1;
        let seen = Seen {
            peer: connection.peer_certificates().unwrap().first().unwrap().clone().into_owned(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            version: connection.protocol_version(),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        };
        open.push(tls);
        told.send(seen).await.unwrap();
    }
}

#[tokio::test]
async fn both_sides_are_proved_and_nothing_is_resumed() {
    let mut fixture = Fixture::start(&[&TLS13, &TLS12]).await;
    let mine = fixture.authority.issue("agent");
    fixture.write(&mine);
    let endpoint = fixture.endpoint();
    for _ in 0..2 {
        endpoint.connect().await.unwrap();
        let seen = fixture.seen.recv().await.unwrap();
        assert_eq!(seen.peer, mine.der);
        assert_eq!(seen.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(seen.version, Some(ProtocolVersion::TLSv1_3));
        assert!(!seen.resumed);
    }
}

#[tokio::test]
async fn rotated_files_are_taken_up_and_half_of_a_rotation_is_not() {
    let mut fixture = Fixture::start(&[&TLS13]).await;
    let (old, new) = (fixture.authority.issue("agent"), fixture.authority.issue("agent"));
    fixture.write(&old);
    let endpoint = fixture.endpoint();
    endpoint.connect().await.unwrap();
    assert_eq!(fixture.seen.recv().await.unwrap().peer, old.der);

    fs::write(fixture.path("cert.pem"), &new.pem).unwrap();
    endpoint.connect().await.unwrap();
    assert_eq!(fixture.seen.recv().await.unwrap().peer, old.der, "the key is not there yet");

    fixture.write(&new);
    endpoint.connect().await.unwrap();
    assert_eq!(fixture.seen.recv().await.unwrap().peer, new.der);
}

#[tokio::test]
async fn a_broker_that_cannot_be_proved_is_refused() {
    let fixture = Fixture::start(&[&TLS13]).await;
    fixture.write(&fixture.authority.issue("agent"));
    fs::write(fixture.path("ca.pem"), Authority::new().0.pem()).unwrap();
    assert!(connect(&fixture.endpoint()).await.contains("invalid peer certificate"));

    fixture.write(&fixture.authority.issue("agent"));
    let tls = Tls::new(fixture.path("ca.pem"));
    let elsewhere = fixture.address.replace("localhost", "127.0.0.1");
    let why = connect(&Endpoint::https(&elsewhere, tls).unwrap()).await;
    assert!(why.contains("invalid peer certificate"), "another name: {why}");
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let fixture = Fixture::start(&[&TLS12]).await;
    fixture.write(&fixture.authority.issue("agent"));
    assert!(!connect(&fixture.endpoint()).await.is_empty());
}

#[tokio::test]
async fn material_that_cannot_be_used_is_named() {
    let fixture = Fixture::start(&[&TLS13]).await;
    let mine = fixture.authority.issue("agent");
    for (file, content, expected) in [
        ("ca.pem", None, "No such file"),
        ("ca.pem", Some(""), "no certificate in the PEM"),
        ("cert.pem", Some("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), ""),
        ("key.pem", Some(&*KeyPair::generate().unwrap().serialize_pem()), "KeyMismatch"),
        ("key.pem", Some(""), "no items found"),
    ] {
        fixture.write(&mine);
        match content {
            Some(content) => fs::write(fixture.path(file), content).unwrap(),
            None => fs::remove_file(fixture.path(file)).unwrap(),
        }
        let why = connect(&fixture.endpoint()).await;
        assert!(why.contains(expected), "{file} {content:?}: {why}");
    }
}

/// Why there is no connection.
async fn connect(endpoint: &Endpoint) -> String {
    match endpoint.connect().await {
        Err(EndpointError::Connect { why, .. }) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("connected"),
    }
}
