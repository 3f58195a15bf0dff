//! Guards against a broker on a real socket: they show life, renew, and have the last word.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use common::{Served, lease, next, refusal, serve, task, token};
use std::{sync::Arc, time::Duration};
use taskpass_client::{Certificate, Lease, LeaseState, Task, Token};
use taskpass_proto::v1;
use taskpass_types::Reason;
use tonic::{Code, Status};

const LONG: Duration = Duration::from_secs(3600);
/// Long enough for a busy machine to renew in time, short enough to wait for.
const LIFE: Duration = Duration::from_secs(2);

async fn started(served: &mut Served, heartbeat: Option<Duration>) -> Task {
    let builder = served.broker.task("close the books").scope("billing-api:invoice:read");
    let (guard, ()) = tokio::join!(builder.start(), async {
        let asked = next!(served, Start);
        asked.answer(v1::StartTaskResponse { task: Some(task(heartbeat)) });
    });
    guard.unwrap()
}

async fn leased(served: &mut Served, task: &Task, record: v1::Lease) -> Lease<Token> {
    let builder = task.lease("billing-api").action("invoice:read");
    let (lease, ()) = tokio::join!(builder.token(), async {
        let answer = v1::IssueCredentialResponse { lease: Some(record), credential: token("first") };
        next!(served, Issue).answer(answer);
    });
    lease.unwrap()
}

#[tokio::test]
async fn shows_life_until_the_broker_refuses() {
    let mut served = serve().await;
    let task = started(&mut served, Some(Duration::from_millis(20))).await;
    for _ in 0..2 {
        let request = next!(served, Heartbeat).answer(v1::HeartbeatTaskResponse::default());
        assert_eq!(request.task_id, "tk_1");
    }
    for _ in 0..4 {
        next!(served, Heartbeat).refuse(Status::unavailable("restarting"));
    }
    next!(served, Heartbeat).answer(v1::HeartbeatTaskResponse::default());
    next!(served, Heartbeat).refuse(refusal(
        Code::FailedPrecondition,
        Reason::TaskEnded,
        "task `tk_1` ended",
    ));
    assert_eq!(task.ended().await.reason(), Some(Reason::TaskEnded));
}

#[tokio::test]
async fn dropped_it_calls_the_task_off() {
    let mut served = serve().await;
    let task = started(&mut served, None).await;
    drop(task);
    let broker = served.broker.clone();
    let (request, ()) = tokio::join!(
        async {
            next!(served, Cancel)
                .answer(v1::CancelTaskResponse { task: Some(common::task(None)), enforcement: None })
        },
        broker.drain(),
    );
    assert_eq!((request.task_id.as_str(), request.reason.as_str()), ("tk_1", "its guard was dropped"));
}

#[tokio::test]
async fn completed_it_has_nothing_more_to_say() {
    let mut served = serve().await;
    let task = started(&mut served, None).await;
    let (done, ()) = tokio::join!(task.complete(), async {
        next!(served, Complete)
            .answer(v1::CompleteTaskResponse { task: Some(common::task(None)), enforcement: None });
    });
    done.unwrap();
    served.broker.drain().await;
    assert!(served.calls.try_recv().is_err(), "something was said after completion");
}

#[tokio::test]
async fn a_completion_that_is_refused_still_ends_the_task() {
    let mut served = serve().await;
    let task = started(&mut served, None).await;
    let (done, ()) = tokio::join!(task.complete(), async {
        next!(served, Complete).refuse(Status::internal("a defect"));
    });
    assert!(done.is_err());
    next!(served, Cancel)
        .answer(v1::CancelTaskResponse { task: Some(common::task(None)), enforcement: None });
}

#[tokio::test]
async fn attached_it_shows_life_but_leaves_the_end_to_others() {
    let mut served = serve().await;
    let broker = served.broker.clone();
    let (attached, ()) = tokio::join!(Task::attach(&broker, "tk_1"), async {
        let task = Some(task(Some(Duration::from_millis(20))));
        next!(served, Get).answer(v1::GetTaskResponse { task });
    });
    next!(served, Heartbeat).answer(v1::HeartbeatTaskResponse::default());
    drop(attached.unwrap());
    broker.drain().await;
    while let Ok(call) = served.calls.try_recv() {
        assert_eq!(call.name(), "Heartbeat");
    }
}

