//! Calls against a broker on a real socket: what is repeated, with what id, and what its refusals become.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use common::{next, refusal, serve, task};
use std::time::Duration;
use taskpass_client::{Broker, Endpoint, EndpointError};
use taskpass_proto::v1;
use taskpass_types::Reason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

fn request() -> v1::StartTaskRequest {
    v1::StartTaskRequest { purpose: "close the books".into(), ..Default::default() }
}

#[tokio::test]
async fn what_may_succeed_later_is_repeated_with_the_same_id() {
    let mut served = serve().await;
    let transient = [
        Status::unavailable("restarting"),
        Status::deadline_exceeded("too slow"),
        refusal(Code::Aborted, Reason::OutcomeUnknown, "it may or may not have happened"),
    ];
    let broker = served.broker.clone();
    let (started, ids) = tokio::join!(broker.start_task(request()), async {
        let mut ids = Vec::new();
        for status in transient {
            ids.push(next!(served, Start).refuse(status).request_id);
        }
        let answer = v1::StartTaskResponse { task: Some(task(None)) };
        ids.push(next!(served, Start).answer(answer).request_id);
        ids
    });
    assert_eq!(started.unwrap().id, "tk_1");
    assert!(!ids[0].is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn gives_up_after_four_attempts() {
    let mut served = serve().await;
    let broker = served.broker.clone();
    let (started, ()) = tokio::join!(broker.start_task(request()), async {
        for _ in 0..4 {
            next!(served, Start).refuse(Status::unavailable("restarting"));
        }
    });
    assert_eq!(started.unwrap_err().code(), Code::Unavailable);
    assert!(served.calls.try_recv().is_err(), "a fifth attempt");
}

#[tokio::test]
async fn what_cannot_succeed_is_not_repeated() {
    let mut served = serve().await;
    for status in [
        Status::permission_denied("no"),
        Status::internal("a defect"),
        refusal(Code::Unavailable, Reason::PolicyDenied, "the reason outweighs the code"),
    ] {
        let broker = served.broker.clone();
        let (started, _) = tokio::join!(broker.start_task(request()), async {
            next!(served, Start).refuse(status);
        });
        assert!(!started.unwrap_err().is_retryable());
        assert!(served.calls.try_recv().is_err(), "it was repeated");
    }
}

#[tokio::test]
async fn a_callers_own_id_is_kept() {
    let mut served = serve().await;
    let broker = served.broker.clone();
    let mine = v1::StartTaskRequest { request_id: "job-7".into(), ..request() };
    let (_, sent) = tokio::join!(broker.start_task(mine), async {
        next!(served, Start).answer(v1::StartTaskResponse { task: Some(task(None)) })
    });
    assert_eq!(sent.request_id, "job-7");
}

#[tokio::test]
async fn a_refusal_keeps_all_that_the_broker_said() {
    let mut served = serve().await;
    let mut details = ErrorDetails::with_error_info(
        Reason::FieldInvalid.code(),
        "taskpass",
        [("fix".to_owned(), "use `resource:action`".to_owned()), ("task".to_owned(), "tk_1".to_owned())],
    );
    details.add_bad_request_violation("scopes", "`billing` is not a scope");
    details.set_retry_info(Some(Duration::from_secs(7)));
    let status = Status::with_error_details(Code::InvalidArgument, "`billing` is not a scope", details);
    let broker = served.broker.clone();
    let (started, _) =
        tokio::join!(broker.start_task(request()), async { next!(served, Start).refuse(status) });
    let error = started.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::FieldInvalid));
    assert_eq!(error.reason_code(), "FIELD_INVALID");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.to_string(), "`billing` is not a scope");
    assert_eq!(error.fix(), Some("use `resource:action`"));
    assert_eq!(error.metadata().iter().collect::<Vec<_>>(), [(&"task".to_owned(), &"tk_1".to_owned())]);
    assert_eq!(error.fields().collect::<Vec<_>>(), [("scopes", "`billing` is not a scope")]);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error() {
    let mut served = serve().await;
    let broker = served.broker.clone();
    let (started, _) = tokio::join!(broker.start_task(request()), async {
        next!(served, Start).answer(v1::StartTaskResponse { task: None })
    });
    assert!(started.unwrap_err().message().contains("makes no sense"));
}

#[tokio::test]
async fn a_slow_answer_is_given_up_and_asked_for_again() {
    let mut served = serve().await;
    let endpoint = served.endpoint.clone().request_timeout(Duration::from_millis(50));
    let broker = Broker::connect(&endpoint).await.unwrap();
    let (started, ids) = tokio::join!(broker.start_task(request()), async {
        let slow = next!(served, Start);
        let again = next!(served, Start);
        let id = slow.request.request_id.clone();
        (id, again.answer(v1::StartTaskResponse { task: Some(task(None)) }).request_id)
    });
    assert!(started.is_ok());
    assert_eq!(ids.0, ids.1);
}

#[tokio::test]
async fn says_where_nobody_answered() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nobody.sock");
    let Err(EndpointError::Connect { address, why }) =
        Broker::connect(&Endpoint::unix(&socket)).await.map(drop)
    else {
        panic!("somebody answered");
    };
    assert_eq!(address, format!("unix:{}", socket.display()));
    assert!(why.contains("No such file"), "{why}");
    let lazy = Broker::new(Endpoint::unix(&socket).connect_lazy().unwrap());
    let error = lazy.whoami().await.unwrap_err();
    assert!(error.is_retryable() && error.message().contains("No such file"), "{error}");
}
