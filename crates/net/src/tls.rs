//! TLS: version 1.3 only, no session resumption, a certificate that can be replaced while serving.

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::TlsAcceptor;

/// The largest certificate or key file that is read.
const MAX_PEM: u64 = 1 << 20;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file has nothing in it that fits.
    #[error("`{path}` holds no {what} in PEM: {error}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What the parser says.
        error: String,
    },
    /// A file cannot be read.
    #[error("`{path}` cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The certificate or key does not fit, or not each other.
    #[error("the server certificate is not usable: {0}")]
    Rejected(#[from] rustls::Error),
}

/// The certificate and key that the server shows; replaceable while serving, from the next handshake on.
pub struct ServerCertificate(ArcSwap<CertifiedKey>);

impl ServerCertificate {
    /// From a chain, leaf first, and its key.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified(chain, key)?))))
    }

    /// From PEM files: a chain, leaf first, and a PKCS#8, SEC1 or PKCS#1 key.
    pub fn from_pem_files(chain: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let (chain, key) = read_pem(chain, key)?;
        Self::new(chain, key)
    }

    /// Shows another certificate from now on; the old one stays when this one does not fit its key.
    pub fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), TlsError> {
        self.0.store(Arc::new(certified(chain, key)?));
        Ok(())
    }

    /// Reads the files again; says whether the chain is another one. On an error the old one stays. Blocks.
    pub fn reload_pem_files(&self, chain: &Path, key: &Path) -> Result<bool, TlsError> {
        let (chain, key) = read_pem(chain, key)?;
        if self.0.load().cert == chain {
            return Ok(false);
        }
        self.replace(chain, key).map(|()| true)
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCertificate")
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    if chain.is_empty() {
        return Err(rustls::Error::NoCertificatesPresented.into());
    }
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}

fn read_pem(
    chain: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let certificates = CertificateDer::pem_slice_iter(&read(chain)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem(chain, "certificate", &error))?;
    if certificates.is_empty() {
        return Err(pem(chain, "certificate", &rustls_pki_types::pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| pem(key, "private key", &error))?;
    Ok((certificates, key))
}

fn pem(path: &Path, what: &'static str, error: &rustls_pki_types::pem::Error) -> TlsError {
    TlsError::Pem { path: path.to_owned(), what, error: error.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_PEM).read_to_end(&mut text)) {
        Ok(_) => Ok(text),
        Err(error) => Err(TlsError::Read { path: path.to_owned(), error }),
    }
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked; for public documents such as the JWKS.
    None,
    /// They must show one and prove that they hold its key. Whether it is trusted is the attestor's decision.
    Required,
}

/// What is spoken inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2, and nothing else.
    Http2,
    /// HTTP/2 or HTTP/1.1.
    Http2OrHttp1,
}

impl Protocol {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http2 => vec![b"h2".to_vec()],
            Self::Http2OrHttp1 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// How a listener speaks TLS.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
}

impl Tls {
    /// TLS 1.3 with ring. No session is ever resumed: tickets are not sent and nothing is stored, because a resumed
    /// session skips the client certificate.
    pub fn new(
        certificate: Arc<ServerCertificate>,
        clients: ClientAuth,
        protocol: Protocol,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let versions =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13])?;
        let builder = match clients {
            ClientAuth::None => versions.with_no_client_auth(),
            ClientAuth::Required => {
                versions.with_client_cert_verifier(Arc::new(ProofOfPossession::new(&provider)))
            }
        };
        let mut config = builder.with_cert_resolver(certificate);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = protocol.alpn();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

/// Demands a client certificate and checks that the client holds its key, but not whose it is: see the crate's first
/// page for where that is decided.
#[derive(Debug)]
struct ProofOfPossession {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ProofOfPossession {
    fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for ProofOfPossession {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    /// TLS 1.2 is not spoken.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
