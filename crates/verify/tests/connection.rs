//! Connections and streams that are under way when their credential ends: nobody asks for anything, and they are over.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use axum::{Extension, Router, body::Body, routing::get};
use bytes::Bytes;
use common::{Broker, MAX_STALE, Session, csr_key, grant, lease, reached, record};
use futures::{StreamExt as _, stream};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls_pki_types::CertificateDer;
use std::convert::Infallible;
use taskpass_proto::v1::{
    AcknowledgeDeniesRequest, AcknowledgeDeniesResponse, AnswerProbesRequest, AnswerProbesResponse,
    WatchDeniesRequest, WatchDeniesResponse,
    deny_record::Subject,
    revocation_service_client::RevocationServiceClient,
    revocation_service_server::{RevocationService, RevocationServiceServer},
};
use taskpass_types::{Confirmation, Grant};
use taskpass_verify::{Granted, PeerCertificates, Verifier};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::oneshot,
};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status, transport::Endpoint};
use tower::{Layer as _, service_fn as tower_fn};

/// A verifier that is ready, with a certificate that it accepts.
struct Scene {
    broker: Broker,
    verifier: Verifier,
    session: Session,
    grant: Grant,
    peer: PeerCertificates,
}

impl Scene {
    async fn set() -> Self {
        let mut broker = Broker::start();
        let (verifier, session) = broker.ready().await;
        let (grant, peer) = certified(&broker);
        Self { broker, verifier, session, grant, peer }
    }

    async fn end(&self) {
        self.session.say(self.broker.delta(0, vec![lease(1, &self.grant)])).await;
        reached(&self.verifier, 1).await;
    }

    /// A client's end, and what becomes of serving the other.
    fn serve(&self, routes: Router, peer: &PeerCertificates) -> (DuplexStream, oneshot::Receiver<String>) {
        let (client, stream) = duplex(4096);
        let stream = TokioIo::new(self.verifier.guard(stream, peer.clone()));
        let service = TowerToHyperService::new(routes.layer(Extension(peer.clone())));
        let (told, ended) = oneshot::channel();
        TaskTracker::new().spawn(async move {
            let served = auto::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
            told.send(served.map_or_else(|error| innermost(&*error), |()| "in peace".to_owned()))
        });
        (client, ended)
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn certified(broker: &Broker) -> (Grant, PeerCertificates) {
    let key = csr_key();
    let confirmation = Some(Confirmation::KeyThumbprint(key.jkt().into()));
    let grant = Grant { confirmation, ..grant() };
    let leaf = CertificateDer::from(broker.ring.ca().sign(common::ISSUER, &key, &grant).unwrap());
    (grant, PeerCertificates(vec![leaf]))
}

/// `/who` at once, `/flow` one piece and then nothing for ever.
fn routes(verifier: &Verifier) -> Router {
    async fn who(Extension(granted): Extension<Granted>) -> String {
        granted.agent().unwrap().to_string()
    }
    async fn flow() -> Body {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"first"))]);
        Body::from_stream(first.chain(stream::pending()))
    }
    Router::new().route("/who", get(who)).route("/flow", get(flow)).layer(verifier.layer())
}

fn ask(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://billing-api{path}")).body(Empty::new()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn an_idle_connection_of_http_1_is_closed() {
    let scene = Scene::set().await;
    let (client, ended) = scene.serve(routes(&scene.verifier), &scene.peer);
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    let connection = TaskTracker::new().spawn(connection);
    assert_eq!(text(send.send_request(ask("/who")).await.unwrap()).await, "ci/invoice-bot");
    scene.end().await;
    let why = ended.await.unwrap();
    assert_eq!(why, format!("lease {} ended: completed", scene.grant.lease));
    drop(connection.await.unwrap());
    assert!(send.send_request(ask("/who")).await.is_err());
}

#[tokio::test]
async fn a_connection_of_http_2_is_closed_with_all_its_streams() {
    let scene = Scene::set().await;
    let (client, ended) = scene.serve(routes(&scene.verifier), &scene.peer);
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    let connection = TaskTracker::new().spawn(connection);
    let mut flows = Vec::new();
    for _ in 0..3 {
        let mut body = send.send_request(ask("/flow")).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        flows.push(body);
    }
    scene.end().await;
    for mut body in flows {
        assert!(body.frame().await.unwrap().is_err());
    }
    assert!(ended.await.unwrap().starts_with("lease "));
    drop(connection.await.unwrap());
}

