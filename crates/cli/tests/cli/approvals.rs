//! What waits for people, as the agent that waits sees it; and who is registered.

use crate::support::House;
use serde_json::Value;

/// People of a group have to approve reading.
const ASK: &str = "@id(\"reading-needs-finance\")
@approval(\"1 of finance\")
permit (principal, action == Action::\"issue\", resource == Resource::\"demo-api\")
when { context.action == \"invoice:list\" };
";

const LIST: &str = "demo-api:invoice:list";

async fn asking() -> House {
    let house = House::start().await;
    let dir = house.path("asking");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("ask.cedar"), ASK).unwrap();
    let applied = house.run(&["policy", "apply", dir.to_str().unwrap(), "--reason", "drill"]).await;
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_at_first() {
    let house = House::start().await;
    let list = house.json(&["approval", "list", "--pending"]).await;
    assert_eq!((&list["kind"], &list["items"]), (&"ApprovalList".into(), &Value::Array(Vec::new())));
    assert_eq!(house.run(&["approval", "list"]).await.stdout.split_whitespace().next(), Some("ID"));
    assert_eq!(house.run(&["approval", "show", "ap_zzzzzz"]).await.code, 5);
    assert_eq!(house.run(&["approval", "watch", "ap_zzzzzz", "--timeout", "5s"]).await.code, 5);
    let silent = house.run(&["approval", "watch", "--timeout", "50ms", "-o", "jsonl"]).await;
    assert_eq!((silent.code, silent.stdout.as_str()), (0, ""), "{}", silent.stderr);
    let document = house.run(&["approval", "watch", "-o", "json"]).await;
    assert!(document.code == 2 && document.stderr.contains("jsonl"), "{}", document.stderr);
    let unexplained = house.run(&["deny", "ap_zzzzzz"]).await;
    assert!(unexplained.code == 2 && unexplained.stderr.contains("--reason"), "{}", unexplained.stderr);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_needs_people_waits_and_says_for_whom() {
    let house = asking().await;
    let started = house.run(&["task", "start", "close", "-r", LIST, "-o", "name"]).await;
    let task = started.stdout.trim();
    let exec = ["exec", "--task", task, "-r", LIST, "-o", "json", "--", "true"];
    let pending = house.run(&exec).await;
    assert_eq!(pending.code, 8, "{}", pending.stderr);
    let error: Value =
        serde_json::from_str(pending.stderr.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    assert_eq!((&error["code"], &error["reason"]), (&"approval-pending".into(), &"APPROVAL_REQUIRED".into()));
    let id = error["ids"]["approval"].as_str().unwrap().to_owned();
    assert!(error["fix"].to_string().contains("--wait-approval"), "{error}");

    // Asking the same again finds the same approval.
    assert!(house.run(&exec).await.stderr.contains(&id));
    let list = house.json(&["approval", "list", "--pending", "--agent", "dev/maya"]).await;
    assert_eq!((&list["items"][0]["id"], list["items"].as_array().unwrap().len()), (&id.as_str().into(), 1));
    assert_eq!(list["items"][0]["quorums"][0]["group"], "finance");
    let shown = house.run(&["approval", "show", &id[..9]]).await;
    for part in ["1 of `finance` (0 so far)", "demo-api invoice:list", "\"close\"", "taskpass approve ap_"] {
        assert!(shown.stdout.contains(part), "no {part} in {}", shown.stdout);
    }
    let watched = house.run(&["approval", "watch", &id, "--timeout", "300ms", "-o", "jsonl"]).await;
    assert_eq!(watched.code, 8, "{}", watched.stderr);
    let line: Value = serde_json::from_str(watched.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&line["type"], &line["object"]["state"]), (&"ADDED".into(), &"pending".into()));
    let waited =
        house.run(&["exec", "--task", task, "-r", LIST, "--wait-approval", "200ms", "--", "true"]).await;
    assert_eq!(waited.code, 8, "{}", waited.stderr);
    assert_eq!(waited.stderr.matches(&format!("taskpass approve {id}")).count(), 1, "{}", waited.stderr);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_never_votes() {
    let house = asking().await;
    let own = house.run(&["exec", "--task", "close", "-r", LIST, "--", "true"]).await;
    assert_eq!(own.code, 8, "{}", own.stderr);
    assert!(
        own.stderr.contains("add --wait-approval") && own.stderr.contains("task start"),
        "{}",
        own.stderr
    );
    let list = house.json(&["approval", "list"]).await;
    let id = list["items"][0]["id"].as_str().unwrap();
    for args in [&["approve", id][..], &["deny", id, "--reason", "no"], &["approve", id, "ap_zzzzzz"]] {
        let vote = house.run(args).await;
        assert!(vote.code == 3 && vote.stderr.contains("workload"), "{args:?}: {}", vote.stderr);
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_calls_are_decided_and_reported() {
    let house = House::start().await;
    let read = "demo-api:invoice:read";
    let started = house.run(&["task", "start", "close", "-r", read, "-o", "name"]).await;
    let call = ["--task", started.stdout.trim(), "--tool", "invoice.get"];
    let authorize = [&["tool", "authorize"], &call[..]].concat();
    let arguments = house.path("call.json");
    std::fs::write(&arguments, "{}").unwrap();
    let allowed = house
        .json(&[&authorize[..], &["-r", read, "--arguments", arguments.to_str().unwrap()]].concat())
        .await;
    assert_eq!((&allowed["kind"], &allowed["item"]["allowed"]), (&"ToolDecision".into(), &true.into()));
    assert_eq!(allowed["item"]["argumentsSalt"].as_str().unwrap().len(), 32);
    let id = allowed["item"]["callId"].as_str().unwrap();
    let report =
        [&["tool", "report"], &call[..], &["-r", read, "--outcome", "succeeded", "--call", id]].concat();
    assert_eq!(house.json(&report).await["item"]["decision"], Value::Null);
    assert_eq!(house.json(&["task", "show", call[1]]).await["item"]["toolCalls"], 1);

    let outside = house.run(&[&authorize[..], &["-r", "demo-api:invoice:delete"]].concat()).await;
    assert!(
        outside.code == 3 && outside.stdout.contains("SCOPE_EXCEEDS_TASK"),
        "{}{}",
        outside.stdout,
        outside.stderr
    );
    let neither = house.run(&["tool", "authorize", "--tool", "x", "-r", read]).await;
    assert_eq!(neither.code, 2, "{}", neither.stderr);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_registered_is_listed_and_reviewed() {
    let house = House::start().await;
    let agents = house.json(&["agent", "list"]).await;
    assert_eq!((&agents["kind"], &agents["items"][0]["id"]), (&"AgentList".into(), &"dev/maya".into()));
    assert_eq!(agents["items"][0]["state"], "active");
    let idle = house.json(&["review"]).await;
    assert_eq!(
        (&idle["item"]["findings"][0]["kind"], &idle["item"]["suggestion"]),
        (&"idle".into(), &"".into())
    );

    let both = "demo-api:invoice:read,invoice:write";
    let read = "demo-api:invoice:read";
    let started = house.run(&["task", "start", "close", "-r", both, "-o", "name"]).await;
    let task = started.stdout.trim();
    let exec = ["exec", "-q", "--task", task, "-r", read, "--ttl", "10m", "--", "true"];
    assert_eq!(house.run(&exec).await.code, 0);
    assert_eq!(house.run(&["task", "complete", task]).await.code, 0);
    let review = house.json(&["review", "--since", "1h"]).await;
    let findings = review["item"]["findings"].as_array().unwrap();
    let kinds: Vec<_> = findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["never_issued", "ttl_too_long"], "{review}");
    assert_eq!(findings[0]["actions"][0], "invoice:write");

    // What is suggested allows the same, and no more.
    let dir = house.path("reviewed");
    std::fs::create_dir_all(&dir).unwrap();
    let suggestion = house.run(&["review", "-o", "name"]).await.stdout;
    std::fs::write(dir.join("suggested.cedar"), &suggestion).unwrap();
    let replay = house.run(&["policy", "replay", dir.to_str().unwrap()]).await;
    assert_eq!(replay.code, 0, "{}{suggestion}", replay.stdout);
    let table = house.run(&["review"]).await.stdout;
    assert!(table.contains("never issued") && table.ends_with(&suggestion), "{table}");
    house.stop().await;
}
