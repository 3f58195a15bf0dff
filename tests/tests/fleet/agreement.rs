//! What one broker knows, the others know.

use super::Fleet;
use std::{collections::BTreeSet, time::Duration};
use taskpass_e2e::{Client, resource, start, token, until};
use taskpass_proto::v1::{
    self, EndReason, RenewCredentialRequest, StartTaskRequest, task_service_client::TaskServiceClient,
    verifier_standing::State,
};
use taskpass_verify::Verifier;

#[tokio::test(flavor = "multi_thread")]
async fn two_brokers_are_one_and_one_of_them_may_die() {
    let mut fleet = Fleet::start(2).await;
    let servers = [
        resource::serve(&fleet.worlds[0], fleet.broker(0)).await,
        resource::serve(&fleet.worlds[1], fleet.broker(1)).await,
    ];
    assert_eq!(fleet.broker(0).jwks(&fleet.worlds[0]).await, fleet.broker(1).jwks(&fleet.worlds[1]).await);
    let [a, b] = [fleet.worlds[0].connect_local().await, fleet.worlds[1].connect_local().await];

    // Begun there, gone on with here; the same request is the same lease wherever it is asked.
    let task = a.start_task(start()).await.unwrap();
    let mut request = token(&task.id);
    request.request_id = "once".to_owned();
    let (lease, jwt) = b.issue_token(request.clone()).await.unwrap();
    assert_eq!(a.issue_token(request).await.unwrap().0.id, lease.id);
    for server in &servers {
        until("it is accepted behind both", async || server.verifier.verify_token(&jwt).ok()).await;
    }

    // The broker that began it dies in the middle; its agent asks the other.
    fleet.kill(0);
    b.heartbeat(&task.id).await.unwrap();
    let renew = RenewCredentialRequest { lease_id: lease.id.clone(), ..Default::default() };
    b.renew(renew).await.unwrap();
    let ended = b.complete(&task.id).await.unwrap();
    assert_eq!(ended.end.unwrap().reason(), EndReason::Completed);
    until("the survivor's verifier refuses it", async || servers[1].verifier.verify_token(&jwt).err()).await;
    // A verifier whose broker is gone refuses all of it as soon as what it knows is too old.
    until("the orphan refuses it", async || servers[0].verifier.verify_token(&jwt).err()).await;
    fleet.assert_well().await;
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_one_broker_is_heard_behind_the_other() {
    let fleet = Fleet::start(2).await;
    let server = resource::serve(&fleet.worlds[1], fleet.broker(1)).await;
    let agent = fleet.worlds[0].connect_local().await;
    let operator = fleet.worlds[0].connect("ops/oncall").await;
    let (task, kept) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let (_, other) = agent.issue_token(token(&kept.id)).await.unwrap();
    until("it is accepted", async || server.verifier.verify_token(&jwt).ok()).await;
    operator.kill(&lease.id).await.unwrap();
    let why =
        until("it is refused behind the other", async || server.verifier.verify_token(&jwt).err()).await;
    assert!(why.to_string().contains("ended: killed"), "{why}");
    assert!(server.verifier.verify_token(&other).is_ok(), "nobody else suffers");
    // Held at every broker.
    let again = fleet.worlds[1].connect_local().await.issue_token(token(&task.id)).await.unwrap_err();
    assert_eq!(again.reason, "HELD_AFTER_KILL");
    fleet.assert_well().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_changed_at_one_broker_are_in_force_at_all_and_reach_what_is_out() {
    let fleet = Fleet::start(2).await;
    let [a, b] = [fleet.worlds[0].connect_local().await, fleet.worlds[1].connect_local().await];
    let task = a.start_task(start()).await.unwrap();
    let (lease, _) = b.issue_token(token(&task.id)).await.unwrap();
    let path = fleet.worlds[0].path("policies/agents.cedar");
    let text = std::fs::read_to_string(&path).unwrap();
    let edited =
        text.replacen("context.action == \"invoice:read\" }", "context.action == \"invoice:list\" }", 1);
    assert_ne!(text, edited);
    fleet.worlds[0].write("policies/agents.cedar", &edited);
    let denied = until("the other broker has it", async || b.issue_token(token(&task.id)).await.err()).await;
    assert!(["POLICY_CHANGED", "POLICY_DENIED"].contains(&denied.reason.as_str()), "{denied:?}");
    let denied = until("it is in force there", async || {
        b.issue_token(token(&task.id)).await.err().filter(|refused| refused.reason == "POLICY_DENIED")
    })
    .await;
    assert_eq!(denied.reason, "POLICY_DENIED");
    let end = until("drift reaches the lease", async || b.lease(&lease.id).await.unwrap().end).await;
    assert_eq!(end.reason(), EndReason::Drifted);
    let found = |world: &taskpass_e2e::World| {
        let about = |entry: &taskpass_audit::Entry| {
            entry.code == "TP403S" && entry.lease.as_deref() == Some(&lease.id)
        };
        world.entries().into_iter().filter(about).count()
    };
    assert_eq!(fleet.worlds.iter().map(found).sum::<usize>(), 1, "a finding is one broker's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_goes_on_when_whoever_had_it_dies() {
    let mut fleet = Fleet::start(2).await;
    let agents = [fleet.worlds[0].connect_local().await, fleet.worlds[1].connect_local().await];
    let short = || StartTaskRequest { ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }), ..start() };
    let (mut ended_by, mut tasks) = (BTreeSet::new(), Vec::new());
    for _ in 0..3 {
        tasks.push(agents[0].start_task(short()).await.unwrap().id);
    }
    for task in &tasks {
        until("its deadline comes", async || agents[1].task(task).await.unwrap().end).await;
    }
    for (number, world) in fleet.worlds.iter().enumerate() {
        let ends = |code: &str| {
            let ours = |entry: &taskpass_audit::Entry| {
                entry.code == code && entry.task.as_ref().is_some_and(|task| tasks.contains(task))
            };
            world.entries().iter().filter(|entry| ours(entry)).count()
        };
        if until("what is announced is told", async || {
            (ends("TP103I") == ends("TP103S")).then(|| ends("TP103S"))
        })
        .await
            > 0
        {
            ended_by.insert(number);
        }
    }
    assert_eq!(ended_by.len(), 1, "one broker has the duty");
    let on_duty = ended_by.into_iter().next().unwrap();
    fleet.kill(on_duty);
    let heir = 1 - on_duty;
    let task = agents[heir].start_task(short()).await.unwrap();
    let end = until("the other takes over", async || agents[heir].task(&task.id).await.unwrap().end).await;
    assert_eq!(end.reason(), EndReason::TimedOut);
    fleet.assert_well().await;
}

/// Each verifier follows one broker, and whichever is asked counts them all.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_counts_the_verifiers_of_every_broker() {
    let mut fleet = Fleet::start(2).await;
    let agent = fleet.worlds[0].connect_local().await;
    let mut verifiers = Vec::new();
    for (world, name) in fleet.worlds.iter().zip(["web-1", "web-2"]) {
        let identity = world.authority.svid("prod/demo-api");
        let client = Client::connect(&world.endpoint(&identity)).await;
        let verifier = Verifier::builder(client.channel()).audience("demo-api").instance(name);
        let verifier = verifier.max_stale(Duration::from_secs(3)).start().unwrap();
        verifier.ready().await;
        verifiers.push(verifier);
    }
    let end = async || {
        let task = agent.start_task(start()).await.unwrap();
        let wait = prost_types::Duration::try_from(Duration::from_secs(5)).ok();
        let request = v1::CompleteTaskRequest { task_id: task.id, wait };
        let answer = TaskServiceClient::new(agent.channel()).complete_task(request).await.unwrap();
        answer.into_inner().enforcement.unwrap()
    };
    let whole = end().await;
    assert_eq!((whole.enforced, whole.verifiers, whole.others_uncounted), (2, 2, false), "{whole:?}");
    let reached = |verifier: &Verifier| verifier.epoch().is_some_and(|epoch| epoch.0 >= whole.epoch);
    assert!(verifiers.iter().all(reached), "it is true");

    // With the other broker its verifier is gone, and may accept for as long as it said that it does.
    fleet.kill(1);
    let half = until("the other is silent", async || {
        let half = end().await;
        half.standings.iter().any(|one| one.state() == State::Offline).then_some(half)
    })
    .await;
    assert_eq!((half.enforced, half.verifiers), (1, 2), "{half:?}");
    assert_eq!(half.standings[0].name, "prod/demo-api/web-2");
    assert!(half.accepted_until.is_some());
    fleet.assert_well().await;
}
