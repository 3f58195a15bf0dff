//! The command line against a real broker over mTLS, and what it finds out without one.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{fs, io::Write as _, path::Path, process::Stdio};
use taskpass_e2e::{Broker, Client, Run, Signed, World, program, resource, run, start, token, until};
use tokio::process::Command;

/// The program as `identity`.
fn as_(world: &World, identity: &Signed, args: &[&str]) -> Command {
    world.write("me.pem", &identity.chain_pem);
    world.write("me.key", &identity.key_pem);
    world.write("ca.pem", &world.authority.pem());
    let mut command = program(args);
    command
        .env("TASKPASS_ADDRESS", format!("https://{}", world.api()))
        .env("TASKPASS_CA", world.path("ca.pem"))
        .env("TASKPASS_CERT", world.path("me.pem"))
        .env("TASKPASS_KEY", world.path("me.key"));
    command
}

fn json(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_json_and_every_failure_has_its_code() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let (bot, oncall) = (world.authority.svid("dev/bot"), world.authority.svid("ops/oncall"));
    let agent = Client::connect(&world.endpoint(&bot)).await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, _) = agent.issue(token(&task.id)).await.unwrap();
    for (args, kind, id) in [
        (&["task", "list", "-o", "json"][..], "TaskList", &task.id),
        (&["lease", "list", "-o", "json"], "LeaseList", &lease.id),
    ] {
        let shown = json(&run(as_(&world, &oncall, args)).await);
        assert_eq!(
            (&shown["kind"], &shown["items"][0]["id"]),
            (&Value::from(kind), &Value::from(id.as_str()))
        );
        assert!(shown["nextPageToken"].is_string());
    }
    let tail = run(as_(&world, &oncall, &["audit", "tail", "-o", "jsonl"])).await;
    assert!(tail.code == 0 && tail.stdout.lines().count() > 3, "{}", tail.stderr);
    for line in tail.stdout.lines() {
        assert!(serde_json::from_str::<Value>(line).unwrap()["seq"].is_u64(), "{line}");
    }
    let stranger = world.authority.svid("dev/stranger");
    let rival = world.authority.svid("dev/rival");
    for (who, args, code, word) in [
        (&stranger, &["task", "list"][..], 4, "unauthenticated"),
        (&world.foreign.svid("dev/bot"), &["whoami"], 4, "unauthenticated"),
        (&bot, &["audit", "tail"], 3, "denied"),
        (&bot, &["lease", "kill", &lease.id], 3, "denied"),
        (&rival, &["task", "show", &task.id], 5, "not-found"),
        (&rival, &["task", "show", "nonsense"], 2, "usage"),
        (&bot, &["task", "frobnicate"], 2, ""),
    ] {
        let said = run(as_(&world, who, args)).await;
        assert_eq!(said.code, code, "{args:?}: {}", said.stderr);
        assert!(said.stderr.contains(word) && said.stdout.is_empty(), "{args:?}: {}", said.stderr);
    }
    broker.assert_well(&world).await;
    broker.stop().await;
    let said = run(as_(&world, &bot, &["whoami", "-o", "json"])).await;
    let error: Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!((said.code, &error["exitCode"]), (7, &Value::from(7)), "{}", said.stderr);
}

/// `exec` with a token for the demo.
fn exec(world: &World, more: &[&str], script: &str) -> Command {
    let fixed = ["exec", "--task", "a story", "--resource", "demo-api:invoice:read"];
    as_(world, &world.authority.svid("dev/bot"), &[&fixed[..], more, &["--", "sh", "-c", script]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commands_credentials_live_exactly_as_long_as_it_does() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let server = resource::serve(&world, &broker).await;
    let (file, copy) = (world.path("private/token"), world.path("copy"));
    let place = format!("demo-api={}", file.display());
    // The identity that the token is bound to is the one in `me.pem`.
    let script = format!("cp {} {1}.new && mv {1}.new {1}; read _; exit 7", file.display(), copy.display());
    let mut command = exec(&world, &["--file", &place], &script);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let jwt = until("the command has its token", async || fs::read_to_string(&copy).ok()).await;
    let me = Signed {
        chain_pem: fs::read_to_string(world.path("me.pem")).unwrap(),
        key_pem: fs::read_to_string(world.path("me.key")).unwrap(),
    };
    let during = resource::ask(&world, &server, Some(&me), Some(&jwt)).await;
    assert!(during.is_ok(), "{during:?}");
    drop(child.stdin.take());
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
    assert!(!file.exists(), "the token is still on disk");
    let after = until("the token is refused", async || {
        let answer = resource::ask(&world, &server, Some(&me), Some(&jwt)).await;
        (!answer.is_ok()).then_some(answer)
    })
    .await;
    assert!(after.text.contains("ended: completed"), "{after:?}");
    server.stop().await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_as_it_would_alone_and_never_starts_without_its_credentials() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    for (script, code) in
        [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 128 + 15), ("kill -KILL $$", 128 + 9)]
    {
        assert_eq!(run(exec(&world, &[], script)).await.code, code, "{script}");
    }
    // What is sent to the wrapper reaches the command, which may have its own mind about it.
    let ready = world.path("ready");
    let script = format!("trap 'exit 9' USR1; touch {}; while :; do read _; done", ready.display());
    let mut command = exec(&world, &[], &script);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    until("the command runs", async || ready.exists().then_some(())).await;
    let wrapper = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(wrapper, Signal::USR1).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(9));
    let environment = run(exec(&world, &[], "env")).await;
    assert!(environment.stdout.contains("TASKPASS_TOKEN_DEMO_API=ey"), "{}", environment.stderr);
    let marker = world.path("started");
    let touch = format!("touch {}", marker.display());
    let denied = run(exec(&world, &["--resource", "other-api:read"], &touch)).await;
    assert_eq!(denied.code, 3, "{}", denied.stderr);
    let mut stranger = exec(&world, &[], &touch);
    stranger.env("TASKPASS_CERT", "/nonexistent.pem");
    let stranger = run(stranger).await;
    assert!([2, 7, 125].contains(&stranger.code), "{stranger:?}");
    assert!(!marker.exists(), "it was started without its credentials");
    // Whatever happened, every task has ended.
    let tasks = world.entries().into_iter().filter(|entry| entry.code == "TP101S");
    for task in tasks.filter_map(|entry| entry.task) {
        world
            .recorded("its end", |entry| entry.code == "TP103S" && entry.task.as_deref() == Some(&task))
            .await;
    }
    broker.assert_well(&world).await;
}

