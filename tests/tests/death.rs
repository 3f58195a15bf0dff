//! The four deaths that nobody declares, and the fifth that an operator does. What is asserted is their order: the end is
//! written, the verifier knows, the credential is refused, nothing new is issued. Never how long it took.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::time::Duration;
use taskpass_e2e::{Broker, Client, Refused, World, program, resource, start, token, until};
use taskpass_proto::v1::{EndReason, Lease, StartTaskRequest, Task};
use taskpass_verify::Verifier;
use tonic::Code;

/// A world with a verifier, and one task with one token in it.
struct Scene {
    world: World,
    broker: Broker,
    server: resource::Invoices,
    agent: Client,
    task: Task,
    lease: Lease,
    jwt: String,
}

impl Scene {
    /// The token is good: the verifier said so.
    async fn set(task: StartTaskRequest) -> Self {
        let world = World::new();
        let broker = Broker::start(&world).await;
        let server = resource::serve(&world, &broker).await;
        let agent = world.connect_local().await;
        let task = agent.start_task(task).await.unwrap();
        let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
        let granted = server.verifier.verify_token(&jwt).unwrap();
        assert_eq!(granted.lease.to_string(), lease.id);
        Self { world, broker, server, agent, task, lease, jwt }
    }

    fn verifier(&self) -> &Verifier {
        &self.server.verifier
    }

    /// Waits until the verifier refuses, and gives why.
    async fn refused(&self) -> String {
        until("the verifier refuses the token", async || self.verifier().verify_token(&self.jwt).err())
            .await
            .to_string()
    }

    /// The task is over for its holder too, for good, and the record says why.
    async fn is_over(&self, reason: EndReason, word: &str) {
        for refused in [
            self.agent.issue_token(token(&self.task.id)).await.unwrap_err(),
            self.agent.heartbeat(&self.task.id).await.unwrap_err(),
        ] {
            assert_eq!(refused.says(), (Code::FailedPrecondition, "TASK_ENDED"), "{refused:?}");
        }
        let end = self.agent.task(&self.task.id).await.unwrap().end.unwrap();
        assert_eq!(end.reason(), reason);
        assert!(end.epoch > 0, "{end:?}");
        let since_end = self
            .world
            .recorded("the end of the task", |entry| {
                entry.code == "TP103S"
                    && entry.task.as_deref() == Some(&self.task.id)
                    && entry.reason.as_deref() == Some(word)
            })
            .await;
        self.world.recorded_refusal(since_end.seq, "agent/dev/maya", "TASK_ENDED").await;
        self.broker.assert_well(&self.world).await;
    }
}

