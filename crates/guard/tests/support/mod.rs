//! A guard on real sockets, over the broker of `taskpass-verify`'s tests.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

#[path = "../../../verify/tests/common/mod.rs"]
pub(crate) mod common;

use common::{Broker, MAX_STALE, Session, csr_key, grant};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use taskpass_guard::{Guard, Limits, Listener, Metrics};
use taskpass_types::{Confirmation, Grant};
use taskpass_verify::Verifier;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Channel, Endpoint};

pub(crate) struct Running {
    pub(crate) broker: Broker,
    pub(crate) verifier: Verifier,
    /// Local.
    pub(crate) socket: PathBuf,
    /// Of every address, so not local.
    pub(crate) open: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) work: TaskTracker,
    _dir: tempfile::TempDir,
}

/// What it said.
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Said {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Running {
    /// One whose feed has not begun.
    pub(crate) async fn deaf(limits: Limits) -> Self {
        let broker = Broker::start();
        let verifier = broker.builder().start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("guard.sock");
        let open = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = open.local_addr().unwrap().port();
        let listeners = vec![Listener::Unix(UnixListener::bind(&socket).unwrap()), Listener::Tcp(open)];
        let (stop, work) = (CancellationToken::new(), TaskTracker::new());
        let counted = Metrics(Arc::new(|| "counted 1\n".to_owned()));
        let guard = Guard::new(verifier.clone(), MAX_STALE).metrics(counted);
        let stopping = stop.clone();
        work.spawn(async move { guard.serve(listeners, limits, stopping).await });
        work.close();
        Self { broker, verifier, socket, open: ([127, 0, 0, 1], port).into(), stop, work, _dir: dir }
    }

    /// One that has heard that nothing is denied.
    pub(crate) async fn start() -> (Self, Session) {
        let mut running = Self::deaf(Limits::default()).await;
        let session = running.hear().await;
        (running, session)
    }

    pub(crate) async fn hear(&mut self) -> Session {
        let session = self.broker.session().await;
        session.say(self.broker.snapshot(0, vec![])).await;
        self.verifier.ready().await;
        session
    }

    /// A bearer token of a grant.
    pub(crate) fn bearer(&self, grant: &Grant) -> String {
        format!("Bearer {}", self.broker.token(grant))
    }

    /// A certificate of a grant.
    pub(crate) fn certify(&self, grant: &Grant) -> CertificateDer<'static> {
        let key = csr_key();
        let grant =
            Grant { confirmation: Some(Confirmation::KeyThumbprint(key.jkt().into())), ..grant.clone() };
        self.broker.ring.ca().sign(common::ISSUER, &key, &grant).unwrap().into()
    }

    pub(crate) async fn local(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    pub(crate) async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Said {
        ask(self.local().await, request("GET", path, headers)).await
    }

    pub(crate) async fn verify(&self, headers: &[(&str, &str)]) -> Said {
        self.ask("/verify", headers).await
    }

    pub(crate) async fn verify_from_afar(&self, headers: &[(&str, &str)]) -> Said {
        ask(TcpStream::connect(self.open).await.unwrap(), request("GET", "/verify", headers)).await
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("unix:{}", self.socket.display())).unwrap().connect().await.unwrap()
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", "guard");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Empty::new()).unwrap()
}

pub(crate) async fn ask<IO>(io: IO, request: Request<Empty<Bytes>>) -> Said
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    let asking = async {
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Said { status: head.status.as_u16(), headers: head.headers, body }
    };
    tokio::select! {
        said = asking => said,
        _ = connection => panic!("the connection ended without an answer"),
    }
}

/// As nginx and Envoy hand a certificate on.
pub(crate) fn escaped(certificate: &CertificateDer<'_>) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(certificate);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A grant whose tokens are bound to a certificate.
pub(crate) fn bound(certificate: &CertificateDer<'_>) -> Grant {
    Grant { confirmation: Some(taskpass_crypto::thumbprint::certificate(certificate)), ..grant() }
}
