//! A small HTTP client for the demo: one connection, kept open, so that what it measures is the answer and not the
//! handshake.

use anyhow::Context;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::ring, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

const MAX_BODY: usize = 1 << 20;

/// One open connection.
pub struct Caller {
    sender: SendRequest<Full<Bytes>>,
    work: TaskTracker,
}

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; for a refusal, why.
    pub text: String,
}

impl Answer {
    /// Whether it was accepted.
    pub fn is_ok(&self) -> bool {
        self.status == 200
    }
}

impl Caller {
    /// Connects in the clear, which is for loopback.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn plain(address: SocketAddr) -> anyhow::Result<Self> {
        Self::over(tcp(address).await?).await
    }

    /// Connects by TLS with a client certificate; `root_pem` is what the server's chains to.
    ///
    /// # Errors
    /// When nobody listens there, or the handshake fails.
    pub async fn certified(
        address: SocketAddr,
        root_pem: &str,
        chain_pem: &str,
        key_pem: &str,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
            roots.add(root?)?;
        }
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?)?;
        config.resumption = Resumption::disabled();
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp(address).await?).await?;
        Self::over(stream).await
    }

    async fn over<IO>(io: IO) -> anyhow::Result<Self>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let work = TaskTracker::new();
        work.spawn(connection);
        Ok(Self { sender, work })
    }

    /// Asks for `path`, with a token if there is one.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn get(&mut self, path: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, token, "", None).await
    }

    /// Sends `body` to `path`, with a token if there is one.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn post(&mut self, path: &str, token: Option<&str>, body: &str) -> anyhow::Result<Answer> {
        self.ask(Method::POST, path, token, body, None).await
    }

    /// Sends a form to `path`.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn form(&mut self, path: &str, form: &str) -> anyhow::Result<Answer> {
        self.ask(Method::POST, path, None, form, Some("application/x-www-form-urlencoded")).await
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &str,
        kind: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::from(body.to_owned()))?).await?;
        let status = response.status().as_u16();
        let why =
            response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).map(description);
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
        let text = why.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
        Ok(Answer { status, text })
    }
}

/// The `error_description` of a challenge (RFC 6750 section 3), or all of it.
fn description(challenge: &str) -> String {
    let quoted = challenge.split_once("error_description=\"").and_then(|(_, rest)| rest.split_once('"'));
    quoted.map_or(challenge, |(description, _)| description).to_owned()
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.work.close();
    }
}

async fn tcp(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("nobody listens on `{address}`"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
