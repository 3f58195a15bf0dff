//! The layer in front of an axum router and a tonic service: what gets through, and how the rest is answered.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use axum::{Extension, Router, body::Body, routing::get};
use common::{Broker, MAX_STALE, Session, csr_key, grant, lease, reached};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use rustls_pki_types::CertificateDer;
use std::time::Duration;
use taskpass_crypto::thumbprint;
use taskpass_proto::v1::{
    ListAgentsRequest, ListAgentsResponse, WhoAmIRequest, WhoAmIResponse,
    agent_service_client::AgentServiceClient,
    agent_service_server::{AgentService, AgentServiceServer},
};
use taskpass_types::{Confirmation, Grant};
use taskpass_verify::{Granted, PeerCertificates, Verifier};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::task::TaskTracker;
use tonic::{Code, Response, Status, transport::Endpoint, transport::Server};
use tower::ServiceExt;

async fn who(Extension(granted): Extension<Granted>) -> String {
    granted.agent().unwrap().to_string()
}

fn router(verifier: &Verifier) -> Router {
    let read =
        Router::new().route("/read", get(who)).layer(verifier.layer().require("invoice:read").unwrap());
    let delete =
        Router::new().route("/delete", get(who)).layer(verifier.layer().require("invoice:delete").unwrap());
    Router::new().route("/any", get(who)).layer(verifier.layer()).merge(read).merge(delete)
}

