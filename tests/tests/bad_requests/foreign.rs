//! What belongs to somebody else looks exactly like what is not there.

use super::Desk;
use taskpass_e2e::{Client, Refused, token};
use taskpass_proto::v1::{CancelTaskRequest, RenewCredentialRequest, task_service_client::TaskServiceClient};
use taskpass_types::{LeaseId, TaskId};
use tonic::Code;

/// Every way to name a task, by somebody who may not know it; each try is written down.
async fn tries(desk: &Desk, rival: &Client, task: &str) -> Vec<Refused> {
    let mut refusals = Vec::new();
    for verb in ["show", "heartbeat", "issue", "complete", "cancel"] {
        let since = desk.world.next_entry();
        let refused = match verb {
            "show" => rival.task(task).await.map(drop),
            "heartbeat" => rival.heartbeat(task).await,
            "issue" => rival.issue(token(task)).await.map(drop),
            "complete" => rival.complete(task).await.map(drop),
            _ => {
                let request = CancelTaskRequest { task_id: task.to_owned(), ..Default::default() };
                let cancelled = TaskServiceClient::new(rival.channel()).cancel_task(request).await;
                cancelled.map(drop).map_err(Refused::from)
            }
        };
        let refused = refused.expect_err(verb);
        desk.world.recorded_refusal(since, "agent/dev/rival", &refused.reason).await;
        refusals.push(refused);
    }
    refusals
}

/// The same but for the id; an id has one length.
fn without(refused: &Refused, id: &str) -> (Code, String, String) {
    let details = refused.details.windows(id.len()).position(|window| window == id.as_bytes());
    let mut bytes = refused.details.clone();
    if let Some(at) = details {
        bytes.splice(at..at + id.len(), *b"<id>");
    }
    (refused.code, refused.message.replace(id, "<id>"), format!("{bytes:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_task_is_an_unknown_task() {
    let desk = Desk::open().await;
    let rival = desk.world.connect("dev/rival").await;
    let (foreign, unknown) = (desk.task.id.clone(), TaskId::new().to_string());
    let of_foreign = tries(&desk, &rival, &foreign).await;
    let of_unknown = tries(&desk, &rival, &unknown).await;
    for (foreign_said, unknown_said) in of_foreign.iter().zip(&of_unknown) {
        assert_eq!(unknown_said.says(), (Code::NotFound, "TASK_NOT_FOUND"), "{unknown_said:?}");
        assert_eq!(without(foreign_said, &foreign), without(unknown_said, &unknown));
    }
    // The beginning of an id finds nothing either.
    let beginning = &foreign[..12];
    assert_eq!(rival.task(beginning).await.unwrap_err().says(), (Code::NotFound, "TASK_NOT_FOUND"));
    assert_eq!(desk.agent.task(beginning).await.unwrap().id, foreign);
    for task in [&foreign, &unknown] {
        desk.world
            .recorded("the attempt", |entry| {
                entry.actor == "agent/dev/rival"
                    && entry.refusal.as_deref() == Some("TASK_NOT_FOUND")
                    && entry.task.as_deref() == Some(task)
            })
            .await;
    }
    // Whoever watches over others may look, and an operator has no task of its own.
    assert_eq!(desk.world.connect("ops/oncall").await.task(&foreign).await.unwrap().id, foreign);
    assert!(desk.agent.task(&foreign).await.unwrap().end.is_none());
    desk.close(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_lease_is_an_unknown_lease() {
    let desk = Desk::open().await;
    let rival = desk.world.connect("dev/rival").await;
    let (lease, _) = desk.agent.issue(token(&desk.task.id)).await.unwrap();
    let unknown = LeaseId::new().to_string();
    let renew = |lease: &str| RenewCredentialRequest {
        lease_id: lease.to_owned(),
        ..RenewCredentialRequest::default()
    };
    for verb in ["show", "renew"] {
        let mut said = Vec::new();
        for lease in [&lease.id, &unknown] {
            let since = desk.world.next_entry();
            let refused = match verb {
                "show" => rival.lease(lease).await.map(drop),
                _ => rival.renew(renew(lease)).await.map(drop),
            };
            let refused = refused.expect_err(verb);
            assert_eq!(refused.says(), (Code::NotFound, "LEASE_NOT_FOUND"), "{verb}: {refused:?}");
            desk.world.recorded_refusal(since, "agent/dev/rival", "LEASE_NOT_FOUND").await;
            said.push(without(&refused, lease));
        }
        assert_eq!(said[0], said[1], "{verb}");
    }
    assert!(desk.agent.lease(&lease.id).await.unwrap().end.is_none());
    desk.close(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_task_grants_nothing_more() {
    let desk = Desk::open().await;
    let (lease, _) = desk.agent.issue(token(&desk.task.id)).await.unwrap();
    let ended = desk.agent.complete(&desk.task.id).await.unwrap();
    let renew = || RenewCredentialRequest { lease_id: lease.id.clone(), ..RenewCredentialRequest::default() };
    for (what, reasons) in [
        ("issue", ["TASK_ENDED", "TASK_ENDED"]),
        ("renew", ["TASK_ENDED", "LEASE_ENDED"]),
        ("heartbeat", ["TASK_ENDED", "TASK_ENDED"]),
    ] {
        let since = desk.world.next_entry();
        let refused = match what {
            "issue" => desk.agent.issue(token(&desk.task.id)).await.map(drop),
            "renew" => desk.agent.renew(renew()).await.map(drop),
            _ => desk.agent.heartbeat(&desk.task.id).await,
        };
        let refused = refused.expect_err(what);
        assert!(reasons.contains(&refused.reason.as_str()), "{what}: {refused:?}");
        let expected = (Code::FailedPrecondition, refused.reason.clone());
        desk.refused(what, since, &refused, (expected.0, &expected.1)).await;
    }
    // Declaring it done once more is harmless, and changes nothing.
    assert_eq!(desk.agent.complete(&desk.task.id).await.unwrap().end, ended.end);
    desk.close(1).await;
}
