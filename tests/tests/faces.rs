//! What a connection offers besides tasks and credentials: the policies, health, reflection.

use std::time::Duration;
use taskpass_e2e::{Broker, Refused, Settings, World, resource::Caller, start, until};
use taskpass_proto::v1::{GetPoliciesRequest, policy_service_client::PolicyServiceClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_policies_in_force_and_why_newer_ones_are_not() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let operator = world.connect("ops/oncall").await;
    let policies = async || {
        let answer = PolicyServiceClient::new(operator.channel()).get_policies(GetPoliciesRequest {}).await;
        answer.unwrap().into_inner()
    };
    let before = policies().await;
    assert!(!before.revision.is_empty() && before.refused.is_empty() && before.load_time.is_some());
    assert!(before.policies.iter().any(|name| name.contains("nobody-deletes-invoices")), "{before:?}");
    world.write("policies/typo.cedar", "permit (principal, action, resource) when { context.amuont > 5 };");
    let refused = until("the typo was seen", async || {
        let now = policies().await;
        (!now.refused.is_empty()).then_some(now)
    })
    .await;
    assert!(refused.refused.contains("typo.cedar"), "{refused:?}");
    assert_eq!((&refused.revision, &refused.policies), (&before.revision, &before.policies));
    std::fs::remove_file(world.path("policies/typo.cedar")).unwrap();
    until("the typo is gone", async || policies().await.refused.is_empty().then_some(())).await;

    let since = world.next_entry();
    let agent = world.connect("dev/bot").await;
    let refused = PolicyServiceClient::new(agent.channel()).get_policies(GetPoliciesRequest {}).await;
    assert_eq!(Refused::from(refused.unwrap_err()).says(), (Code::PermissionDenied, "NOT_PERMITTED"));
    world.recorded_refusal(since, "agent/dev/bot", "NOT_PERMITTED").await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let channel = world.connect("dev/bot").await.channel();
    for service in
        ["", "taskpass.v1.TaskService", "taskpass.v1.CredentialService", "taskpass.v1.RevocationService"]
    {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = answers.unwrap().message_response else {
        panic!("no list of services");
    };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["Agent", "Audit", "Credential", "Lease", "Policy", "Revocation", "Task"] {
        assert!(names.contains(&format!("taskpass.v1.{service}Service").as_str()), "{names:?}");
    }
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fills_the_open_listener_is_in_nobody_elses_way() {
    let world =
        World::with(Settings { more: "[connections]\nconnections_per_source = 4\n", ..Settings::default() });
    let broker = Broker::start(&world).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut caller = TcpStream::connect(world.http()).await.unwrap();
        caller.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 64];
        assert!(caller.read(&mut answer).await.unwrap() > 0, "within the limit it is answered");
        silent.push(caller);
    }
    let mut one_more = TcpStream::connect(world.http()).await.unwrap();
    let refused =
        timeout(Duration::from_secs(5), one_more.read(&mut [0; 1])).await.expect("it is closed at once");
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
    // The API has its own places.
    world.connect("dev/bot").await.start_task(start()).await.unwrap();
    drop(silent);
    until("places come back", async || {
        let mut caller = Caller::plain(world.http()).await.ok()?;
        caller.get("/livez", None).await.ok()
    })
    .await;
    broker.assert_well(&world).await;
}
