//! A real gRPC server on top: every request knows its peer, and a kill reaches an open stream.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

mod support;

use hyper_util::rt::TokioIo;
use std::{path::Path, sync::Arc, time::Duration};
use support::Server;
use taskpass_net::{Drained, Limits, Peer, SocketAccess, UnixSocket};
use tokio::{net::UnixStream, sync::mpsc};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient, health_server::HealthServer};

async fn channel(path: &Path) -> Channel {
    let path: Arc<Path> = path.into();
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://broker").connect_with_connector(connect).await.unwrap()
}

/// Serves `grpc.health.v1`, whose `Watch` is a stream that stays open; reports the peer of every request.
fn serve(server: &Server, path: &Path) -> mpsc::UnboundedReceiver<Peer> {
    let (peers, seen) = mpsc::unbounded_channel();
    let report = move |request: Request<()>| -> Result<Request<()>, Status> {
        let peer = request.extensions().get::<Peer>().ok_or_else(|| Status::internal("no peer"))?;
        peers.send(peer.clone()).map_err(|_| Status::internal("nobody listens"))?;
        Ok(request)
    };
    let (_reporter, health) = tonic_health::server::health_reporter();
    let watch: HealthServer<_> = health;
    let incoming = server.acceptor.unix(UnixSocket::bind(path, SocketAccess::Owner).unwrap());
    let stopping = server.drain.stopping();
    let intercepted = tonic::service::interceptor::InterceptedService::new(watch, report);
    server.drain.tasks().spawn(async move {
        tonic::transport::Server::builder()
            .add_service(intercepted)
            .serve_with_incoming_shutdown(incoming, stopping)
            .await
    });
    seen
}

fn everything() -> HealthCheckRequest {
    HealthCheckRequest { service: String::new() }
}

#[tokio::test]
async fn a_kill_ends_an_open_stream() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    let server = Server::start(Limits::default()).await;
    let mut seen = serve(&server, &path);
    let mut client = HealthClient::new(channel(&path).await);

    let mut stream = client.watch(everything()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let peer = seen.recv().await.unwrap();
    assert!(peer.attested(server.now()).await.unwrap().description.starts_with("unix uid="));

    peer.kill();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.message())
        .await
        .expect("the stream is still open");
    assert!(end.is_err(), "the stream ended as if all was well: {end:?}");
    assert!(client.check(everything()).await.is_ok(), "the next call connects anew");
}

#[tokio::test]
async fn a_drain_with_an_open_stream_has_a_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    let server = Server::start(Limits::default()).await;
    let _seen = serve(&server, &path);
    let mut stream = HealthClient::new(channel(&path).await).watch(everything()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let drained = server.drain.finish(Duration::from_millis(100)).await;
    assert!(matches!(drained, Drained::Killed(left) if left > 0), "{drained:?}");
}
