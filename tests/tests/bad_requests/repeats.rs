//! Repeats (I3): one request id, one lease; never a second effect, never a credential after the end.

use super::Desk;
use taskpass_crypto::jws::inspect_unverified;
use taskpass_e2e::{start, token, until};
use taskpass_proto::v1::{IssueCredentialRequest, StartTaskRequest};
use tonic::Code;

fn named(task: &str) -> IssueCredentialRequest {
    IssueCredentialRequest { request_id: "issue-1".to_owned(), ..token(task) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_the_same_lease_and_says_the_same() {
    let desk = Desk::open().await;
    let (lease, jwt) = desk.agent.issue_token(named(&desk.task.id)).await.unwrap();
    let (again, repeated) = desk.agent.issue_token(named(&desk.task.id)).await.unwrap();
    assert_eq!(again, lease);
    let claims = |jwt: &str| inspect_unverified(jwt).unwrap().claims;
    assert_eq!(claims(&repeated), claims(&jwt));

    let (others, mut all) = (tokio_util::task::TaskTracker::new(), Vec::new());
    for _ in 0..8 {
        let (agent, task) = (desk.agent.clone(), desk.task.id.clone());
        let ask = IssueCredentialRequest { request_id: "issue-2".to_owned(), ..token(&task) };
        all.push(others.spawn(async move { agent.issue_token(ask).await.unwrap().0.id }));
    }
    let mut ids = Vec::new();
    for one in all {
        ids.push(one.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "at once, one request became several leases");
    assert_ne!(ids[0], lease.id);
    // Two leases, however often they were signed.
    let task = desk.agent.task(&desk.task.id).await.unwrap();
    assert_eq!((task.issued, task.live_below), (2, 2));
    desk.broker.assert_well(&desk.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_with_another_body_is_a_conflict() {
    let desk = Desk::open().await;
    let first = StartTaskRequest { request_id: "start-1".to_owned(), ..start() };
    let task = desk.agent.start_task(first.clone()).await.unwrap();
    assert_eq!(desk.agent.start_task(first.clone()).await.unwrap().id, task.id);
    desk.agent.issue(named(&task.id)).await.unwrap();
    let conflict = (Code::AlreadyExists, "REQUEST_ID_REUSED");

    let since = desk.world.next_entry();
    let other = StartTaskRequest { purpose: "another".to_owned(), ..first.clone() };
    let refused = desk.agent.start_task(other).await.unwrap_err();
    desk.refused("another task", since, &refused, conflict).await;
    for (what, other) in [
        ("another time to live", IssueCredentialRequest { ttl: super::span(7), ..named(&task.id) }),
        ("another task", named(&desk.task.id)),
    ] {
        let since = desk.world.next_entry();
        let refused = desk.agent.issue(other).await.unwrap_err();
        desk.refused(what, since, &refused, conflict).await;
        assert_eq!(refused.about("request_id"), "issue-1", "{refused:?}");
    }
    // Somebody else's request ids are their own.
    let rival = desk.world.connect("dev/rival").await;
    assert_ne!(rival.start_task(first).await.unwrap().id, task.id);
    desk.close(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_after_the_end_says_so_and_never_gives_a_credential() {
    let desk = Desk::open().await;
    let ended = |reason: &str| ["LEASE_ENDED", "TASK_ENDED", "HELD_AFTER_KILL"].contains(&reason);
    let (lease, _) = desk.agent.issue(named(&desk.task.id)).await.unwrap();
    let operator = desk.world.connect("ops/oncall").await;
    operator.kill(&lease.id).await.unwrap();
    let refused = desk.agent.issue(named(&desk.task.id)).await.unwrap_err();
    assert_eq!(refused.says(), (Code::FailedPrecondition, "LEASE_ENDED"), "{refused:?}");
    operator.release(&lease.id).await.unwrap();
    let refused = desk.agent.issue(named(&desk.task.id)).await.unwrap_err();
    assert_eq!(refused.says(), (Code::FailedPrecondition, "LEASE_ENDED"), "{refused:?}");

    desk.agent.complete(&desk.task.id).await.unwrap();
    let since = desk.world.next_entry();
    let refused = desk.agent.issue(named(&desk.task.id)).await.unwrap_err();
    assert!(refused.code == Code::FailedPrecondition && ended(&refused.reason), "{refused:?}");
    desk.world.recorded_refusal(since, "agent/dev/bot", &refused.reason).await;

    let first = StartTaskRequest { request_id: "start-1".to_owned(), ..start() };
    let task = desk.agent.start_task(first.clone()).await.unwrap();
    desk.agent.complete(&task.id).await.unwrap();
    let since = desk.world.next_entry();
    let refused = desk.agent.start_task(first).await.unwrap_err();
    desk.refused("a task that has ended", since, &refused, (Code::FailedPrecondition, "TASK_ENDED")).await;
    desk.close(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_after_the_expiry_says_so() {
    let desk = Desk::open().await;
    let ask = IssueCredentialRequest { ttl: super::span(2), ..named(&desk.task.id) };
    let (lease, _) = desk.agent.issue(ask.clone()).await.unwrap();
    let refused = until("the lease has expired", async || {
        desk.agent.issue(ask.clone()).await.map(|(same, _)| assert_eq!(same.id, lease.id)).err()
    })
    .await;
    assert_eq!(refused.says(), (Code::FailedPrecondition, "LEASE_ENDED"), "{refused:?}");
    desk.broker.assert_well(&desk.world).await;
}
