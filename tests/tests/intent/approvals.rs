//! What a person has to allow: it waits durably, it is bound to one exact request, and nobody judges their own.

use super::{both, refund, set, waits_for};
use std::time::Duration;
use taskpass_client::Broker as Library;
use taskpass_e2e::{Broker, Client, World};
use taskpass_proto::v1::{ApprovalState, IssueCredentialRequest, StartTaskRequest};
use tonic::Code;

async fn person(world: &World, name: &str) -> Library {
    world.connect(&format!("people/{name}")).await.library()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_outlives_the_broker_and_is_good_for_one_request() {
    let (world, broker) = set("").await;
    // The token is bound to this certificate, and so is the approval.
    let identity = world.authority.svid("dev/bot");
    let connect = async || Client::connect(&world.endpoint(&identity)).await;
    let agent = connect().await;
    let task = agent.start_task(both()).await.unwrap();
    let request = IssueCredentialRequest { request_id: "one".to_owned(), ..refund(&task) };
    let approval = waits_for(agent.issue_token(request.clone()).await);
    assert_eq!(waits_for(agent.issue_token(request.clone()).await), approval, "it asks people once");
    broker.kill();

    let broker = Broker::start(&world).await;
    let noor = person(&world, "noor").await;
    let shown = noor.find_approval(&approval[..12]).await.unwrap();
    assert_eq!((shown.state(), shown.purpose.as_str()), (ApprovalState::Pending, "a story"));
    let granted = noor.decide_approval(&approval, true, "").await.unwrap();
    assert_eq!(granted.state(), ApprovalState::Granted);
    broker.kill();

    let broker = Broker::start(&world).await;
    let (agent, noor) = (connect().await, person(&world, "noor").await);
    let (lease, _) = agent.issue_token(request.clone()).await.unwrap();
    assert_eq!(lease.approval_id, approval);
    let (again, _) = agent.issue_token(request).await.unwrap();
    assert_eq!(again.id, lease.id, "a repeat is the same request");
    let used = noor.find_approval(&approval).await.unwrap();
    assert_eq!((used.state(), &used.used_by), (ApprovalState::Used, &lease.id));
    for named in ["", &approval] {
        let another = IssueCredentialRequest { approval_id: named.to_owned(), ..refund(&task) };
        assert_ne!(waits_for(agent.issue_token(another).await), approval, "it was used before");
    }
    // The broker was killed as soon as it had answered: what was durable by then is what announced the vote.
    let voted = world.recorded("the vote", |entry| entry.code == "TP902I").await;
    assert_eq!((voted.actor.as_str(), voted.approval), ("user/noor@acme.test", Some(approval)));
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_what_they_answer_for_and_no_workload_approves_anything() {
    let (world, broker) = set("").await;
    let (agent, scheduler) =
        (world.connect("dev/bot").await, world.connect("platform/scheduler").await.library());
    let request =
        StartTaskRequest { agent: "dev/bot".to_owned(), initiator: "ines@acme.test".to_owned(), ..both() };
    let task = scheduler.start_task(request).await.unwrap();
    let approval = waits_for(agent.issue_token(refund(&task)).await);
    for (who, actor, reason) in [
        ("dev/bot", "agent/dev/bot", "APPROVER_NOT_ELIGIBLE"),
        ("dev/rival", "agent/dev/rival", "APPROVER_NOT_ELIGIBLE"),
        ("platform/scheduler", "orchestrator/platform/scheduler", "APPROVER_NOT_ELIGIBLE"),
        ("ops/oncall", "operator/ops/oncall", "APPROVER_NOT_ELIGIBLE"),
        ("prod/demo-api", "peer/spiffe://acme.test/prod/demo-api", "APPROVER_NOT_ELIGIBLE"),
        ("people/maya", "user/maya@acme.test", "APPROVER_NOT_ELIGIBLE"),
        ("people/ines", "user/ines@acme.test", "APPROVER_NOT_ELIGIBLE"),
        ("people/otto", "user/otto@acme.test", "APPROVAL_NOT_FOUND"),
    ] {
        let (since, caller) = (world.next_entry(), world.connect(who).await.library());
        let refused = caller.decide_approval(&approval, true, "").await.unwrap_err();
        assert_eq!(refused.reason_code(), reason, "{who}: {refused:?}");
        world.recorded_refusal(since, actor, reason).await;
    }
    let stranger = world.connect("people/eve").await.library();
    let refused = stranger.decide_approval(&approval, true, "").await.unwrap_err();
    assert_eq!(refused.reason_code(), "AGENT_NOT_REGISTERED", "{refused:?}");
    assert_eq!(waits_for(agent.issue_token(refund(&task)).await), approval, "nobody has approved");

    let noor = person(&world, "noor").await;
    noor.decide_approval(&approval, true, "").await.unwrap();
    let twice = noor.decide_approval(&approval, true, "").await.unwrap_err();
    assert_eq!(twice.reason_code(), "APPROVAL_SETTLED", "{twice:?}");
    assert_eq!(agent.issue_token(refund(&task)).await.unwrap().0.approval_id, approval);
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_needs_another_approval() {
    let (world, broker) = set("").await;
    let (agent, rival) = (world.connect("dev/bot").await, world.connect("dev/rival").await);
    let (task, other) = (agent.start_task(both()).await.unwrap(), agent.start_task(both()).await.unwrap());
    let foreign = rival.start_task(both()).await.unwrap();
    let request = refund(&task);
    let approval = waits_for(agent.issue_token(request.clone()).await);
    person(&world, "noor").await.decide_approval(&approval, true, "").await.unwrap();

    let minute = Some(Duration::from_secs(60).try_into().unwrap());
    let changed = [
        IssueCredentialRequest { ttl: minute, ..request.clone() },
        refund(&other),
        IssueCredentialRequest {
            actions: ["invoice:read", "invoice:refund"].map(str::to_owned).to_vec(),
            ..request.clone()
        },
    ];
    for changed in changed {
        assert_ne!(waits_for(agent.issue_token(changed.clone()).await), approval, "{changed:?}");
        let named = IssueCredentialRequest { approval_id: approval.clone(), ..changed };
        let refused = agent.issue_token(named).await.unwrap_err();
        assert_eq!(refused.says(), (Code::AlreadyExists, "APPROVAL_MISMATCH"), "{refused:?}");
    }
    // The same agent's name is on it, and the certificate that it came with.
    let named = IssueCredentialRequest { approval_id: approval.clone(), ..refund(&foreign) };
    let refused = rival.issue_token(named).await.unwrap_err();
    assert_eq!(refused.says(), (Code::NotFound, "APPROVAL_NOT_FOUND"), "{refused:?}");
    let elsewhere = Client::connect(&world.endpoint(&world.authority.svid("dev/bot"))).await;
    assert_ne!(waits_for(elsewhere.issue_token(request.clone()).await), approval, "bound to another key");

    assert_eq!(agent.issue_token(request).await.unwrap().0.approval_id, approval);
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_final_and_the_agent_receives_the_sentence() {
    let (world, broker) = set("").await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(both()).await.unwrap();
    let approval = waits_for(agent.issue_token(refund(&task)).await);
    let (noor, ines) = (person(&world, "noor").await, person(&world, "ines").await);
    noor.decide_approval(&approval, true, "").await.unwrap();
    let silent = ines.decide_approval(&approval, false, " ").await.unwrap_err();
    assert_eq!(silent.reason_code(), "FIELD_INVALID", "{silent:?}");
    // Granted and not used yet: one *no* still outweighs it.
    let sentence = "the customer was paid by bank transfer";
    let denied = ines.decide_approval(&approval, false, sentence).await.unwrap();
    assert_eq!(denied.state(), ApprovalState::Denied);
    for named in ["", &approval] {
        let request = IssueCredentialRequest { approval_id: named.to_owned(), ..refund(&task) };
        let refused = agent.issue_token(request).await.unwrap_err();
        assert_eq!(refused.says(), (Code::PermissionDenied, "APPROVAL_DENIED"), "{refused:?}");
        assert!(refused.message.contains(sentence), "{refused:?}");
    }
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_runs_out_is_told_as_that_and_never_as_a_denial() {
    let (world, broker) = set("[limits]\napproval_ttl = \"2s\"\n").await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(both()).await.unwrap();
    let approval = waits_for(agent.issue_token(refund(&task)).await);
    let waited = agent.library().wait_for_approval(&approval, Duration::from_secs(60)).await.unwrap();
    assert_eq!((waited.state(), waited.votes.len()), (ApprovalState::Expired, 0));

    let named = IssueCredentialRequest { approval_id: approval.clone(), ..refund(&task) };
    let refused = agent.issue_token(named).await.unwrap_err();
    assert_eq!(refused.says(), (Code::FailedPrecondition, "APPROVAL_EXPIRED"), "{refused:?}");
    let late = person(&world, "noor").await.decide_approval(&approval, true, "").await.unwrap_err();
    assert_eq!(late.reason_code(), "APPROVAL_EXPIRED", "{late:?}");
    world
        .recorded("that it expired", |entry| {
            entry.code == "TP903S" && entry.approval.as_deref() == Some(&approval)
        })
        .await;
    assert!(world.entries().iter().all(|entry| entry.refusal.as_deref() != Some("APPROVAL_DENIED")));
    assert_ne!(waits_for(agent.issue_token(refund(&task)).await), approval, "it can be asked again");
    broker.assert_well(&world).await;
}
