//! Waiting for people, against a broker on a real socket.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use common::{Served, approval, approval_required, lease, next, refusal, serve, task, token};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use taskpass_client::{Error, Lease, LeaseBuilder, Token};
use taskpass_proto::v1::{self, ApprovalState};
use taskpass_types::Reason;
use tonic::{Code, Status};

const LONG: Duration = Duration::from_secs(3600);

async fn asking(served: &mut Served) -> LeaseBuilder {
    let builder = served.broker.task("refund").scope("payments:refund");
    let (guard, ()) = tokio::join!(builder.start(), async {
        next!(served, Start).answer(v1::StartTaskResponse { task: Some(task(None)) });
    });
    let guard = guard.unwrap();
    let builder = guard.lease("payments").action("refund");
    guard.release();
    builder
}

async fn told(patience: Duration, builder: LeaseBuilder) -> (Result<Lease<Token>, Error>, Vec<String>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let lease = builder.wait_for_approval(patience, move |approval| hears.lock().push(approval.id.clone()));
    let lease = lease.token().await;
    let heard = heard.lock().clone();
    (lease, heard)
}

#[tokio::test]
async fn waits_for_people_and_asks_the_same_again() {
    let mut served = serve().await;
    let builder = asking(&mut served).await;
    let (lease, first, again) = {
        let ((lease, heard), (first, again)) = tokio::join!(told(LONG, builder), async {
            let first = next!(served, Issue).refuse(approval_required());
            let record = approval(ApprovalState::Pending);
            next!(served, Approval).answer(v1::GetApprovalResponse { approval: Some(record.clone()) });
            // The stream breaks once, as when a broker restarts.
            next!(served, Watch).answer(vec![record.clone()]);
            next!(served, Watch).refuse(Status::unavailable("restarting"));
            let watched = next!(served, Watch).answer(vec![record, approval(ApprovalState::Granted)]);
            assert_eq!(watched.approval_id, "ap_1");
            let answer =
                v1::IssueCredentialResponse { lease: Some(lease_record()), credential: token("approved") };
            (first, next!(served, Issue).answer(answer))
        });
        assert_eq!(heard, ["ap_1"]);
        (lease.unwrap(), first, again)
    };
    assert_eq!(first, again, "the very same request");
    assert_eq!(lease.token().unwrap().expose(), "approved");
}

fn lease_record() -> v1::Lease {
    lease(LONG, LONG)
}

#[tokio::test]
async fn the_broker_says_what_came_of_it() {
    for (state, reason) in
        [(ApprovalState::Denied, Reason::ApprovalDenied), (ApprovalState::Expired, Reason::ApprovalExpired)]
    {
        let mut served = serve().await;
        let builder = asking(&mut served).await;
        let ((lease, _), ()) = tokio::join!(told(LONG, builder), async {
            next!(served, Issue).refuse(approval_required());
            let record = approval(ApprovalState::Pending);
            next!(served, Approval).answer(v1::GetApprovalResponse { approval: Some(record) });
            next!(served, Watch).answer(vec![approval(state)]);
            next!(served, Issue).refuse(refusal(Code::PermissionDenied, reason, "use the ledger instead"));
        });
        let error = lease.unwrap_err();
        assert_eq!((error.reason(), error.message()), (Some(reason), "use the ledger instead"));
    }
}

#[tokio::test]
async fn who_does_not_wait_hears_what_to_wait_for() {
    let mut served = serve().await;
    let builder = asking(&mut served).await;
    let (lease, _) = tokio::join!(builder.token(), async {
        next!(served, Issue).refuse(approval_required());
    });
    let error = lease.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ApprovalRequired));
    assert_eq!(error.metadata()["approval"], "ap_1");
}

#[tokio::test(start_paused = true)]
async fn patience_that_runs_out_is_no_denial() {
    let mut served = serve().await;
    let broker = served.broker.clone();
    let (waited, ()) = tokio::join!(broker.wait_for_approval("ap_1", Duration::from_secs(5)), async {
        // Never answered: the clock of the test runs on while nothing else happens.
        let unanswered = next!(served, Watch);
        tokio::time::sleep(Duration::from_secs(6)).await;
        drop(unanswered);
    });
    let error = waited.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ApprovalRequired));
    assert_eq!(error.metadata()["approval"], "ap_1");
}
