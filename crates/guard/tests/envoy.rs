//! `envoy.service.auth.v3.Authorization/Check`, as Envoy asks it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod support;

use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            HeaderMap, HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse,
            attribute_context::{HttpRequest, Peer, Request},
            authorization_client::AuthorizationClient,
            check_response::HttpResponse,
        },
    },
    google::protobuf::value::Kind,
};
use rustls_pki_types::CertificateDer;
use std::{collections::HashMap, time::Duration};
use support::{
    Running, bound,
    common::{MAX_STALE, grant, lease, reached},
    escaped,
};
use taskpass_guard::Limits;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// What Envoy knows of a request.
#[derive(Default)]
struct Asked<'a> {
    headers: &'a [(&'a str, &'a str)],
    raw: &'a [(&'a str, &'a str)],
    certificate: String,
    action: Option<&'a str>,
}

impl Asked<'_> {
    fn request(&self) -> CheckRequest {
        let text = |pairs: &[(&str, &str)]| -> HashMap<_, _> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let raw = |(name, value): &(&str, &str)| HeaderValue {
            key: (*name).to_owned(),
            raw_value: value.as_bytes().to_vec(),
            ..Default::default()
        };
        let raw = HeaderMap { headers: self.raw.iter().map(raw).collect() };
        let http = HttpRequest {
            method: "GET".to_owned(),
            headers: text(self.headers),
            header_map: Some(raw).filter(|map| !map.headers.is_empty()),
            ..Default::default()
        };
        let extensions: Vec<_> = self.action.map(|action| ("taskpass.action", action)).into_iter().collect();
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(Peer { certificate: self.certificate.clone(), ..Default::default() }),
                request: Some(Request { http: Some(http), ..Default::default() }),
                context_extensions: text(&extensions),
                ..Default::default()
            }),
        }
    }
}

async fn check(running: &Running, asked: Asked<'_>) -> CheckResponse {
    AuthorizationClient::new(running.channel().await).check(asked.request()).await.unwrap().into_inner()
}

