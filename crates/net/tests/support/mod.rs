//! A certificate authority, a client and a one-line server for tests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test file uses a part of it; tests may panic"
)]

use futures::StreamExt;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    client::{ClientSessionMemoryCache, Resumption},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use taskpass_attest::{
    Attestor, Attestors,
    spiffe::{Authority, Bundle, Bundles, X509Attestor},
    unix::UnixAttestor,
};
use taskpass_net::{
    Acceptor, ClientAuth, Connection, Drain, Incoming, Limits, Protocol, ServerCertificate, Tls, listen_tcp,
};
use taskpass_types::{Clock, ManualClock, SystemClock, Timestamp, TrustDomain};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
    pem: String,
}

impl Pair {
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: OffsetDateTime,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let now = OffsetDateTime::from_unix_timestamp(
            i64::try_from(SystemClock::default().now().as_secs()).unwrap(),
        )
        .unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) =
            (now - time::Duration::days(1), now + time::Duration::days(1));
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(), now }
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::new(vec![Authority::from_der(self.issuer.der()).unwrap()])
    }

    pub(crate) fn server(&self) -> Pair {
        self.sign(|params| {
            params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        })
    }

    /// Good for an hour.
    pub(crate) fn svid(&self, id: &str) -> Pair {
        self.sign(|params| params.subject_alt_names = vec![uri(id)])
    }

    pub(crate) fn expired(&self, id: &str) -> Pair {
        self.sign(|params| {
            params.subject_alt_names = vec![uri(id)];
            params.not_after = self.now - time::Duration::minutes(1);
        })
    }

    pub(crate) fn sign(&self, edit: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) =
            (self.now - time::Duration::hours(1), self.now + time::Duration::hours(1));
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { chain: vec![certificate.der().clone()], key, pem: certificate.pem() }
    }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A server that answers every byte with one line: who the caller is, or why it is refused.
pub(crate) struct Server {
    pub(crate) acceptor: Acceptor,
    pub(crate) drain: Drain,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) bundles: Bundles,
    pub(crate) ca: Ca,
    pub(crate) certificate: Arc<ServerCertificate>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Trusts its own authority for `acme.test`.
    pub(crate) async fn start(limits: Limits) -> Self {
        let ca = Ca::new();
        let bundles = Bundles::new([(TrustDomain::new("acme.test").unwrap(), ca.bundle())]);
        let attestors: Vec<Arc<dyn Attestor>> =
            vec![Arc::new(X509Attestor::new(bundles.clone())), Arc::new(UnixAttestor::new())];
        let clock = Arc::new(ManualClock::new(SystemClock::default().now()));
        let drain = Drain::new();
        let acceptor =
            Acceptor::new(Arc::new(Attestors::new(attestors)), clock.clone(), limits, drain.clone());
        let pair = ca.server();
        let certificate = ServerCertificate::new(pair.chain.clone(), pair.private_key()).unwrap();
        let tls = Tls::new(certificate.clone(), ClientAuth::Required, Protocol::Http2).unwrap();
        let listener = listen_tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { acceptor, drain, clock, bundles, ca, certificate, address };
        server.answer(server.acceptor.tls(listener, tls));
        server
    }

    pub(crate) fn answer<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        mut incoming: Incoming<IO>,
    ) {
        let (tasks, clock) = (self.drain.tasks().clone(), self.clock.clone());
        self.drain.tasks().spawn(async move {
            while let Some(Ok(connection)) = incoming.next().await {
                tasks.spawn(answer(connection, clock.clone()));
            }
        });
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Connects, and asks who we are.
    pub(crate) async fn ask(&self, client: &Client) -> io::Result<String> {
        let mut stream = client.connect(self.address).await?;
        ask(&mut stream).await
    }

    pub(crate) fn client(&self, pair: &Pair) -> Client {
        Client::new(&self.ca, Some(pair))
    }
}

async fn answer<IO: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<IO>,
    clock: Arc<ManualClock>,
) -> io::Result<()> {
    let peer = connection.peer().clone();
    while connection.read_u8().await.is_ok() {
        let line = match peer.attested(clock.now()).await {
            Ok(identity) => format!("{}\n", identity.description),
            Err(refusal) => format!("{} {refusal}\n", refusal.reason()),
        };
        connection.write_all(line.as_bytes()).await?;
        connection.flush().await?;
    }
    Ok(())
}

/// Sends a byte and reads the line.
pub(crate) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<String> {
    stream.write_all(b"?").await?;
    stream.flush().await?;
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(String::from_utf8(line).unwrap()),
            byte => line.push(byte),
        }
    }
}

/// Waits until the other end has closed or reset the connection; what it says before does not count.
pub(crate) async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
}

pub(crate) struct Client {
    pub(crate) config: ClientConfig,
    pub(crate) from: Ipv4Addr,
}

impl Client {
    pub(crate) fn new(ca: &Ca, pair: Option<&Pair>) -> Self {
        Self::with_version(ca, pair, &TLS13)
    }

    pub(crate) fn with_version(
        ca: &Ca,
        pair: Option<&Pair>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(ca.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match pair {
            Some(pair) => builder.with_client_auth_cert(pair.chain.clone(), pair.private_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
        Self { config, from: Ipv4Addr::LOCALHOST }
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let tcp = connect_from(self.from, address).await?;
        let name = ServerName::IpAddress(address.ip().into());
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, tcp).await
    }
}

pub(crate) async fn connect_from(from: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(address).await
}

pub(crate) fn session(stream: &TlsStream<TcpStream>) -> &ClientConnection {
    stream.get_ref().1
}
