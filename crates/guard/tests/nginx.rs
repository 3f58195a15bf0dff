//! `GET /verify`, as nginx asks it.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use rustls_pki_types::CertificateDer;
use std::time::Duration;
use support::{
    Running, ask, bound,
    common::{MAX_STALE, grant, lease, reached},
    escaped, request,
};
use taskpass_guard::Limits;
use taskpass_types::{Grant, ResourceName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const AUTHORIZATION: &str = "authorization";
const ACTION: &str = "x-taskpass-action";
const CERTIFICATE: &str = "x-taskpass-certificate";

#[tokio::test]
async fn a_good_token_is_let_through_with_its_facts_and_refused_once_it_has_ended() {
    let (running, session) = Running::start().await;
    let grant = grant();
    let bearer = running.bearer(&grant);
    let headers = [(AUTHORIZATION, bearer.as_str()), (ACTION, "invoice:read")];
    let any = running.verify(&[headers[0], (ACTION, "ANY")]).await;
    assert_eq!(any.status, 200);
    let said = running.verify(&headers).await;
    assert_eq!((said.status, said.body.as_str()), (200, ""));
    assert_eq!(said.header("x-taskpass-agent"), "ci/invoice-bot");
    assert_eq!(said.header("x-taskpass-task"), grant.task_path.task().unwrap().to_string());
    assert_eq!(said.header("x-taskpass-lease"), grant.lease.to_string());
    assert_eq!(said.header("x-taskpass-actions"), "invoice:read invoice:write");
    assert_eq!(said.header("cache-control"), "no-store");

    session.say(running.broker.delta(0, vec![lease(1, &grant)])).await;
    reached(&running.verifier, 1).await;
    let said = running.verify(&headers).await;
    assert_eq!(said.status, 401);
    let challenge = said.header("www-authenticate");
    assert!(challenge.starts_with(r#"Bearer error="invalid_token""#), "{challenge}");
    assert!(challenge.contains("ended: completed"), "{challenge}");
    assert_eq!(said.header("x-taskpass-lease"), "");
}

#[tokio::test]
async fn what_is_no_good_is_refused_as_rfc_6750_says() {
    let (running, _session) = Running::start().await;
    let good = running.bearer(&grant());
    let elsewhere = Grant { resource: ResourceName::new("payments-api").unwrap(), ..grant() };
    let elsewhere = running.bearer(&elsewhere);
    let plain = "Bearer";
    for (headers, status, says) in [
        (&[][..], 401, plain),
        (&[(AUTHORIZATION, "Basic eDp5")], 401, "invalid_request"),
        (&[(AUTHORIZATION, "Bearer x")], 401, "invalid_token"),
        (&[(AUTHORIZATION, &good), (AUTHORIZATION, &good)], 401, "invalid_request"),
        (&[(AUTHORIZATION, &elsewhere)], 401, "invalid_token"),
        (&[(AUTHORIZATION, &good), (ACTION, "invoice:delete")], 403, "insufficient_scope"),
        // The proxy's configuration is wrong: an error for nginx, which lets nothing through.
        (&[(AUTHORIZATION, &good), (ACTION, "")], 400, ""),
        (&[(AUTHORIZATION, &good), (ACTION, " ")], 400, ""),
        (&[(AUTHORIZATION, &good), (ACTION, "Any")], 400, ""),
        (&[(AUTHORIZATION, &good), (ACTION, "Invoice Read")], 400, ""),
        (&[(AUTHORIZATION, &good), (ACTION, "invoice:read"), (ACTION, "invoice:read")], 400, ""),
        (&[(AUTHORIZATION, &good), (CERTIFICATE, "nonsense")], 400, ""),
    ] {
        let said = running.verify(headers).await;
        assert_eq!(said.status, status, "{headers:?}: {}", said.body);
        assert!(said.header("www-authenticate").contains(says), "{headers:?}: {:?}", said.headers);
        assert_eq!(said.header("x-taskpass-agent"), "", "{headers:?}");
    }
}

/// The layer answers gRPC with an HTTP 200 and the refusal in `grpc-status`, which nginx would take for a yes.
#[tokio::test]
async fn a_client_cannot_choose_a_form_of_refusal_that_nginx_takes_for_a_yes() {
    let (running, _session) = Running::start().await;
    let hostile = [
        ("content-type", "application/grpc"),
        ("accept", "application/grpc"),
        ("te", "trailers"),
        ("expect", "200-ok"),
    ];
    for token in ["Bearer x", ""] {
        let headers = [&hostile[..], &[(AUTHORIZATION, token)]].concat();
        assert_eq!(running.verify(&headers).await.status, 401, "{token}");
    }
    let good = running.bearer(&grant());
    let headers = [&hostile[..], &[(AUTHORIZATION, &good), (ACTION, "invoice:delete")]].concat();
    assert_eq!(running.verify(&headers).await.status, 403);
}

#[tokio::test]
async fn without_the_feed_nothing_is_let_through() {
    let mut running = Running::deaf(Limits::default()).await;
    let bearer = running.bearer(&grant());
    let headers = [(AUTHORIZATION, bearer.as_str())];
    assert_eq!(running.verify(&headers).await.status, 503);
    assert_eq!(running.ask("/readyz", &[]).await.status, 503);
    assert_eq!(running.ask("/livez", &[]).await.status, 200);

    let _session = running.hear().await;
    assert_eq!(running.ask("/readyz", &[]).await.status, 200);
    assert_eq!(running.verify(&headers).await.status, 200);

    running.broker.clock.advance(MAX_STALE + Duration::from_millis(1));
    assert_eq!(running.verify(&headers).await.status, 503);
    let said = running.ask("/readyz", &[]).await;
    assert!(said.status == 503 && said.body.contains("60 s old"), "{}", said.body);
}

#[tokio::test]
async fn what_was_counted_is_shown() {
    let (running, _session) = Running::start().await;
    let said = running.ask("/metrics", &[]).await;
    assert_eq!((said.status, said.body.as_str()), (200, "counted 1\n"));
    assert!(said.header("content-type").starts_with("text/plain"));
}

#[tokio::test]
async fn certificates_are_taken_from_this_machine_only() {
    let (running, session) = Running::start().await;
    let grant = grant();
    let leased = running.certify(&grant);
    let identity = CertificateDer::from(vec![1; 64]);
    let bound = running.bearer(&bound(&identity));
    let (mine, other) = (escaped(&identity), escaped(&leased));
    for (what, headers, local, afar) in [
        ("a leased certificate", &[(CERTIFICATE, other.as_str())][..], 200, 401),
        ("a bound token with its certificate", &[(AUTHORIZATION, &bound), (CERTIFICATE, &mine)], 200, 401),
        ("a bound token with another", &[(AUTHORIZATION, &bound), (CERTIFICATE, &other)], 401, 401),
        ("a bound token with none", &[(AUTHORIZATION, &bound), (CERTIFICATE, "")], 401, 401),
        ("a stranger's certificate", &[(CERTIFICATE, &mine)], 401, 401),
        ("one that came twice", &[(CERTIFICATE, &other), (CERTIFICATE, &other)], 400, 401),
    ] {
        assert_eq!(running.verify(headers).await.status, local, "{what}");
        assert_eq!(running.verify_from_afar(headers).await.status, afar, "{what}, from afar");
    }
    let free = running.bearer(&grant);
    assert_eq!(running.verify_from_afar(&[(AUTHORIZATION, &free)]).await.status, 200, "bound to nothing");

    session.say(running.broker.delta(0, vec![lease(1, &grant)])).await;
    reached(&running.verifier, 1).await;
    let said = running.verify(&[(CERTIFICATE, &other)]).await;
    assert!(said.status == 401 && said.header("www-authenticate").contains("ended"), "{:?}", said.headers);
}

/// A router of gRPC answers a path that it does not know with an HTTP 200, which nginx would take for a yes: one wrong
/// letter in `proxy_pass` would let everybody in.
#[tokio::test]
async fn a_path_that_does_not_exist_is_no_yes() {
    let (running, _session) = Running::start().await;
    let bearer = running.bearer(&grant());
    let headers = [(AUTHORIZATION, bearer.as_str()), ("content-type", "application/grpc")];
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/verify/x", 404),
        ("GET", "/verfy", 404),
        ("GET", "/envoy.service.auth.v3.Authorization/Check", 405),
        ("GET", "/envoy.service.auth.v3.Authorization/x", 405),
        ("GET", "/grpc.health.v1.Health/Check", 405),
        ("POST", "/verify", 405),
    ] {
        for headers in [&headers[..], &headers[..1], &[]] {
            let said = ask(running.local().await, request(method, path, headers)).await;
            assert_eq!(said.status, status, "{method} {path}: {:?}", said.headers);
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_no_yes() {
    let (running, _session) = Running::start().await;
    let head = format!(
        "GET /verify HTTP/1.1\r\nhost: guard\r\nauthorization: {}\r\nx-long: {}\r\n\r\n",
        running.bearer(&grant()),
        "x".repeat(200_000)
    );
    let mut stream = running.local().await;
    // It may be closed before all of it is sent, and before anybody reads why.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");
}