#[tokio::test]
async fn an_upgraded_connection_is_closed() {
    let scene = Scene::set().await;
    let (mut client, stream) = duplex(64);
    let mut guarded = scene.verifier.guard(stream, scene.peer.clone());
    client.write_all(b"frame").await.unwrap();
    let mut read = [0; 5];
    guarded.read_exact(&mut read).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(guarded);
    let reading = TaskTracker::new().spawn(async move { reader.read(&mut [0; 5]).await });
    tokio::task::yield_now().await;
    scene.end().await;
    assert_eq!(reading.await.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    assert!(writer.write_all(b"late").await.is_err(), "nor does anything go out");
    drop(writer);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn others_go_on_and_who_was_never_good_is_told_why() {
    let scene = Scene::set().await;
    let (_, other) = certified(&scene.broker);
    let stranger = PeerCertificates(vec![CertificateDer::from(vec![1; 64])]);
    scene.end().await;
    for (what, peer, expected) in [
        ("another lease", &other, StatusCode::OK),
        ("ended before it came", &scene.peer, StatusCode::UNAUTHORIZED),
        ("a stranger", &stranger, StatusCode::UNAUTHORIZED),
        ("nobody", &PeerCertificates::default(), StatusCode::UNAUTHORIZED),
    ] {
        let (client, _ended) = scene.serve(routes(&scene.verifier), peer);
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        TaskTracker::new().spawn(connection);
        for _ in 0..2 {
            let response = send.send_request(ask("/who")).await.unwrap();
            assert_eq!(response.status(), expected, "{what}");
            drop(text(response).await);
        }
    }
}

#[tokio::test]
async fn a_connection_that_came_before_the_feed_is_guarded_too() {
    let mut broker = Broker::start();
    let verifier = broker.builder().start().unwrap();
    let session = broker.session().await;
    let (grant, peer) = certified(&broker);
    let (mut client, stream) = duplex(64);
    let mut guarded = verifier.guard(stream, peer);
    client.write_all(b"a").await.unwrap();
    guarded.read_u8().await.unwrap();
    session.say(broker.snapshot(0, vec![])).await;
    verifier.ready().await;
    client.write_all(b"b").await.unwrap();
    guarded.read_u8().await.unwrap();
    session.say(broker.delta(0, vec![lease(1, &grant)])).await;
    assert_eq!(
        guarded.read_u8().await.unwrap_err().to_string(),
        format!("lease {} ended: completed", grant.lease)
    );
}

#[tokio::test]
async fn silence_closes_too() {
    let scene = Scene::set().await;
    let (client, ended) = scene.serve(routes(&scene.verifier), &scene.peer);
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    TaskTracker::new().spawn(connection);
    assert_eq!(send.send_request(ask("/who")).await.unwrap().status(), StatusCode::OK);
    scene.broker.clock.advance(MAX_STALE * 2);
    assert!(ended.await.unwrap().starts_with("the deny feed is "));
}

#[tokio::test]
async fn an_answer_to_a_token_is_cut_off_and_its_connection_serves_others() {
    let scene = Scene::set().await;
    let nobody = PeerCertificates::default();
    let (client, _ended) = scene.serve(routes(&scene.verifier), &nobody);
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    TaskTracker::new().spawn(connection);
    let with = |path: &str, grant: &Grant| {
        let mut request = ask(path);
        let value = format!("Bearer {}", scene.broker.token(grant)).try_into().unwrap();
        request.headers_mut().insert(AUTHORIZATION, value);
        request
    };
    let (gone, other) = (Grant { confirmation: None, ..scene.grant.clone() }, grant());
    let mut cut = send.send_request(with("/flow", &gone)).await.unwrap().into_body();
    let mut kept = send.send_request(with("/flow", &other)).await.unwrap().into_body();
    for body in [&mut cut, &mut kept] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    }
    scene.end().await;
    assert!(cut.frame().await.unwrap().is_err());
    assert_eq!(send.send_request(with("/who", &other)).await.unwrap().status(), StatusCode::OK);
    assert!(futures::poll!(kept.frame()).is_pending());
}

#[tokio::test]
async fn a_plain_hyper_service_needs_nothing_else() {
    let scene = Scene::set().await;
    let service = tower_fn(async |request: Request<Incoming>| {
        let granted = request.extensions().get::<Granted>().unwrap();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(granted.owner.to_string()))))
    });
    let service =
        TowerToHyperService::new(scene.verifier.layer().require("invoice:read").unwrap().layer(service));
    let peer = scene.peer.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        hyper::service::Service::call(&service, request)
    });
    let (client, stream) = duplex(4096);
    let stream = TokioIo::new(scene.verifier.guard(stream, scene.peer.clone()));
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(stream, service);
    let serving = TaskTracker::new().spawn(serving);
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    TaskTracker::new().spawn(connection);
    assert_eq!(text(send.send_request(ask("/who")).await.unwrap()).await, "maya@acme.test");
    scene.end().await;
    assert!(serving.await.unwrap().is_err());
}