/// The HTTP status and the challenge of a refusal.
fn refusal(response: &CheckResponse) -> (i32, String) {
    assert_ne!(response.status.as_ref().unwrap().code, i32::from(Code::Ok), "{response:?}");
    assert!(response.dynamic_metadata.is_none());
    match response.http_response.as_ref().unwrap() {
        HttpResponse::DeniedResponse(denied) => {
            let challenge = denied.headers.iter().find(|header| name(header) == "www-authenticate");
            (denied.status.as_ref().unwrap().code, challenge.map(value).unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

fn name(header: &HeaderValueOption) -> &str {
    &header.header.as_ref().unwrap().key
}

fn value(header: &HeaderValueOption) -> String {
    header.header.as_ref().unwrap().value.clone()
}

fn is_ok(response: &CheckResponse) -> bool {
    response.status.as_ref().unwrap().code == i32::from(Code::Ok)
        && matches!(response.http_response, Some(HttpResponse::OkResponse(_)))
}

#[tokio::test]
async fn a_good_token_is_let_through_with_its_facts_and_refused_once_it_has_ended() {
    let (running, session) = Running::start().await;
    let grant = grant();
    let bearer = running.bearer(&grant);
    let headers = [("authorization", bearer.as_str()), ("x-taskpass-agent", "ci/forged")];
    let asked = || Asked { headers: &headers, ..Asked::default() };
    let response = check(&running, asked()).await;
    assert!(is_ok(&response), "{response:?}");
    let Some(HttpResponse::OkResponse(ok)) = &response.http_response else { panic!("{response:?}") };
    let told: HashMap<_, _> = ok.headers.iter().map(|header| (name(header), value(header))).collect();
    assert_eq!(told["x-taskpass-agent"], "ci/invoice-bot");
    assert_eq!(told["x-taskpass-lease"], grant.lease.to_string());
    assert_eq!(told["x-taskpass-task"], grant.task_path.task().unwrap().to_string());
    assert_eq!(told["x-taskpass-actions"], "invoice:read invoice:write");
    for header in &ok.headers {
        assert_eq!(header.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd, "{header:?}");
    }
    let metadata = &response.dynamic_metadata.as_ref().unwrap().fields;
    let text = |name: &str| match metadata[name].kind.as_ref().unwrap() {
        Kind::StringValue(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((text("lease"), text("owner")), (grant.lease.to_string(), "maya@acme.test".to_owned()));
    assert_eq!(text("task"), told["x-taskpass-task"]);

    session.say(running.broker.delta(0, vec![lease(1, &grant)])).await;
    reached(&running.verifier, 1).await;
    let (status, challenge) = refusal(&check(&running, asked()).await);
    assert_eq!(status, 401);
    assert!(challenge.contains("invalid_token") && challenge.contains("ended: completed"), "{challenge}");
}

#[tokio::test]
async fn what_is_no_good_is_refused() {
    let (running, _session) = Running::start().await;
    let good = running.bearer(&grant());
    let twice = format!("{good},{good}");
    for (asked, status, says) in [
        (Asked::default(), 401, "Bearer"),
        (Asked { headers: &[("authorization", &twice)], ..Asked::default() }, 401, "invalid_request"),
        (
            Asked { raw: &[("authorization", &good), ("Authorization", &good)], ..Asked::default() },
            401,
            "invalid_request",
        ),
        (Asked { headers: &[("content-type", "application/grpc")], ..Asked::default() }, 401, "Bearer"),
        (
            Asked {
                headers: &[("authorization", &good)],
                action: Some("invoice:delete"),
                ..Asked::default()
            },
            403,
            "insufficient_scope",
        ),
        (
            Asked { headers: &[("authorization", &good)], action: Some("No Action"), ..Asked::default() },
            500,
            "",
        ),
        (
            Asked { headers: &[("authorization", &good)], certificate: "x".to_owned(), ..Asked::default() },
            500,
            "",
        ),
    ] {
        let (told, challenge) = refusal(&check(&running, asked).await);
        assert_eq!(told, status, "{says}");
        assert!(challenge.contains(says), "{challenge}");
    }
    let raw = Asked { raw: &[("authorization", &good)], action: Some("invoice:read"), ..Asked::default() };
    assert!(is_ok(&check(&running, raw).await));
    // Nothing at all is known of it.
    let mut client = AuthorizationClient::new(running.channel().await);
    let nothing = client.check(CheckRequest { attributes: None }).await.unwrap().into_inner();
    assert_eq!(refusal(&nothing).0, 401);
}

/// A failed call would let the request through where `failure_mode_allow` is set.
#[tokio::test]
async fn without_the_feed_the_answer_is_a_refusal_and_no_failed_call() {
    let mut running = Running::deaf(Limits::default()).await;
    let bearer = running.bearer(&grant());
    let headers = [("authorization", bearer.as_str())];
    let asked = || Asked { headers: &headers, ..Asked::default() };
    assert_eq!(refusal(&check(&running, asked()).await).0, 503);
    let _session = running.hear().await;
    assert!(is_ok(&check(&running, asked()).await));
    running.broker.clock.advance(MAX_STALE + Duration::from_millis(1));
    assert_eq!(refusal(&check(&running, asked()).await).0, 503);
}

#[tokio::test]
async fn it_is_healthy_while_it_can_accept_anything() {
    let mut running = Running::deaf(Limits::default()).await;
    let health = HealthClient::new(running.channel().await);
    let check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.clone().check(request).await.map(|said| said.into_inner().status())
    };
    let authorization = "envoy.service.auth.v3.Authorization";
    for service in ["", authorization] {
        assert_eq!(check(service).await.unwrap(), ServingStatus::NotServing, "{service}");
    }
    let session = running.hear().await;
    for service in ["", authorization] {
        assert_eq!(check(service).await.unwrap(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(check("other").await.unwrap_err().code(), Code::NotFound);
    drop(session);
}

#[tokio::test]
async fn certificates_are_taken_for_bound_tokens_and_by_themselves() {
    let (running, _session) = Running::start().await;
    let leased = running.certify(&grant());
    let identity = CertificateDer::from(vec![1; 64]);
    let bound = running.bearer(&bound(&identity));
    let with = |headers, certificate: &CertificateDer<'_>| Asked {
        headers,
        certificate: escaped(certificate),
        ..Asked::default()
    };
    let bearer = [("authorization", bound.as_str())];
    assert!(is_ok(&check(&running, with(&[], &leased)).await));
    assert!(is_ok(&check(&running, with(&bearer, &identity)).await));
    assert_eq!(refusal(&check(&running, with(&bearer, &leased)).await).0, 401);
    assert_eq!(refusal(&check(&running, Asked { headers: &bearer, ..Asked::default() }).await).0, 401);
    assert_eq!(refusal(&check(&running, with(&[], &identity)).await).0, 401);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_no_yes() {
    let (running, _session) = Running::start().await;
    let (bearer, long) = (running.bearer(&grant()), "x".repeat(200_000));
    let asked = Asked { headers: &[("authorization", &bearer), ("x-long", &long)], ..Asked::default() };
    let answer = AuthorizationClient::new(running.channel().await).check(asked.request()).await;
    assert_eq!(answer.unwrap_err().code(), Code::OutOfRange);
}
