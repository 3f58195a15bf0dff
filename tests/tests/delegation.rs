//! A task hands a part of itself on, and takes it along when it ends.

use taskpass_e2e::{Broker, Refused, World, program, resource, run, start, token, until};
use taskpass_proto::v1::StartTaskRequest;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_child_dies_with_its_parent_and_a_sibling_lives() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let server = resource::serve(&world, &broker).await;
    let maya = world.connect_local().await;
    let identity = world.authority.svid("dev/rival");
    let rival = taskpass_e2e::Client::connect(&world.endpoint(&identity)).await;
    let parent = maya.start_task(start()).await.unwrap().id;
    let sibling = maya.start_task(start()).await.unwrap().id;

    // Handed on with the command line, to another agent.
    let ask = ["task", "start", "read for me", "--resource", "demo-api:invoice:read", "-o", "name"];
    let mut command = program([&ask[..], &["--agent", "dev/rival", "--parent", &parent[..12]]].concat());
    command.env("TASKPASS_SOCKET", world.path("api.sock"));
    let child = run(command).await;
    assert_eq!(child.code, 0, "{}", child.stderr);
    let child = child.stdout.trim();
    let shown = rival.task(child).await.unwrap();
    assert_eq!((shown.agent.as_str(), shown.path), ("dev/rival", vec![parent.clone(), child.to_owned()]));

    // Nobody hands on what is not his, or more than he has.
    let beneath = |parent: &str, scope: &str| StartTaskRequest {
        parent_task_id: parent.to_owned(),
        scopes: vec![scope.to_owned()],
        ..start()
    };
    let refusals: [(&str, Result<_, Refused>, (Code, &str)); 3] = [
        (
            "foreign",
            rival.start_task(beneath(&parent, "demo-api:invoice:read")).await,
            (Code::NotFound, "TASK_NOT_FOUND"),
        ),
        (
            "undecided",
            maya.start_task(beneath(&parent, "demo-api:invoice:write")).await,
            (Code::PermissionDenied, "POLICY_DENIED"),
        ),
        (
            "no task",
            maya.start_task(beneath("tk_", "demo-api:invoice:read")).await,
            (Code::InvalidArgument, "FIELD_INVALID"),
        ),
    ];
    for (what, refused, expected) in refusals {
        let refused = refused.unwrap_err();
        assert_eq!(refused.says(), expected, "{what}: {refused:?}");
    }

    let (lease, below) = rival.issue_token(token(child)).await.unwrap();
    let (_, beside) = maya.issue_token(token(&sibling)).await.unwrap();
    assert!(resource::ask(&world, &server, Some(&identity), Some(&below)).await.is_ok());
    assert!(server.verifier.verify_token(&beside).is_ok());

    let end = maya.complete(&parent).await.unwrap().end.unwrap();
    let refused = until("the child's token is refused", async || {
        let answer = resource::ask(&world, &server, Some(&identity), Some(&below)).await;
        (!answer.is_ok()).then_some(answer)
    })
    .await;
    assert!(refused.text.contains(&parent) && refused.text.contains("ended: completed"), "{refused:?}");
    // One record for all of it, and for everyone who looks.
    let dead = rival.lease(&lease.id).await.unwrap().end.unwrap();
    assert_eq!(dead.epoch, end.epoch);
    let late = rival.issue_token(token(child)).await.unwrap_err();
    assert_eq!(late.says(), (Code::FailedPrecondition, "TASK_ENDED"), "{late:?}");
    assert!(server.verifier.verify_token(&beside).is_ok());
    assert!(maya.issue(token(&sibling)).await.is_ok());
    world
        .recorded("that the child ended with it", |entry| {
            entry.code == "TP103S"
                && entry.task.as_deref() == Some(child)
                && entry.reason.as_deref() == Some("parent_ended")
        })
        .await;
    server.stop().await;
    broker.assert_well(&world).await;
}
