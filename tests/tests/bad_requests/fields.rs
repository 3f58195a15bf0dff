//! Fields out of range, messages out of size, methods that are not there.

use super::{Desk, span};
use taskpass_e2e::{Refused, certificate, start, token};
use taskpass_proto::v1::{
    CertificateForm, GetTaskResponse, IssueCredentialRequest, ListLeasesRequest, ListTasksRequest,
    RenewCredentialRequest, StartTaskRequest, lease_service_client::LeaseServiceClient,
    task_service_client::TaskServiceClient,
};
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

/// Longest lives by default: a task's and a token's.
const TASK_MAX: i64 = 8 * 3600;
const TOKEN_MAX: i64 = 15 * 60;
/// The most labels of a task.
const MAX_LABELS: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_is_neither_nothing_nor_endless() {
    let desk = Desk::open().await;
    for ttl in [0, -1, i64::MIN, i64::MAX, TASK_MAX + 1] {
        let (what, since) = (format!("a task of {ttl} s"), desk.world.next_entry());
        let refused =
            desk.agent.start_task(StartTaskRequest { ttl: span(ttl), ..start() }).await.unwrap_err();
        // What the state machine refuses is the outcome of the start; what cannot even be said is refused before.
        assert_eq!(refused.says(), (Code::InvalidArgument, "TTL_OUT_OF_RANGE"), "{what}: {refused:?}");
        desk.refused(&what, since, &refused, (Code::InvalidArgument, "TTL_OUT_OF_RANGE")).await;
        assert!(!refused.about("fix").is_empty(), "{what}: {refused:?}");
    }
    for beat in [0, -1, i64::MAX] {
        let (what, since) = (format!("a heartbeat of {beat} s"), desk.world.next_entry());
        let request = StartTaskRequest { heartbeat_interval: span(beat), ..start() };
        let refused = desk.agent.start_task(request).await.unwrap_err();
        desk.refused(&what, since, &refused, (Code::InvalidArgument, "TTL_OUT_OF_RANGE")).await;
    }
    let fraction = Some(prost_types::Duration { seconds: 0, nanos: 999_999_999 });
    let broken = Some(prost_types::Duration { seconds: 1, nanos: -5 });
    for ttl in [span(0), span(-1), span(i64::MIN), span(i64::MAX), span(TOKEN_MAX + 1), fraction, broken] {
        let (what, since) = (format!("a token of {ttl:?}"), desk.world.next_entry());
        let request = IssueCredentialRequest { ttl, ..token(&desk.task.id) };
        let refused = desk.agent.issue(request).await.unwrap_err();
        desk.refused(&what, since, &refused, (Code::InvalidArgument, "TTL_OUT_OF_RANGE")).await;
    }
    desk.close(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_make_no_sense_are_named() {
    let desk = Desk::open().await;
    let id = desk.task.id.as_str();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for (field, request) in [
        ("scopes", StartTaskRequest { scopes: vec![], ..start() }),
        ("scopes", StartTaskRequest { scopes: texts(&["demo-api"]), ..start() }),
        ("scopes", StartTaskRequest { scopes: texts(&["demo-api:invoice read"]), ..start() }),
        ("purpose", StartTaskRequest { purpose: "x".repeat(1025), ..start() }),
        ("kind", StartTaskRequest { kind: "Close Books".to_owned(), ..start() }),
        ("request_id", StartTaskRequest { request_id: "x".repeat(65), ..start() }),
        ("initiator", StartTaskRequest { initiator: "a b".to_owned(), ..start() }),
        ("agent", StartTaskRequest { agent: "../maya".to_owned(), ..start() }),
        ("labels", StartTaskRequest { labels: [(String::new(), "x".to_owned())].into(), ..start() }),
        ("labels", StartTaskRequest { labels: many_labels(MAX_LABELS + 1), ..start() }),
        ("labels", StartTaskRequest { labels: many_labels(65), ..start() }),
    ] {
        let since = desk.world.next_entry();
        let refused = desk.agent.start_task(request).await.unwrap_err();
        desk.refused(field, since, &refused, (Code::InvalidArgument, "FIELD_INVALID")).await;
        assert_eq!(refused.about("field"), field, "{refused:?}");
    }
    let full = StartTaskRequest { labels: many_labels(MAX_LABELS), ..start() };
    assert_eq!(desk.agent.start_task(full).await.unwrap().labels.len(), MAX_LABELS);
    for (field, request) in [
        ("id", IssueCredentialRequest { task_id: String::new(), ..token(id) }),
        ("id", IssueCredentialRequest { task_id: "tk_".to_owned(), ..token(id) }),
        ("id", IssueCredentialRequest { task_id: id.replace("tk_", "ls_"), ..token(id) }),
        ("id", IssueCredentialRequest { task_id: id.to_uppercase(), ..token(id) }),
        ("resource", IssueCredentialRequest { resource: String::new(), ..token(id) }),
        ("resource", IssueCredentialRequest { resource: "x".repeat(201), ..token(id) }),
        ("actions", IssueCredentialRequest { actions: vec![], ..token(id) }),
        ("actions", IssueCredentialRequest { actions: vec!["invoice:read".to_owned(); 65], ..token(id) }),
    ] {
        let since = desk.world.next_entry();
        let refused = desk.agent.issue(request).await.unwrap_err();
        desk.refused(field, since, &refused, (Code::InvalidArgument, "FIELD_INVALID")).await;
        assert_eq!(refused.about("field"), field, "{refused:?}");
    }
    let since = desk.world.next_entry();
    let refused = desk.agent.renew(RenewCredentialRequest::default()).await.unwrap_err();
    desk.refused("no lease", since, &refused, (Code::InvalidArgument, "FIELD_INVALID")).await;
    desk.close(0).await;
}

fn many_labels(count: usize) -> std::collections::HashMap<String, String> {
    (0..count).map(|i| (format!("label-{i}"), "x".to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_unreadable_or_for_nobody_is_refused_in_our_form() {
    let desk = Desk::open().await;
    let call = async |path: &'static str, request: Vec<u8>| -> Refused {
        let mut grpc = Grpc::new(desk.agent.channel());
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<CertificateForm, GetTaskResponse>::default();
        // A `bytes` field in the place of a `string`: whatever is in it goes over the wire as it is.
        let request = Request::new(CertificateForm { csr: request.into() });
        grpc.unary(request, PathAndQuery::from_static(path), codec).await.unwrap_err().into()
    };
    let large = vec![b'x'; 64 * 1024 + 1];
    let since = desk.world.next_entry();
    let refused = desk.agent.issue(certificate(&desk.task.id, large.clone())).await.unwrap_err();
    desk.refused("a large request", since, &refused, (Code::InvalidArgument, "FIELD_INVALID")).await;
    assert_eq!(refused.about("field"), "message", "{refused:?}");
    for (what, path, request, field) in [
        ("a large text", "/taskpass.v1.TaskService/GetTask", large, "message"),
        ("no UTF-8", "/taskpass.v1.TaskService/GetTask", b"tk_\xff\xfe".to_vec(), "message"),
        ("no such method", "/taskpass.v1.TaskService/DropTask", vec![], "method"),
        ("no such service", "/taskpass.v2.TaskService/GetTask", vec![], "method"),
    ] {
        let since = desk.world.next_entry();
        let refused = call(path, request).await;
        desk.refused(what, since, &refused, (Code::InvalidArgument, "FIELD_INVALID")).await;
        assert_eq!(refused.about("field"), field, "{what}: {refused:?}");
    }
    desk.close(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_refused_is_written_down_too() {
    let desk = Desk::open().await;
    let verifier = desk.world.connect("prod/demo-api").await;
    let (invalid, forbidden) =
        ((Code::InvalidArgument, "FIELD_INVALID"), (Code::PermissionDenied, "NOT_PERMITTED"));
    for (client, actor, page_token, expected) in [
        (&desk.agent, "agent/dev/bot", "no page", invalid),
        (&verifier, "peer/spiffe://acme.test/prod/demo-api", "", forbidden),
    ] {
        for tasks in [true, false] {
            let since = desk.world.next_entry();
            let page_token = page_token.to_owned();
            let refused = if tasks {
                let request = ListTasksRequest { page_token, ..ListTasksRequest::default() };
                TaskServiceClient::new(client.channel()).list_tasks(request).await.unwrap_err()
            } else {
                let request = ListLeasesRequest { page_token, ..ListLeasesRequest::default() };
                LeaseServiceClient::new(client.channel()).list_leases(request).await.unwrap_err()
            };
            assert_eq!(Refused::from(refused).says(), expected, "{actor}, tasks: {tasks}");
            desk.world.recorded_refusal(since, actor, expected.1).await;
        }
    }
    desk.close(0).await;
}