/// Edits one character of the log's entry `line`, from 1.
fn edit(log: &Path, line: usize) {
    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<_> = text
        .lines()
        .enumerate()
        .map(|(i, entry)| match i + 1 == line {
            true => entry.replacen("\"actor\":\"", "\"actor\":\"x", 1),
            false => entry.to_owned(),
        })
        .collect();
    fs::write(log, lines.join("\n") + "\n").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_record_is_found_by_number_and_an_anchor_finds_a_rewritten_log() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    broker.assert_well(&world).await;
    let dir = world.audit().display().to_string();
    let verify =
        async |more: &[&str]| run(program([&["audit", "verify", "--dir", &dir], more].concat())).await;
    let anchor = verify(&["-o", "name"]).await;
    assert_eq!(anchor.code, 0, "{}", anchor.stderr);
    let anchor = anchor.stdout.trim().to_owned();
    broker.assert_well(&world).await;
    broker.stop().await;
    assert_eq!(verify(&["--anchor", &anchor]).await.code, 0);
    let report = json(&verify(&["-o", "json"]).await);
    assert!(report["item"]["records"].as_u64().unwrap() > 8, "{report}");

    let (sequence, hash) = anchor.split_once(':').unwrap();
    let other = format!("{sequence}:{}", hash.chars().rev().collect::<String>());
    assert_eq!(verify(&["--anchor", &other]).await.code, 10);
    let log = world.audit().join(taskpass_audit::LOG_FILE);
    let whole = fs::read(&log).unwrap();
    edit(&log, 5);
    let found = verify(&[]).await;
    assert_eq!(found.code, 10, "{}", found.stderr);
    assert!(
        found.stderr.contains("broken") && found.stderr.contains("1 to 4 are intact"),
        "{}",
        found.stderr
    );
    // A broker does not go on from a log whose end was cut off.
    fs::write(&log, &whole[..whole.len() / 2]).unwrap();
    let (status, said) = Broker::start_refused(&world).await;
    assert!(!status.success() && said.contains(&log.display().to_string()), "{said}");
    fs::write(&log, &whole).unwrap();
    Broker::start(&world).await.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_tokens_are_looked_at_offline() {
    let world = World::new();
    let dir = world.path("policies").display().to_string();
    let check = async || run(program(["policy", "check", &dir])).await;
    assert_eq!(check().await.code, 0);
    world
        .write("policies/typo.cedar", "permit (principal, action, resource)\nwhen { context.amuont > 5 };\n");
    let found = check().await;
    assert!(found.code == 10 && found.stdout.contains("typo.cedar:2:"), "{found:?}");
    fs::remove_file(world.path("policies/typo.cedar")).unwrap();

    let broker = Broker::start(&world).await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(jwt.as_bytes()).unwrap();
    let shown = json(&run(program(["token", "inspect", file.path().to_str().unwrap(), "-o", "json"])).await);
    assert_eq!(shown["item"]["verified"], false);
    assert!(shown["item"]["claims"]["jti"].as_str().unwrap().starts_with(&lease.id), "{shown}");
    let leaked = run(program(["token", "inspect", &jwt])).await;
    assert_eq!(leaked.code, 2);
    assert!(!leaked.stderr.contains(&jwt), "it says the token once more");
    broker.assert_well(&world).await;
}