fn seconds(seconds: u64) -> Option<prost_types::Duration> {
    Some(Duration::from_secs(seconds).try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_reaches_its_deadline_is_over() {
    let scene = Scene::set(StartTaskRequest { ttl: seconds(6), ..start() }).await;
    // The token ends with the task at the latest, and may be found expired before the verifier hears of the end.
    let why = scene.refused().await;
    assert!(why.contains("ended: timed_out") || why.contains("expired"), "{why}");
    until("the task has ended", async || scene.agent.task(&scene.task.id).await.unwrap().end).await;
    scene.is_over(EndReason::TimedOut, "timed_out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_falls_silent_is_over() {
    let scene = Scene::set(StartTaskRequest { heartbeat_interval: seconds(2), ..start() }).await;
    assert!(scene.refused().await.contains("ended: silent"));
    scene.is_over(EndReason::Silent, "silent").await;
    scene
        .world
        .recorded("that the heartbeat was lost", |entry| {
            entry.action == "task.heartbeat_lost" && entry.task.as_deref() == Some(&scene.task.id)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_dies_with_its_wrapper_and_its_task_by_silence() {
    let scene = Scene::set(start()).await;
    let file = scene.world.path("token");
    let said = scene.world.path("pid");
    let script = format!("echo $$ > {0}.new && mv {0}.new {0} && exec sleep 600", said.display());
    let mut command = program(["exec", "--task", "to be killed", "--resource", "demo-api:invoice:read"]);
    command.arg("--file").arg(format!("demo-api={}", file.display()));
    command.args(["--", "sh", "-c", &script]).env("TASKPASS_SOCKET", scene.world.path("api.sock"));
    let mut wrapper = command.spawn().unwrap();
    let command = until("the command runs", async || {
        let pid = std::fs::read_to_string(&said).ok()?;
        Pid::from_raw(pid.trim().parse().unwrap())
    })
    .await;
    let jwt = std::fs::read_to_string(&file).unwrap();
    let task = scene.verifier().verify_token(&jwt).unwrap().task_path.task().unwrap().to_string();

    kill_process(Pid::from_raw(i32::try_from(wrapper.id().unwrap()).unwrap()).unwrap(), Signal::KILL)
        .unwrap();
    wrapper.wait().await.unwrap();
    until("the command is dead too", async || is_dead(command).then_some(())).await;
    let why =
        until("the verifier refuses the token", async || scene.verifier().verify_token(&jwt).err()).await;
    assert!(why.to_string().contains("ended: silent"), "{why}");
    let refused = scene.agent.issue_token(token(&task)).await.unwrap_err();
    assert_eq!(refused.says(), (Code::FailedPrecondition, "TASK_ENDED"), "{refused:?}");
    // The other task of the same agent goes on.
    assert!(scene.verifier().verify_token(&scene.jwt).is_ok());
    scene.broker.assert_well(&scene.world).await;
}

/// Gone, or a zombie that nobody has buried yet.
fn is_dead(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    test_kill_process(process).is_err() || stat.map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edited_policy_no_longer_allows_ends_and_the_rest_goes_on() {
    let scene = Scene::set(start()).await;
    let rest = StartTaskRequest { scopes: vec!["ledger-api:entry:read".to_owned()], ..start() };
    let ledger = "permit (principal in Group::\"dev\", action, resource == Resource::\"ledger-api\");";
    scene.world.write("policies/ledger.cedar", ledger);
    let rest = scene.agent.start_task(rest).await.unwrap();
    let ask = taskpass_proto::v1::IssueCredentialRequest {
        resource: "ledger-api".to_owned(),
        actions: vec!["entry:read".to_owned()],
        ..token(&rest.id)
    };
    let rest =
        until("the new policy is in force", async || scene.agent.issue_token(ask.clone()).await.ok()).await.0;

    let policies = std::fs::read_to_string(scene.world.path("policies/agents.cedar")).unwrap();
    let edited = policies.replace("context.action == \"invoice:read\"", "context.action == \"invoice:list\"");
    assert_ne!(edited, policies);
    scene.world.write("policies/agents.cedar", &edited);
    assert!(scene.refused().await.contains("ended: drifted"));
    let ended = scene.agent.lease(&scene.lease.id).await.unwrap().end.unwrap();
    assert_eq!(ended.reason(), EndReason::Drifted);
    assert!(scene.agent.lease(&rest.id).await.unwrap().end.is_none());
    // The task lives; what it may do has changed.
    let refused = scene.agent.issue_token(token(&scene.task.id)).await.unwrap_err();
    assert_eq!(refused.says(), (Code::PermissionDenied, "POLICY_DENIED"), "{refused:?}");
    scene
        .world
        .recorded("why the lease ended", |entry| {
            entry.code == "TP203S"
                && entry.lease.as_deref() == Some(&scene.lease.id)
                && entry.reason.as_deref() == Some("drifted")
                && entry.actor == "broker/drift"
        })
        .await;
    scene.world.write("policies/agents.cedar", &policies);
    until("the old policy is in force", async || scene.agent.issue_token(token(&scene.task.id)).await.ok())
        .await;
    // What has ended stays so.
    assert!(scene.verifier().verify_token(&scene.jwt).is_err());
    scene.broker.assert_well(&scene.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_kill_holds_until_it_is_released() {
    let scene = Scene::set(start()).await;
    let operator = scene.world.connect("ops/oncall").await;
    for (stranger, actor) in [
        ("dev/bot", "agent/dev/bot"),
        ("dev/rival", "agent/dev/rival"),
        ("platform/scheduler", "orchestrator/platform/scheduler"),
        ("prod/demo-api", "peer/spiffe://acme.test/prod/demo-api"),
    ] {
        let client = scene.world.connect(stranger).await;
        for release in [false, true] {
            let since = scene.world.next_entry();
            let refused = match release {
                false => client.kill(&scene.lease.id).await.map(drop),
                true => client.release(&scene.lease.id).await.map(drop),
            };
            let refused = refused.unwrap_err();
            assert_eq!(refused.says(), (Code::PermissionDenied, "NOT_PERMITTED"), "{stranger}: {refused:?}");
            let entry = scene.world.recorded_refusal(since, actor, "NOT_PERMITTED").await;
            assert_eq!(entry.lease.as_deref(), Some(scene.lease.id.as_str()), "{stranger}: {entry:?}");
        }
    }
    assert!(scene.verifier().verify_token(&scene.jwt).is_ok());

    let killed = operator.kill(&scene.lease.id).await.unwrap();
    assert!(killed.held);
    assert!(scene.refused().await.contains("ended: killed"));
    let held = scene.agent.issue_token(token(&scene.task.id)).await.unwrap_err();
    assert_eq!(held.says(), (Code::PermissionDenied, "HELD_AFTER_KILL"));
    assert!(held.about("fix").contains(&scene.lease.id), "{held:?}");
    let kill = scene
        .world
        .recorded("who killed it and why", |entry| {
            entry.code == "TP203S"
                && entry.actor == "operator/ops/oncall"
                && entry.lease.as_deref() == Some(&scene.lease.id)
                && entry.purpose.as_deref() == Some("a story")
        })
        .await;
    scene.world.recorded_refusal(kill.seq, "agent/dev/maya", "HELD_AFTER_KILL").await;

    assert!(operator.release(&scene.lease.id).await.unwrap());
    assert!(!operator.release(&scene.lease.id).await.unwrap());
    let (fresh, jwt) = scene.agent.issue_token(token(&scene.task.id)).await.unwrap();
    assert_ne!(fresh.id, scene.lease.id);
    assert!(scene.verifier().verify_token(&jwt).is_ok());
    assert!(scene.verifier().verify_token(&scene.jwt).is_err());
    let late: Refused = scene.agent.renew(renew(&scene.lease.id)).await.unwrap_err();
    assert_eq!(late.says(), (Code::FailedPrecondition, "LEASE_ENDED"));
    scene.broker.assert_well(&scene.world).await;
}

fn renew(lease: &str) -> taskpass_proto::v1::RenewCredentialRequest {
    taskpass_proto::v1::RenewCredentialRequest { lease_id: lease.to_owned(), ..Default::default() }
}