#[tokio::test]
async fn renews_a_token_before_it_ends_and_says_why_it_no_longer_can() {
    let mut served = serve().await;
    let task = started(&mut served, None).await;
    let held = leased(&mut served, &task, lease(LIFE, LONG)).await;
    assert_eq!(held.token().unwrap().expose(), "first");

    let mut watch = held.watch();
    watch.mark_unchanged();
    let lost_answer = next!(served, Renew).refuse(Status::unavailable("restarting"));
    let asked = next!(served, Renew);
    assert!(!lost_answer.request_id.is_empty());
    assert_eq!(asked.request.request_id, lost_answer.request_id, "a repeat has the same id");
    assert_eq!(asked.request.lease_id, "ls_1");
    asked.answer(v1::RenewCredentialResponse { lease: Some(lease(LIFE, LONG)), credential: token("second") });
    watch.changed().await.unwrap();
    assert_eq!(held.token().unwrap().expose(), "second");

    let next = next!(served, Renew);
    assert_ne!(next.request.request_id, lost_answer.request_id, "another renewal has another id");
    next.refuse(refusal(Code::FailedPrecondition, Reason::TaskEnded, "task `tk_1` ended: killed"));
    assert_eq!(held.lost().await.reason(), Some(Reason::TaskEnded));
    assert_eq!(held.token().err().and_then(|error| error.reason()), Some(Reason::TaskEnded));
    assert!(matches!(&*watch.borrow(), LeaseState::Lost(_)));
}

#[tokio::test]
async fn a_clock_that_is_wrong_does_not_matter() {
    let mut served = serve().await;
    let task = started(&mut served, None).await;
    // The broker is an hour ahead of us: by our clock the credential has an hour left.
    let ahead = |time: Option<prost_types::Timestamp>| {
        time.map(|time| prost_types::Timestamp { seconds: time.seconds + 3600, ..time })
    };
    let mut record = lease(LIFE, LONG);
    record.create_time = ahead(record.create_time);
    record.expire_time = ahead(record.expire_time);
    record.hard_stop_time = ahead(record.hard_stop_time);
    let held = leased(&mut served, &task, record).await;
    let renewal = next!(served, Renew);
    assert_eq!(held.token().unwrap().expose(), "first", "renewed in time");
    drop(renewal);
}

#[tokio::test]
async fn at_the_deadline_there_is_nothing_to_renew() {
    let mut served = serve().await;
    let task = started(&mut served, None).await;
    let life = Duration::from_millis(200);
    let held = leased(&mut served, &task, lease(life, life)).await;
    assert_eq!(held.lost().await.reason(), Some(Reason::LeaseEnded));
    assert!(served.calls.try_recv().is_err(), "it asked nevertheless");
}

#[tokio::test]
async fn a_dropped_lease_is_not_renewed() {
    let mut served = serve().await;
    let task = started(&mut served, None).await;
    let mut watch = leased(&mut served, &task, lease(LIFE, LONG)).await.watch();
    assert!(watch.changed().await.is_err(), "its keeper is gone");
    assert!(served.calls.try_recv().is_err(), "it was renewed");
}

#[tokio::test]
async fn a_certificate_has_a_fresh_key_at_every_renewal() {
    let mut served = serve().await;
    let task = started(&mut served, None).await;
    let certificate = |byte| {
        let certificates = vec![vec![byte; 64].into()];
        let form = v1::credential::Form::Certificate(v1::CertificateChain { certificates });
        Some(v1::Credential { form: Some(form) })
    };
    let builder = task.lease("billing-api").action("invoice:read");
    let (held, first) = tokio::join!(builder.certificate(), async {
        let answer =
            v1::IssueCredentialResponse { lease: Some(lease(LIFE, LONG)), credential: certificate(1) };
        next!(served, Issue).answer(answer)
    });
    let held: Lease<Certificate> = held.unwrap();
    let Some(v1::issue_credential_request::Form::Certificate(first)) = first.form else {
        panic!("no certificate was asked for");
    };
    let before: Arc<Certificate> = held.current().unwrap();
    let mut watch = held.watch();
    watch.mark_unchanged();
    let answer = v1::RenewCredentialResponse { lease: Some(lease(LIFE, LONG)), credential: certificate(2) };
    let second = next!(served, Renew).answer(answer);
    watch.changed().await.unwrap();
    let after = held.current().unwrap();
    assert_ne!(first.csr, second.csr);
    assert_ne!(before.key().secret_der(), after.key().secret_der());
    assert_eq!(after.chain()[0].as_ref(), [2; 64]);
}
