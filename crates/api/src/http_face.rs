//! The HTTP listener for what anyone may read: keys, revocation lists, metadata, health, metrics.

use crate::{Api, channels, oauth};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use futures::StreamExt as _;
use std::{io, sync::Arc};
use taskpass_net::{Connection, Incoming};
use tokio::net::TcpStream;

/// Renders the metrics in Prometheus' text format.
pub type MetricsRender = Arc<dyn Fn() -> String + Send + Sync>;

/// The HTTP face.
#[derive(Clone)]
pub struct HttpFace {
    api: Api,
    metrics: MetricsRender,
}

impl HttpFace {
    /// Over `api`; `metrics` renders what was counted.
    pub fn new(api: Api, metrics: MetricsRender) -> Self {
        Self { api, metrics }
    }

    /// `/.well-known/jwks.json`, `/ca.pem`, `/livez`, `/readyz`, `/metrics`, the revocation lists, and metadata that says
    /// where all of this is. The OAuth endpoints, too, if there are clients that can prove here who they are.
    pub fn router(self) -> Router {
        let mut channels = channels::router(&self.api.places).with_state(self.api.clone());
        if self.api.places.assertions {
            channels = channels.merge(oauth::open_router(&self.api));
        }
        Router::new()
            .route("/.well-known/jwks.json", get(jwks))
            .route("/ca.pem", get(ca))
            .route("/livez", get(async || "ok\n"))
            .route("/metrics", get(metrics))
            .route("/readyz", get(ready))
            .with_state(self)
            .merge(channels)
    }
}

/// Answers on bounded connections until the drain begins.
///
/// # Errors
/// Never; single connections do not end it.
pub async fn serve_open(face: HttpFace, incoming: Incoming<TcpStream>) -> io::Result<()> {
    let stopping = face.api.drain.stopping();
    axum::serve(Open(incoming), face.router()).with_graceful_shutdown(stopping).await
}

/// Connections as axum takes them.
struct Open(Incoming<TcpStream>);

impl Listener for Open {
    type Io = Connection<TcpStream>;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.0.next().await {
                Some(Ok(connection)) => return (connection, ()),
                Some(Err(_)) => {}
                // The drain has begun, and ends this as well.
                None => return std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

async fn jwks(State(face): State<HttpFace>) -> Response {
    let keys = face.api.broker.verification_keys();
    // Verifiers must see a new key well before it signs; the publish wait is longer than this.
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "max-age=30")];
    (headers, keys.jwks).into_response()
}

async fn ca(State(face): State<HttpFace>) -> Response {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], face.api.broker.ca_bundle_pem()).into_response()
}

async fn metrics(State(face): State<HttpFace>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], (face.metrics)()).into_response()
}

async fn ready(State(face): State<HttpFace>) -> Response {
    match face.api.broker.ready().await {
        Ok(()) if face.api.drain.is_stopping() => {
            (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
        }
        Ok(()) => "ready\n".into_response(),
        Err(refusal) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")).into_response(),
    }
}
