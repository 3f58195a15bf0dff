//! The nouns: what they print, and how they end.

use crate::support::{House, program, run};
use serde_json::Value;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_started_listed_shown_by_its_beginning_and_completed() {
    let house = House::start().await;
    let started = house
        .run(&[
            "task",
            "start",
            "close November",
            "-r",
            "demo-api:invoice:read",
            "--label",
            "team=finance",
            "-o",
            "name",
        ])
        .await;
    assert_eq!(started.code, 0, "{}", started.stderr);
    let id = started.stdout.trim();

    let list = house.json(&["task", "list"]).await;
    let keys: Vec<_> = list.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["apiVersion", "kind", "items", "nextPageToken"]);
    assert_eq!((&list["apiVersion"], &list["kind"]), (&Value::from("taskpass.v1"), &Value::from("TaskList")));
    assert_eq!(list["items"][0]["id"], id);
    assert_eq!(list["items"][0]["labels"]["team"], "finance");

    let shown = house.json(&["task", "show", &id[..9]]).await;
    assert_eq!((&shown["kind"], &shown["item"]["state"]), (&Value::from("Task"), &Value::from("running")));
    let completed = house.run(&["task", "complete", id]).await;
    assert!(
        completed.stdout.contains("completed") && completed.stderr.starts_with("next: "),
        "{}",
        completed.stderr
    );
    assert!(house.run(&["task", "complete", id, "-q"]).await.stderr.is_empty(), "-q leaves no hint");
    assert_eq!(house.json(&["task", "list"]).await["items"], Value::Array(Vec::new()));
    assert_eq!(house.json(&["task", "list", "--all"]).await["items"][0]["state"], "completed");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_cancelled_says_why_and_its_log_is_followed() {
    let house = House::start().await;
    let mut follow = house.taskpass(["audit", "tail", "-f", "-o", "jsonl"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    // It has shown what there was; what follows happens later.
    let first: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert!(first["seq"].is_u64(), "{first}");
    let started = house.run(&["task", "start", "close", "-r", "demo-api:invoice:read", "-o", "name"]).await;
    let id = started.stdout.trim();
    let cancelled = house.json(&["task", "cancel", &id[..9], "--reason", "wrong month"]).await;
    assert_eq!((&cancelled["item"]["id"], &cancelled["item"]["state"]), (&id.into(), &"cancelled".into()));
    loop {
        let line = lines.next_line().await.unwrap().expect("it follows until it is told to end");
        let entry: Value = serde_json::from_str(&line).unwrap();
        if entry["code"] == "TP103S" {
            assert_eq!((&entry["task"], &entry["purpose"]), (&id.into(), &"wrong month".into()), "{entry}");
            break;
        }
    }
    follow.kill().await.unwrap();
    // What has ended otherwise is not called complete, and cancelling it once more changes nothing.
    let late = house.run(&["task", "complete", id]).await;
    assert!(late.code != 0 && late.stderr.contains("cancelled"), "{}: {}", late.code, late.stderr);
    assert_eq!(house.json(&["task", "cancel", id]).await["item"]["state"], "cancelled");
    let unknown = house.run(&["task", "cancel", "tk_zzzzzz"]).await;
    assert_eq!(unknown.code, 5, "{}", unknown.stderr);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_escape_sequence_of_a_stranger_reaches_the_terminal() {
    let house = House::start().await;
    let purpose = "close \u{1b}[2J\u{9b}31m books \u{202e}";
    let started =
        house.run(&["task", "start", purpose, "-r", "demo-api:invoice:read", "--color", "never"]).await;
    assert_eq!(started.code, 0, "{}", started.stderr);
    for form in ["table", "json", "jsonl", "name"] {
        let list = house.run(&["task", "list", "-o", form]).await;
        let unsafe_char = list.stdout.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(unsafe_char, None, "-o {form}: {:?}", list.stdout);
    }
    assert_eq!(
        house.json(&["task", "list"]).await["items"][0]["purpose"],
        purpose,
        "JSON still says the truth"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_lease_is_held_until_released() {
    let house = House::start().await;
    let started = house.run(&["task", "start", "close", "-r", "demo-api:invoice:read", "-o", "name"]).await;
    let lease = ["exec", "--task", started.stdout.trim(), "-r", "demo-api:invoice:read", "--", "true"];
    assert_eq!(house.run(&lease).await.code, 0);
    let active = house.json(&["lease", "list"]).await;
    let id = active["items"][0]["id"].as_str().unwrap();

    let killed = house.json(&["lease", "kill", id, "--reason", "drill"]).await;
    assert_eq!(
        (&killed["kind"], &killed["item"]["lease"]["id"]),
        (&Value::from("LeaseKill"), &Value::from(id))
    );
    assert_eq!(
        (&killed["item"]["lease"]["state"], &killed["item"]["held"]),
        (&"killed".into(), &true.into())
    );
    let again = house.run(&lease).await;
    assert!(
        again.code == 3 && again.stderr.contains("taskpass lease release"),
        "{}: {}",
        again.code,
        again.stderr
    );
    assert_eq!(house.run(&["lease", "release", id]).await.code, 0);
    assert_eq!(house.run(&lease).await.code, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_kills_are_confirmed_and_may_be_partly_done() {
    let house = House::start().await;
    let lease = ["exec", "-q", "--task", "read", "-r", "demo-api:invoice:read", "--", "true"];
    assert_eq!(house.run(&lease).await.code, 0);
    let all = house.json(&["lease", "list", "--all"]).await;
    let id = all["items"][0]["id"].as_str().unwrap();
    let unconfirmed = house.run(&["lease", "kill", id, "ls_zzzzzz"]).await;
    assert!(unconfirmed.code == 2 && unconfirmed.stderr.contains("--yes"), "{}", unconfirmed.stderr);
    let partly =
        house.run(&["lease", "kill", id, "ls_zzzzzz", "--yes", "--reason", "drill", "-o", "json"]).await;
    assert_eq!(partly.code, 9, "{}", partly.stderr);
    assert_eq!(serde_json::from_str::<Value>(&partly.stdout).unwrap()["items"].as_array().unwrap().len(), 1);
    let none = house.run(&["lease", "kill", "ls_yyyyyy", "ls_zzzzzz", "--yes", "--reason", "drill"]).await;
    assert_eq!(none.code, 5, "{}", none.stderr);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_their_documented_codes_and_a_fix() {
    let house = House::start().await;
    for (args, code, what) in [
        (&["task", "show", "tk_zzzzzz"][..], 5, "error[not-found]"),
        (&["task", "show", "tk_z"], 2, "error[usage]"),
        (&["task", "start", "x", "-r", "demo-api"], 2, "not a scope"),
        (&["lease", "release", "ls_zzzzzz"], 5, "error[not-found]"),
        (&["audit", "tail", "-f", "-o", "json"], 2, "-o jsonl"),
        (
            &["exec", "--task", "x", "-r", "demo-api:invoice:delete", "--", "true"],
            3,
            "nobody-deletes-invoices",
        ),
        (&["policy", "check", "/nonexistent"], 10, ""),
        (&["audit", "verify", "--dir", "/nonexistent"], 1, "--dir"),
        (&["token", "inspect", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"], 2, "other users"),
        (&["--address", "unix:/nonexistent/t.sock", "whoami"], 7, "taskpass dev"),
        (&["help", "nothing"], 2, "error[usage]"),
    ] {
        let run = house.run(args).await;
        assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(what), "{args:?}: {}", run.stderr);
    }
    let json = house.run(&["task", "show", "tk_zzzzzz", "-o", "json"]).await;
    let error: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!((&error["kind"], &error["exitCode"]), (&Value::from("Error"), &Value::from(5)));
    assert_eq!(error["reason"], "TASK_NOT_FOUND");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_read_and_verified_and_a_changed_byte_is_found() {
    let house = House::start().await;
    house.run(&["task", "start", "close November", "-r", "demo-api:invoice:read"]).await;
    let tail = house.run(&["audit", "tail", "-o", "jsonl"]).await;
    let actions: Vec<Value> = tail.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(actions.iter().any(|entry| entry["action"] == "task.start"), "{}", tail.stdout);
    assert!(house.run(&["audit", "tail"]).await.stdout.contains("\"close November\""));

    let dir = house.path("data/audit");
    let dir = dir.to_str().unwrap();
    let verified = house.json(&["audit", "verify", "--dir", dir]).await;
    let anchor = verified["item"]["anchor"].as_str().unwrap().to_owned();
    assert_eq!(house.run(&["audit", "verify", "--dir", dir, "--anchor", &anchor]).await.code, 0);
    let log = house.path("data/audit").join(taskpass_audit::LOG_FILE);
    let changed = std::fs::read_to_string(&log).unwrap().replacen("close November", "close December", 1);
    std::fs::write(&log, changed).unwrap();
    let broken = house.run(&["audit", "verify", "--dir", dir]).await;
    assert!(
        broken.code == 10 && broken.stderr.contains("error[found]"),
        "{}: {}",
        broken.code,
        broken.stderr
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_broker_works_without_one() {
    let bare = run(program::<&str>([])).await;
    assert!(bare.code == 0 && bare.stdout.lines().count() <= 12, "{}", bare.stdout);
    let config = run(program(["help", "config"])).await;
    assert_eq!(config.stdout, taskpass_cli::config::FULL);
    let approvals = run(program(["help", "approvals"])).await;
    assert!(approvals.code == 0 && approvals.stdout.contains("taskpass deny ap_"), "{}", approvals.stdout);
    assert!(run(program(["help", "lease", "kill"])).await.stdout.contains("--reissue-ok"));
    assert_eq!(
        run(program(["version"])).await.stdout.trim(),
        format!("taskpass  {}", env!("CARGO_PKG_VERSION"))
    );
    let nobody = run(program(["lease", "list"])).await;
    assert_eq!(nobody.code, 7, "{}", nobody.stderr);
    let typo = run(program(["lese"])).await;
    assert!(typo.code == 2 && typo.stderr.contains("'lease'"), "{}", typo.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_checks_a_configuration_without_starting_anything() {
    let house = House::start().await;
    let path = house.path("taskpass.toml");
    let good = house.run(&["serve", "--check", "--config", path.to_str().unwrap()]).await;
    assert!(good.code == 0 && good.stdout.starts_with("ok  1 agents"), "{}{}", good.stdout, good.stderr);
    let json = house.json(&["serve", "--check", "--config", path.to_str().unwrap()]).await;
    assert_eq!((&json["kind"], &json["item"]["agents"]), (&"ConfigCheck".into(), &1.into()), "{json}");
    let text = std::fs::read_to_string(&path).unwrap().replace("trust_domain", "trust_domian");
    std::fs::write(&path, text).unwrap();
    let bad = house.run(&["serve", "--check", "--config", path.to_str().unwrap()]).await;
    assert!(
        bad.code == 10 && bad.stderr.contains("2:9: `trust_domian`: unknown key"),
        "{}: {}",
        bad.code,
        bad.stderr
    );
    house.stop().await;
}