async fn get_from(
    router: &Router,
    path: &str,
    headers: &[&str],
    peer: Option<&CertificateDer<'static>>,
) -> (StatusCode, String) {
    let mut request = Request::get(path);
    for value in headers {
        request = request.header(header::AUTHORIZATION, *value);
    }
    if let Some(peer) = peer {
        request = request.extension(PeerCertificates(vec![peer.clone()]));
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    (response.status(), challenge(response.headers()))
}

fn challenge(headers: &HeaderMap) -> String {
    headers.get(header::WWW_AUTHENTICATE).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

async fn ready() -> (Broker, Verifier, Session, Router) {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let router = router(&verifier);
    (broker, verifier, session, router)
}

#[tokio::test]
async fn lets_verified_requests_through() {
    let (broker, _verifier, _session, router) = ready().await;
    let token = broker.token(&grant());
    for (path, scheme) in [("/any", "Bearer"), ("/read", "bearer"), ("/read", "BEARER")] {
        let (status, challenge) = get_from(&router, path, &[&format!("{scheme} {token}")], None).await;
        assert_eq!((status, challenge.as_str()), (StatusCode::OK, ""), "{path} {scheme}");
    }
}

#[tokio::test]
async fn wants_exactly_one_bearer_header() {
    let (broker, _verifier, _session, router) = ready().await;
    let good = format!("Bearer {}", broker.token(&grant()));
    let malformed = r#"Bearer error="invalid_request", error_description="expected exactly one Authorization header of the form Bearer <token>""#;
    for (what, headers, expected) in [
        ("none", &[][..], "Bearer"),
        ("two", &[good.as_str(), good.as_str()], malformed),
        ("a good and a bad one", &[good.as_str(), "Bearer x"], malformed),
        ("basic", &["Basic bWF5YTpzZWNyZXQ="], malformed),
        ("no token", &["Bearer"], malformed),
        ("an empty token", &["Bearer "], malformed),
        ("two tokens", &["Bearer a b"], malformed),
        ("empty", &[""], malformed),
    ] {
        let (status, challenge) = get_from(&router, "/any", headers, None).await;
        assert_eq!((status, challenge.as_str()), (StatusCode::UNAUTHORIZED, expected), "{what}");
    }
}

#[tokio::test]
async fn says_why_in_the_challenge() {
    let (broker, verifier, session, router) = ready().await;
    let grant = grant();
    let header = format!("Bearer {}", broker.token(&grant));
    let (status, challenge) = get_from(&router, "/delete", &[&header], None).await;
    let expected = r#"Bearer error="insufficient_scope", error_description="invoice:delete is not among the granted actions", scope="invoice:delete""#;
    assert_eq!((status, challenge.as_str()), (StatusCode::FORBIDDEN, expected));

    session.say(broker.delta(0, vec![lease(1, &grant)])).await;
    reached(&verifier, 1).await;
    let (status, challenge) = get_from(&router, "/read", &[&header], None).await;
    let expected = format!(
        r#"Bearer error="invalid_token", error_description="lease {} ended: completed""#,
        grant.lease
    );
    assert_eq!((status, challenge), (StatusCode::UNAUTHORIZED, expected));

    broker.clock.advance(MAX_STALE + Duration::from_secs(1));
    let other = format!("Bearer {}", broker.token(&common::grant()));
    let (status, challenge) = get_from(&router, "/read", &[&other], None).await;
    assert_eq!(
        (status, challenge.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, ""),
        "the token is not to blame"
    );
}

#[tokio::test]
async fn takes_the_certificate_of_the_connection() {
    let (broker, _verifier, _session, router) = ready().await;
    let key = csr_key();
    let grant = Grant { confirmation: Some(Confirmation::KeyThumbprint(key.jkt().into())), ..grant() };
    let leased = CertificateDer::from(broker.ring.ca().sign(common::ISSUER, &key, &grant).unwrap());
    let identity = CertificateDer::from(vec![1; 64]);
    let bound = Grant { confirmation: Some(thumbprint::certificate(&identity)), ..common::grant() };
    let bound = format!("Bearer {}", broker.token(&bound));
    for (what, headers, peer, expected) in [
        ("a leased certificate", &[][..], Some(&leased), StatusCode::OK),
        ("a stranger's certificate", &[], Some(&identity), StatusCode::UNAUTHORIZED),
        ("a bound token with its certificate", &[bound.as_str()], Some(&identity), StatusCode::OK),
        ("a bound token with another", &[bound.as_str()], Some(&leased), StatusCode::UNAUTHORIZED),
        ("a bound token with none", &[bound.as_str()], None, StatusCode::UNAUTHORIZED),
        ("a bad token beside a leased certificate", &["Bearer x"], Some(&leased), StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(get_from(&router, "/read", headers, peer).await.0, expected, "{what}");
    }
}

#[tokio::test]
async fn what_a_token_brings_in_cannot_break_out_of_the_header() {
    let (_broker, _verifier, _session, router) = ready().await;
    // The header of this token has an unknown member, whose name comes back in the description.
    let token = "eyJhIlx1MDA0MiI6MX0.e30.AA";
    let (status, challenge) = get_from(&router, "/any", &[&format!("Bearer {token}")], None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let description = challenge.split_once("error_description=\"").unwrap().1;
    assert_eq!(description.matches('"').count(), 1, "{challenge}");
    assert!(!description.contains('\\') && description.len() < 300, "{challenge}");
}

struct WhoAmI;

#[tonic::async_trait]
impl AgentService for WhoAmI {
    async fn who_am_i(
        &self,
        request: tonic::Request<WhoAmIRequest>,
    ) -> Result<Response<WhoAmIResponse>, Status> {
        let granted =
            request.extensions().get::<Granted>().ok_or_else(|| Status::internal("not verified"))?;
        let agent = granted.agent().unwrap().to_string();
        Ok(Response::new(WhoAmIResponse { agent, ..Default::default() }))
    }

    async fn list_agents(
        &self,
        _: tonic::Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        Err(Status::unimplemented("no test lists agents"))
    }
}

#[tokio::test]
async fn a_grpc_service_is_answered_in_its_own_words() {
    let (broker, verifier, _session, _router) = ready().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("service.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let layer = verifier.layer().require("invoice:read").unwrap();
    let server = Server::builder().layer(layer).add_service(AgentServiceServer::new(WhoAmI));
    TaskTracker::new().spawn(server.serve_with_incoming(incoming));
    let channel = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap().connect_lazy();
    let client = AgentServiceClient::new(channel);

    let call = async |token: Option<String>| {
        let mut request = tonic::Request::new(WhoAmIRequest {});
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        client.clone().who_am_i(request).await
    };
    let answer = call(Some(broker.token(&grant()))).await.unwrap();
    assert_eq!(answer.into_inner().agent, "ci/invoice-bot");

    let missing = call(None).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::Unauthenticated, "no credential was presented"));
    assert_eq!(missing.metadata().get("www-authenticate").unwrap(), "Bearer");

    let writer = Grant { actions: vec!["invoice:write".parse().unwrap()], ..grant() };
    assert_eq!(call(Some(broker.token(&writer))).await.unwrap_err().code(), Code::PermissionDenied);

    broker.clock.advance(MAX_STALE + Duration::from_secs(1));
    assert_eq!(call(Some(broker.token(&grant()))).await.unwrap_err().code(), Code::Unavailable);
}

/// Whoever was verified when they asked gets an answer that was there at once, and not a connection that breaks.
#[tokio::test]
async fn a_short_answer_is_whole_although_its_credential_ends_meanwhile() {
    let (broker, verifier, session, router) = ready().await;
    let grant = grant();
    let request =
        Request::get("/any").header(header::AUTHORIZATION, format!("Bearer {}", broker.token(&grant)));
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    session.say(broker.delta(0, vec![lease(1, &grant)])).await;
    reached(&verifier, 1).await;
    assert!(verifier.verify_token(&broker.token(&grant)).is_err());
    let whole = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(whole, "ci/invoice-bot");
}
