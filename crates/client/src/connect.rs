//! Connects: a Unix socket, or TLS 1.3 over TCP.

use crate::{
    Endpoint, EndpointError,
    aging::{self, Aging},
    endpoint::{Route, authority},
};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::{io, time::Duration};
use taskpass_types::{Clock, SystemClock};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint as Transport};
use tower::service_fn;

/// A dead peer is noticed within this and [`KEEPALIVE_TIMEOUT`].
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(crate) async fn eager(endpoint: &Endpoint) -> Result<Channel, EndpointError> {
    let route = endpoint.route.clone();
    let connector = service_fn(move |_| dial(route.clone()));
    transport(endpoint)?.connect_with_connector(connector).await.map_err(|error| failed(endpoint, &error))
}

pub(crate) fn lazy(endpoint: &Endpoint) -> Result<Channel, EndpointError> {
    let route = endpoint.route.clone();
    Ok(transport(endpoint)?.connect_with_connector_lazy(service_fn(move |_| dial(route.clone()))))
}

/// The inner address is never resolved: the connector knows where to go. What the requests say is the origin.
fn transport(endpoint: &Endpoint) -> Result<Transport, EndpointError> {
    let origin = match &endpoint.route {
        Route::Tls { host, port, .. } => format!("https://{}", authority(host, *port)),
        Route::Unix(_) => "http://localhost".to_owned(),
    };
    let origin: Uri = origin.parse().map_err(|error| failed(endpoint, &error))?;
    Ok(Transport::from_static("http://broker")
        .origin(origin)
        .connect_timeout(endpoint.connect_timeout)
        .timeout(endpoint.request_timeout)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

async fn dial(route: Route) -> io::Result<TokioIo<Box<dyn Stream>>> {
    let stream: Box<dyn Stream> = match route {
        Route::Tls { host, port, tls } => {
            let tls = tls.load().await.map_err(io::Error::other)?;
            let life = tls.not_after.map(|not_after| aging::life(SystemClock::default().now(), not_after));
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let tcp = TcpStream::connect((host.as_str(), port)).await?;
            tcp.set_nodelay(true)?;
            Box::new(Aging::new(TlsConnector::from(tls.config).connect(name, tcp).await?, life))
        }
        Route::Unix(path) => Box::new(UnixStream::connect(path).await?),
    };
    Ok(TokioIo::new(stream))
}

/// The transport's own message is "transport error"; what happened is at the end of its sources.
fn failed(endpoint: &Endpoint, error: &dyn std::error::Error) -> EndpointError {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    EndpointError::Connect { address: endpoint.to_string(), why: innermost.to_string() }
}