/// A stream that says one thing and then waits.
struct Waits;

#[tonic::async_trait]
impl RevocationService for Waits {
    type WatchDeniesStream = stream::BoxStream<'static, Result<WatchDeniesResponse, Status>>;

    async fn answer_probes(
        &self,
        _: tonic::Request<AnswerProbesRequest>,
    ) -> Result<tonic::Response<AnswerProbesResponse>, Status> {
        Err(Status::unimplemented("nobody is asked"))
    }

    async fn acknowledge_denies(
        &self,
        _: tonic::Request<AcknowledgeDeniesRequest>,
    ) -> Result<tonic::Response<AcknowledgeDeniesResponse>, Status> {
        Ok(tonic::Response::new(AcknowledgeDeniesResponse {}))
    }

    async fn watch_denies(
        &self,
        _: tonic::Request<WatchDeniesRequest>,
    ) -> Result<tonic::Response<Self::WatchDeniesStream>, Status> {
        let first = stream::iter([Ok(WatchDeniesResponse::default())]);
        Ok(tonic::Response::new(first.chain(stream::pending()).boxed()))
    }
}

/// A client of a tonic server whose one connection is guarded and came with `peer`.
async fn grpc(
    verifier: &Verifier,
    peer: PeerCertificates,
) -> RevocationServiceClient<tonic::transport::Channel> {
    let (client, stream) = duplex(4096);
    let incoming =
        stream::iter([Ok::<_, std::io::Error>(verifier.guard(stream, peer))]).chain(stream::pending());
    let server = tonic::transport::Server::builder()
        .layer(verifier.layer())
        .add_service(RevocationServiceServer::new(Waits));
    TaskTracker::new().spawn(server.serve_with_incoming(incoming));
    let mut client = Some(TokioIo::new(client));
    let connector = tower_fn(move |_| {
        let client = client.take().ok_or_else(|| std::io::Error::other("there is only one"));
        async { client }
    });
    let channel =
        Endpoint::from_static("http://billing-api").connect_with_connector(connector).await.unwrap();
    RevocationServiceClient::new(channel)
}

#[tokio::test]
async fn a_grpc_stream_ends_with_its_certificate() {
    let scene = Scene::set().await;
    // The layer finds the certificate by itself.
    let mut client = grpc(&scene.verifier, scene.peer.clone()).await;
    let mut answers = client.watch_denies(WatchDeniesRequest::default()).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    scene.end().await;
    answers.message().await.unwrap_err();
    client.watch_denies(WatchDeniesRequest::default()).await.unwrap_err();
}

#[tokio::test]
async fn a_grpc_stream_ends_with_its_token_and_says_why() {
    let scene = Scene::set().await;
    let mut client = grpc(&scene.verifier, PeerCertificates::default()).await;
    let grant = grant();
    let mut request = tonic::Request::new(WatchDeniesRequest::default());
    let value = format!("Bearer {}", scene.broker.token(&grant)).parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    let mut answers = client.watch_denies(request).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let task = grant.task_path.iter().next().unwrap();
    scene.session.say(scene.broker.delta(0, vec![record(1, Subject::TaskId(task.to_string()))])).await;
    let status = answers.message().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, format!("task {task} ended: completed").as_str())
    );
}
