//! A resource server, as a team would write one: an axum service behind `taskpass-verify`'s layer.
//!
//! It takes tokens, on HTTP (for loopback) and HTTPS, and on HTTPS client certificates. It knows no user, no password and no API key; it
//! follows the deny feed and refuses what has ended.

use anyhow::Context;
use axum::{
    Extension, Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{net::SocketAddr, sync::Arc};
use taskpass_verify::{Granted, PeerCertificates, Verifier};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;

/// What the demo's resource server is called.
pub const RESOURCE: &str = "demo-api";

/// A running resource server.
pub struct Invoices {
    /// Where it takes tokens that are bound to no certificate.
    pub http: SocketAddr,
    /// Where it takes client certificates, and tokens bound to one.
    pub https: SocketAddr,
    /// Its verifier.
    pub verifier: Verifier,
    stop: CancellationToken,
    work: TaskTracker,
}

impl Invoices {
    /// Serves `GET /invoices` for whoever was granted `invoice:read`, and `POST /refunds` for whoever was granted
    /// `invoice:refund`: its body is the number of the invoice to pay back. `clients_pem` is what client certificates chain
    /// to: the broker's authority, and that of the agents' own identities, to which tokens are bound. `server` is its own
    /// certificate and key. All PEM.
    ///
    /// # Errors
    /// When it cannot listen, or its certificate is not one.
    pub async fn start(
        broker: Channel,
        ports: [SocketAddr; 2],
        clients_pem: &str,
        server: (&str, &str),
    ) -> anyhow::Result<Self> {
        let verifier = Verifier::builder(broker).audience(RESOURCE).start()?;
        let reading =
            Router::new().route("/invoices", get(invoices)).layer(verifier.layer().require("invoice:read")?);
        let refunding =
            Router::new().route("/refunds", post(refund)).layer(verifier.layer().require("invoice:refund")?);
        let router = reading.merge(refunding);
        let [http, https] = ports;
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on `{address}`"))
        };
        let (http, https) = (bind(http).await?, bind(https).await?);
        let tls = TlsAcceptor::from(Arc::new(tls(clients_pem, server)?));
        let (stop, work) = (CancellationToken::new(), TaskTracker::new());
        let running = Self { http: http.local_addr()?, https: https.local_addr()?, verifier, stop, work };
        running.serve(http, None, &router);
        running.serve(https, Some(tls), &router);
        running.verifier.ready().await;
        Ok(running)
    }

    /// Stops serving.
    pub async fn stop(self) {
        self.stop.cancel();
        self.work.close();
        self.work.wait().await;
    }

    fn serve(&self, listener: TcpListener, tls: Option<TlsAcceptor>, router: &Router) {
        let (router, work) = (router.clone(), self.work.clone());
        let accepting = async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(work.spawn(connection(stream, tls.clone(), router.clone()))),
                    Err(error) => tracing::warn!(%error, "the demo's resource server cannot accept"),
                }
            }
        };
        self.work.spawn(self.stop.clone().run_until_cancelled_owned(accepting));
    }
}

/// Number and amount of each.
const INVOICES: [(&str, u32); 2] = [("7291", 412), ("7302", 90)];

async fn invoices(Extension(granted): Extension<Granted>) -> Json<serde_json::Value> {
    let invoices = INVOICES.map(|(id, amount)| serde_json::json!({"id": id, "amount": amount}));
    Json(serde_json::json!({ "for": granted.agent().map(ToString::to_string), "invoices": invoices }))
}

async fn refund(
    Extension(granted): Extension<Granted>,
    invoice: String,
) -> Result<Json<serde_json::Value>, StatusCode> {
    let (id, amount) = INVOICES.into_iter().find(|(id, _)| *id == invoice).ok_or(StatusCode::NOT_FOUND)?;
    let refunded = serde_json::json!({ "id": id, "amount": amount });
    Ok(Json(serde_json::json!({ "for": granted.agent().map(ToString::to_string), "refunded": refunded })))
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    let served = async {
        stream.set_nodelay(true)?;
        let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        match tls {
            None => server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await,
            Some(tls) => {
                let stream = tls.accept(stream).await?;
                // The handshake proved that the client holds the key; the layer judges the certificate per request.
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
                let router = router.layer(Extension(PeerCertificates(chain)));
                server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await
            }
        }
    };
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of the demo's resource server ended");
    }
}

/// TLS 1.3 with client certificates. No session is resumed: that would skip the certificate.
fn tls(clients_pem: &str, (chain, key): (&str, &str)) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(clients_pem.as_bytes()) {
        roots.add(root?)?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
