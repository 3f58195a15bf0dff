//! A whole broker in this process, on a real socket, by its real client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests may panic")]

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};
use taskpass_cli::{compose::Server, config::Config};
use taskpass_client::{Broker, Endpoint};
use taskpass_types::Reason;

/// A configuration in `dir`, with the user who runs the test as agent and operator.
fn config(dir: &Path) -> Config {
    let uid = std::fs::metadata(dir).unwrap().uid();
    let policies = dir.join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    for (name, text) in taskpass_policy::demo::DEMO {
        std::fs::write(policies.join(name), text).unwrap();
    }
    taskpass_crypto::SealKey::generate_file(&dir.join("seal.key")).unwrap();
    let text = format!(
        r#"
        trust_domain = "acme.test"
        issuer = "https://taskpass.acme.test"
        listen.socket = "api.sock"
        listen.socket_mode = "0600"
        listen.http = "127.0.0.1:0"
        data.dir = "data"
        keys.seal = {{ file = "seal.key" }}
        policy = {{ dir = "policies", poll = "50ms" }}
        agents = [{{ id = "dev/maya", owner = "maya@acme.test", selectors = ["unix:uid:{uid}"] }}]
        operators = [{{ name = "maya", selectors = ["unix:uid:{uid}"] }}]
        verifiers = [{{ name = "demo-api", selectors = ["unix:uid:{uid}"] }}]
        "#
    );
    let path = dir.join("taskpass.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_gets_a_token_and_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&config(dir.path())).await.unwrap();
    let broker = Broker::connect(&Endpoint::unix(&server.addresses.socket)).await.unwrap();
    assert_eq!(broker.whoami().await.unwrap().agent, "dev/maya");

    let task = broker
        .task("read invoices")
        .scope("demo-api:invoice:read")
        .ttl(Duration::from_secs(60))
        .start()
        .await
        .unwrap();
    let lease = task.lease("demo-api").action("invoice:read").token().await.unwrap();
    assert!(lease.token().unwrap().expose().starts_with("ey"));
    let undeclared = task.lease("demo-api").action("invoice:delete").token().await.unwrap_err();
    assert_eq!(undeclared.reason(), Some(Reason::ScopeExceedsTask));

    let id = task.id().to_owned();
    assert!(task.complete().await.unwrap().end.is_some());
    let late = broker.heartbeat(id).await.unwrap_err();
    assert_eq!(late.reason(), Some(Reason::TaskEnded));
    server.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_way_to_make_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    std::fs::remove_file(dir.path().join("seal.key")).unwrap();
    let error = Server::start(&config).await.err().unwrap();
    assert!(error.to_string().contains("seal.key"), "{error}");
    assert!(error.fix().is_some_and(|fix| fix.contains("chmod 600")), "{:?}", error.fix());
}
