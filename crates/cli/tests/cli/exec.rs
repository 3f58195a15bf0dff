//! `exec`: whatever happens, the leases end, and the command does not notice that anybody is in between.

use crate::support::{House, run};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
};

const READ: [&str; 4] = ["--task", "read invoices", "--resource", "demo-api:invoice:read"];

fn exec<'a>(more: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["exec"], &READ[..], more, &["--", "sh", "-c", script]].concat()
}

/// A run whose script has said `ready`.
async fn ready(house: &House, more: &[&str], script: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = house
        .taskpass(exec(more, script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    (child, lines)
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

async fn states(house: &House) -> Vec<String> {
    let tasks = house.json(&["task", "list", "--all"]).await;
    tasks["items"].as_array().unwrap().iter().map(|task| task["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_has_its_credentials_and_its_own_exit_code_and_then_the_task_is_done() {
    let house = House::start().await;
    let mut command = house.taskpass(exec(&[], "env | grep ^TASKPASS; cat; exit 7"));
    command.env("TASKPASS_TOKEN_OLD", "inherited").env("TASKPASS_TASK", "tk_outer");
    let run = run(command).await;
    assert_eq!(run.code, 7, "{}", run.stderr);
    let value = |name: &str| {
        let line = run.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name} in {}", run.stdout)).to_owned()
    };
    assert!(value("TASKPASS_TOKEN").starts_with("ey"));
    assert_eq!(value("TASKPASS_TOKEN"), value("TASKPASS_TOKEN_DEMO_API"));
    assert!(!run.stdout.contains("inherited"), "an old token came through");
    let task = value("TASKPASS_TASK");
    assert!(run.stderr.contains(&format!("task {task} completed")), "{}", run.stderr);
    assert_eq!(house.json(&["task", "show", &task]).await["item"]["state"], "completed");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_lease_starts_nothing_and_leaves_no_task_running() {
    let house = House::start().await;
    let marker = house.path("started");
    let script = format!("touch {}", marker.display());
    let run = house.run(&exec(&["--resource", "other-api:read"], &script)).await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("error[denied]") && !marker.exists());
    assert_eq!(states(&house).await, ["cancelled"]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_has_the_codes_of_the_shell() {
    let house = House::start().await;
    for (command, code) in [("nothing-of-this-name", 127), ("/etc/passwd", 126), ("/", 126)] {
        let run = house.run(&[&["exec"], &READ[..], &["--", command]].concat()).await;
        assert_eq!(run.code, code, "{command}: {}", run.stderr);
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_passed_on_and_a_signal_is_an_exit_code() {
    let house = House::start().await;
    let (mut child, _) = ready(&house, &[], "trap 'exit 9' USR1; echo ready; while :; do read _; done").await;
    send(&child, Signal::USR1);
    assert_eq!(child.wait().await.unwrap().code(), Some(9));
    let (mut child, _) = ready(&house, &[], "echo ready; exec cat").await;
    // Waiting would close it, and `cat` could end by itself before the signal arrives.
    let _stdin = child.stdin.take();
    send(&child, Signal::TERM);
    assert_eq!(child.wait().await.unwrap().code(), Some(128 + 15));
    assert_eq!(states(&house).await, ["completed", "completed"]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_ends_a_command_that_ignores_them() {
    let house = House::start().await;
    let script = "trap 'echo interrupted' INT; echo ready; while :; do read _; done";
    let (mut child, mut lines) = ready(&house, &[], script).await;
    send(&child, Signal::INT);
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("interrupted"));
    send(&child, Signal::INT);
    assert_eq!(child.wait().await.unwrap().code(), Some(128 + 15));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_dies_with_a_wrapper_that_is_killed() {
    let house = House::start().await;
    let (mut child, mut lines) =
        ready(&house, &[], "trap '' TERM HUP; echo ready; while :; do read _ || :; done").await;
    let _stdin = child.stdin.take();
    send(&child, Signal::KILL);
    child.wait().await.unwrap();
    // The command holds the other end of this pipe for as long as it lives.
    assert_eq!(lines.next_line().await.unwrap(), None);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_lease_stops_the_command_by_force_if_need_be() {
    let house = House::start().await;
    let script = "trap 'echo asked' TERM; echo ready; while :; do read _; done";
    let (mut child, mut lines) = ready(&house, &["--ttl", "3s", "--grace", "100ms"], script).await;
    let _stdin = child.stdin.take();
    let lease = house.json(&["lease", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(house.run(&["lease", "kill", &lease]).await.code, 0);
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("asked"));
    assert_eq!(child.wait().await.unwrap().code(), Some(124));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    assert!(stderr.contains("the lease for demo-api has ended"), "{stderr}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_stops_the_command() {
    let house = House::start().await;
    let script = "trap 'echo asked; exit 0' TERM; echo ready; while :; do read _; done";
    let (mut child, mut lines) = ready(&house, &[], script).await;
    let _stdin = child.stdin.take();
    let task = house.json(&["task", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(house.run(&["task", "cancel", &task, "--reason", "wrong month"]).await.code, 0);
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("asked"));
    assert_eq!(child.wait().await.unwrap().code(), Some(124), "not the command's own code");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    assert!(stderr.contains("the task has ended, stopping the command"), "{stderr}");
    assert!(stderr.contains("cancelled"), "{stderr}");
    assert_eq!(states(&house).await, ["cancelled"], "it is not called complete afterwards");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_the_current_token_and_goes_with_the_command() {
    let house = House::start().await;
    let path = house.path("private/token");
    let file = format!("demo-api={}", path.display());
    // Ends when the token has been renewed.
    let script = format!(
        "env | grep ^TASKPASS_TOKEN; stat -c %a {0}; first=$(cat {0}); while [ \"$(cat {0})\" = \"$first\" ]; do sleep 0.1; done; echo renewed",
        path.display()
    );
    let run = house.run(&exec(&["--ttl", "5s", "--file", &file], &script)).await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "600\nrenewed\n"), "{}", run.stderr);
    assert!(!path.exists(), "the file is still there");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_joined_goes_on() {
    let house = House::start().await;
    let started = house.run(&["task", "start", "close", "-r", "demo-api:invoice:read", "-o", "name"]).await;
    let id = started.stdout.trim();
    let args =
        ["exec", "--task", id, "--resource", "demo-api:invoice:read", "--", "printenv", "TASKPASS_TASK"];
    let run = house.run(&args).await;
    assert_eq!((run.code, run.stdout.trim()), (0, id), "{}", run.stderr);
    assert_eq!(states(&house).await, ["running"]);
    house.stop().await;
}
