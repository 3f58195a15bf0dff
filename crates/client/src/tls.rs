//! Our certificate and key, and what the broker's certificate must chain to.
//!
//! Files are read for every connection, so that a rotation needs no restart. A rotation that is caught half way (the
//! certificate replaced, its key not yet) does not break anything: the last material that fitted is used once more.

use crate::EndpointError;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore, client::Resumption, crypto::ring, sign::CertifiedKey, version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{borrow::Cow, fmt, io, path::PathBuf, sync::Arc};
use taskpass_types::{Secret, Timestamp};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// More than this is no certificate or key of ours.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// Where PEM comes from: a file that is read again for every connection, or memory.
#[derive(Clone)]
pub enum Pem {
    /// A path.
    File(PathBuf),
    /// The text itself.
    Memory(Secret<Vec<u8>>),
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<String> for Pem {
    fn from(text: String) -> Self {
        Self::Memory(text.into_bytes().into())
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Memory(_) => f.write_str("in memory"),
        }
    }
}

impl Pem {
    async fn read(&self) -> Result<Cow<'_, [u8]>, EndpointError> {
        match self {
            Self::File(path) => read_file(path.clone()).await.map(Cow::Owned),
            Self::Memory(text) => Ok(Cow::Borrowed(text.expose())),
        }
    }
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, EndpointError> {
    use tokio::io::AsyncReadExt;
    let read = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(&path).await?.take(MAX_PEM_BYTES).read_to_end(&mut bytes).await?;
        io::Result::Ok(bytes)
    };
    read.await.map_err(|error| EndpointError::Material(format!("`{}`: {error}", path.display())))
}

/// The trust roots for the broker's certificate, and our own identity. `Clone` shares what was loaded last.
#[derive(Clone)]
pub struct Tls {
    roots: Pem,
    identity: Option<(Pem, Pem)>,
    last: Arc<Mutex<Option<Loaded>>>,
}

/// What a connection is made with.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Arc<ClientConfig>,
    /// When our own certificate ends, if there is one.
    pub(crate) not_after: Option<Timestamp>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("roots", &self.roots).field("identity", &self.identity).finish()
    }
}

impl Tls {
    /// `roots`: the CA certificates that the broker's must chain to. The system's are never used.
    pub fn new(roots: impl Into<Pem>) -> Self {
        Self { roots: roots.into(), identity: None, last: Arc::default() }
    }

    /// Our certificate chain, leaf first, and its private key.
    #[must_use]
    pub fn identity(mut self, chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// What to make a new connection with.
    pub(crate) async fn load(&self) -> Result<Loaded, EndpointError> {
        match self.read().await {
            Ok(loaded) => {
                *self.last.lock() = Some(loaded.clone());
                Ok(loaded)
            }
            Err(error) => {
                let last =
                    self.last.lock().clone().ok_or_else(|| EndpointError::Material(error.to_string()))?;
                tracing::warn!(%error, "cannot reload the TLS material, going on with what was loaded last");
                Ok(last)
            }
        }
    }

    async fn read(&self) -> Result<Loaded, EndpointError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.roots.read().await?)? {
            roots.add(root).map_err(unusable)?;
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots);
        let mut not_after = None;
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(&chain.read().await?)?;
                let key = PrivateKeyDer::from_pem_slice(&key.read().await?).map_err(unusable)?;
                CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map_err(unusable)?;
                not_after = chain.first().map(end).transpose()?;
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
        };
        // A resumed session would carry an identity that the broker did not look at again.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Loaded { config: Arc::new(config), not_after })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, EndpointError> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(unusable)?;
    if certificates.is_empty() {
        return Err(EndpointError::Material("there is no certificate in the PEM".into()));
    }
    Ok(certificates)
}

/// When a certificate ends.
fn end(leaf: &CertificateDer<'_>) -> Result<Timestamp, EndpointError> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(unusable)?;
    Ok(Timestamp::from_secs(u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default()))
}

fn unusable(error: impl fmt::Display) -> EndpointError {
    EndpointError::Material(error.to_string())
}
