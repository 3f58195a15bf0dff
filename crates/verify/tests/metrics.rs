//! What is counted. A process of its own: a recorder is the process's.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use axum::{Router, body::Body, routing::get};
use common::{Broker, grant, lease, reached};
use http::{Request, header::AUTHORIZATION};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::ServiceExt as _;

#[tokio::test]
async fn checks_are_counted_once_by_their_reason_and_the_feed_is_shown() {
    let shown = PrometheusBuilder::new().install_recorder().unwrap();
    let mut broker = Broker::start();
    let dir = tempfile::tempdir().unwrap();
    let verifier = broker.builder().cache(dir.path().join("denies")).start().unwrap();
    let session = broker.session().await;
    let gone = grant();
    session.say(broker.snapshot(7, vec![lease(7, &gone)])).await;
    reached(&verifier, 7).await;
    broker.acknowledged.recv().await.unwrap();
    let routes =
        Router::new().route("/", get(async || "")).layer(verifier.layer().require("invoice:delete").unwrap());
    verifier.verify_token(&broker.token(&grant())).unwrap();
    verifier.verify_token(&broker.token(&gone)).unwrap_err();
    let good = format!("Bearer {}", broker.token(&grant()));
    for request in [Request::get("/"), Request::get("/").header(AUTHORIZATION, good)] {
        routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    }
    // It does not follow from what is held.
    session.say(broker.delta(9, vec![])).await;
    broker.session().await;
    let text = shown.render();
    for line in [
        r#"taskpass_verifier_accepted_total{audience="billing-api"} 1"#,
        r#"taskpass_verifier_refused_total{audience="billing-api",reason="denied"} 1"#,
        r#"taskpass_verifier_refused_total{audience="billing-api",reason="missing"} 1"#,
        r#"taskpass_verifier_refused_total{audience="billing-api",reason="action_not_granted"} 1"#,
        r#"taskpass_verifier_feeds_lost_total{audience="billing-api",why="resync"} 1"#,
        r#"taskpass_verifier_cache_total{audience="billing-api",outcome="absent"} 1"#,
        r#"taskpass_verifier_epoch{audience="billing-api"} 7"#,
        r#"taskpass_verifier_records{audience="billing-api"} "#,
        r#"taskpass_verifier_staleness_seconds{audience="billing-api"} "#,
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
}
