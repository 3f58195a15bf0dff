//! Ending many leases at once and holding off who would ask again, as an operator does it at the command line.

use serde_json::Value;
use taskpass_e2e::{Broker, Client, Run, World, program, run, start, token};
use taskpass_verify::{Rejected, Verifier};

async fn taskpass(world: &World, args: &[&str]) -> Run {
    let mut command = program(args);
    command.env("TASKPASS_SOCKET", world.path("api.sock"));
    run(command).await
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|why| panic!("{why}: {run:?}"))
}

async fn verifier(world: &World) -> Verifier {
    let identity = world.authority.svid("prod/demo-api");
    let client = Client::connect(&world.endpoint(&identity)).await;
    let verifier = Verifier::builder(client.channel()).audience("demo-api").start().unwrap();
    verifier.ready().await;
    verifier
}

/// So many tokens of one task.
async fn tokens(agent: &Client, task: &str, count: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for _ in 0..count {
        tokens.push(agent.issue_token(token(task)).await.unwrap().1);
    }
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_an_agent_dies_by_one_record_and_stays_dead() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let (agent, verifier) = (world.connect_local().await, verifier(&world).await);
    let task = agent.start_task(start()).await.unwrap();
    let name = task.agent.as_str();
    let before = tokens(&agent, &task.id, 3).await;

    let select = ["lease", "kill", "--agent", name];
    let dry = taskpass(&world, &[&select[..], &["--dry-run", "-o", "json"]].concat()).await;
    assert_eq!((dry.code, json(&dry)["item"]["matched"].as_u64()), (0, Some(3)), "{dry:?}");
    assert_eq!(json(&dry)["item"]["wide"]["kind"], "agent");
    // Nobody can be asked, nothing says why, more than was expected: nothing ends.
    let reason = ["--reason", "odd reads"];
    for (more, code) in
        [(&reason[..], 2), (&["--yes"][..], 2), (&["--reason", "odd reads", "--yes", "--expect", "2"][..], 6)]
    {
        let refused = taskpass(&world, &[&select[..], more].concat()).await;
        assert_eq!(refused.code, code, "{more:?}: {refused:?}");
    }
    before.iter().for_each(|jwt| drop(verifier.verify_token(jwt).unwrap()));

    let strict = ["--yes", "--require-all-verifiers", "--wait", "10s"];
    let killed = taskpass(&world, &[&select[..], &reason, &strict].concat()).await;
    assert_eq!(killed.code, 0, "{killed:?}");
    let said = format!("3, by one record for agent {name}");
    assert!(killed.stdout.contains(&said), "{killed:?}");
    assert!(killed.stdout.contains("by 1 of 1 verifier within"), "{killed:?}");
    for jwt in &before {
        assert!(matches!(verifier.verify_token(jwt), Err(Rejected::Denied(_))));
    }

    // A broker that was killed knows it all the same.
    broker.kill();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    assert_eq!(agent.issue_token(token(&task.id)).await.unwrap_err().reason, "HELD_AFTER_KILL");
    assert_eq!(agent.start_task(start()).await.unwrap_err().reason, "HELD_AFTER_KILL");
    let holds = taskpass(&world, &["hold", "list", "-o", "json"]).await;
    assert_eq!(json(&holds)["items"][0]["wide"]["name"], name, "{holds:?}");
    let lifted = taskpass(&world, &["hold", "lift", "--agent", name]).await;
    assert_eq!(lifted.code, 0, "{lifted:?}");
    assert_eq!(taskpass(&world, &["hold", "lift", "--agent", name]).await.code, 5);

    // What comes now is good, though it is the same agent and the same task; what was before is not.
    let (_, after) = agent.issue_token(token(&task.id)).await.unwrap();
    let fresh = self::verifier(&world).await;
    fresh.verify_token(&after).unwrap();
    for jwt in &before {
        assert!(matches!(fresh.verify_token(jwt), Err(Rejected::Denied(_))));
    }
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_ends_what_was_looked_at() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    let task = agent.start_task(start()).await.unwrap();
    tokens(&agent, &task.id, 2).await;
    let plan = taskpass(&world, &["lease", "kill", "--tree", &task.id, "-n", "-o", "name"]).await;
    assert_eq!(plan.code, 0, "{plan:?}");
    let (late, _) = agent.issue_token(token(&task.id)).await.unwrap();
    let by_plan = ["lease", "kill", "--plan", plan.stdout.trim(), "--reason", "as agreed", "-o", "json"];
    let killed = taskpass(&world, &by_plan).await;
    assert_eq!((killed.code, json(&killed)["item"]["killed"].as_u64()), (0, Some(2)), "{killed:?}");
    assert_eq!(json(&killed)["item"]["after"], "held");
    assert!(agent.lease(&late.id).await.unwrap().end.is_none());
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_tenant_gives_nothing_and_a_kill_of_all_ends_everything() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let (agent, verifier) = (world.connect_local().await, verifier(&world).await);
    let task = agent.start_task(start()).await.unwrap();
    let before = tokens(&agent, &task.id, 1).await;
    let frozen = taskpass(&world, &["hold", "set", "--all", "--reason", "incident 42"]).await;
    assert_eq!(frozen.code, 0, "{frozen:?}");
    assert_eq!(agent.start_task(start()).await.unwrap_err().reason, "HELD_AFTER_KILL");
    verifier.verify_token(&before[0]).unwrap();

    let all = ["lease", "kill", "--all", "--reason", "incident 42", "--yes"];
    let unsure = taskpass(&world, &all).await;
    assert_eq!(unsure.code, 2, "{unsure:?}");
    assert!(unsure.stderr.contains("--confirm default"), "{unsure:?}");
    verifier.verify_token(&before[0]).unwrap();
    let sure = ["--confirm", "default", "--wait", "10s", "--require-all-verifiers"];
    let killed = taskpass(&world, &[&all[..], &sure].concat()).await;
    assert_eq!(killed.code, 0, "{killed:?}");
    assert!(verifier.verify_token(&before[0]).is_err());

    assert_eq!(taskpass(&world, &["hold", "lift", "--all"]).await.code, 0);
    let after = tokens(&agent, &task.id, 1).await;
    verifier.verify_token(&after[0]).unwrap();
    assert!(verifier.verify_token(&before[0]).is_err());
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_is_for_its_time_and_says_so() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, _) = agent.issue_token(token(&task.id)).await.unwrap();
    let killed = taskpass(&world, &["lease", "kill", &lease.id, "--quarantine", "1h"]).await;
    assert_eq!(killed.code, 0, "{killed:?}");
    assert!(killed.stdout.contains(&format!("all that {} does, for 3600s", task.agent)), "{killed:?}");
    assert_eq!(agent.start_task(start()).await.unwrap_err().reason, "HELD_AFTER_KILL");
    for wrong in ["0s", "99d"] {
        let refused = taskpass(&world, &["lease", "kill", &lease.id, "--quarantine", wrong]).await;
        assert_eq!(refused.code, 2, "{wrong}: {refused:?}");
    }
    broker.assert_well(&world).await;
}
