//! Policies: tested offline, previewed, changed, taken back, asked.

use crate::support::{House, program, run};
use serde_json::Value;
use std::path::Path;

/// The demo's policies with their tests, in a directory of their own.
fn copy(house: &House, name: &str) -> String {
    let dir = house.path(name);
    std::fs::create_dir_all(dir.join("tests")).unwrap();
    for (name, text) in taskpass_policy::demo::DEMO {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let cases = include_str!("../../../../deploy/policies/demo/tests/demo.yaml");
    std::fs::write(dir.join("tests/demo.yaml"), cases).unwrap();
    dir.to_str().unwrap().to_owned()
}

fn replace(path: impl AsRef<Path>, from: &str, to: &str) {
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in {}", path.as_ref().display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// A directory in which nobody may read invoices.
fn closed(house: &House) -> String {
    let dir = copy(house, "closed");
    replace(format!("{dir}/agents.cedar"), "\"invoice:read\"", "\"invoice:list\"");
    dir
}

/// A running task with one lease; the lease's id.
async fn lease(house: &House) -> String {
    let read = "demo-api:invoice:read";
    let started = house.run(&["task", "start", "close", "-r", read, "-o", "name"]).await;
    let issued = house.run(&["exec", "--task", started.stdout.trim(), "-r", read, "--", "true"]).await;
    assert_eq!(issued.code, 0, "{}", issued.stderr);
    house.json(&["lease", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned()
}

async fn revision(house: &House) -> String {
    house.json(&["policy", "history"]).await["items"][0]["revision"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_pass_fail_with_an_explanation_and_reach_every_policy() {
    let house = House::start().await;
    let dir = copy(&house, "tested");
    let passed = run(program(["policy", "test", &dir])).await;
    assert_eq!(passed.code, 0, "{}{}", passed.stdout, passed.stderr);
    assert!(passed.stdout.starts_with("PASS demo.yaml ("), "{}", passed.stdout);

    let extra = "@id(\"untested\") permit (principal == Agent::\"x\", action, resource == Resource::\"x\");";
    std::fs::write(format!("{dir}/extra.cedar"), extra).unwrap();
    let uncovered = run(program(["policy", "test", &dir])).await;
    assert!(
        uncovered.code == 10 && uncovered.stdout.contains("\"untested\": no case reaches it"),
        "{}",
        uncovered.stdout
    );
    assert_eq!(run(program(["policy", "test", &dir, "--no-coverage"])).await.code, 0);

    replace(
        format!("{dir}/tests/demo.yaml"),
        "obligations: { max_ttl: 15m }",
        "obligations: { max_ttl: 5m }",
    );
    let junit = house.path("junit.xml");
    let args = ["policy", "test", &dir, "--no-coverage", "--junit", junit.to_str().unwrap()];
    let failed = run(program(args)).await;
    assert_eq!(failed.code, 10, "{}", failed.stderr);
    for part in
        ["FAIL demo.yaml (2 of ", "a developer's agent reads invoices", "expected", "15m", "2 failed, "]
    {
        assert!(failed.stdout.contains(part), "no {part} in {}", failed.stdout);
    }
    assert!(std::fs::read_to_string(junit).unwrap().contains("failures=\"2\""));
    let filtered = run(program(["policy", "test", &dir, "--filter", "nobody deletes"])).await;
    assert!(filtered.code == 0 && filtered.stdout.contains("0 failed, 1 passed"), "{}", filtered.stdout);
    assert_eq!(run(program(["policy", "test", &dir, "--filter", "nothing like it"])).await.code, 2);
    std::fs::remove_dir_all(format!("{dir}/tests")).unwrap();
    let missing = run(program(["policy", "test", &dir])).await;
    assert!(missing.code == 10 && missing.stdout.contains("tests"), "{}", missing.stdout);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_previewed_and_takes_exactly_that() {
    let house = House::start().await;
    let (lease, before) = (lease(&house).await, revision(&house).await);
    let dir = closed(&house);
    let diff = house.run(&["policy", "diff", "--live", &dir]).await;
    assert_eq!(diff.code, 10, "{}", diff.stderr);
    for part in [
        lease.as_str(),
        "dev/maya",
        "demo-api",
        "invoice:read",
        "revoke",
        "would lose something, of 1 agents",
    ] {
        assert!(diff.stdout.contains(part), "no {part} in {}", diff.stdout);
    }
    let plan = house.run(&["policy", "diff", "--live", &dir, "-o", "name"]).await.stdout;
    assert!(plan.starts_with("pl_"), "{plan}");

    let unconfirmed = house.run(&["policy", "apply", &dir, "--reason", "drill"]).await;
    assert!(unconfirmed.code == 2 && unconfirmed.stderr.contains("--yes"), "{}", unconfirmed.stderr);
    assert_eq!(revision(&house).await, before, "nothing was changed");

    let applied =
        house.run(&["policy", "apply", "--plan", plan.trim(), "--reason", "drill", "-o", "json"]).await;
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    let applied: Value = serde_json::from_str(&applied.stdout).unwrap();
    assert_eq!((&applied["kind"], &applied["item"]["affected"]), (&"PolicyChange".into(), &1.into()));
    assert_eq!(applied["item"]["revision"].as_str().unwrap(), revision(&house).await);
    let again = house.run(&["policy", "apply", &dir, "--reason", "drill"]).await;
    assert!(again.code == 0 && again.stderr.contains("in force already"), "{}", again.stderr);
    let denied = house.run(&["exec", "--task", "x", "-r", "demo-api:invoice:read", "--", "true"]).await;
    assert_eq!(denied.code, 3, "{}", denied.stderr);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_grew_since_it_was_previewed_is_refused() {
    let house = House::start().await;
    let dir = closed(&house);
    let plan = house.run(&["policy", "diff", "--live", &dir, "-o", "name"]).await;
    assert_eq!(plan.code, 0, "nothing lives yet: {}", plan.stderr);
    lease(&house).await;
    let grew = house.run(&["policy", "apply", "--plan", plan.stdout.trim(), "--reason", "drill"]).await;
    assert!(grew.code == 6 && grew.stderr.contains("policy diff --live"), "{}: {}", grew.code, grew.stderr);

    // So is what was previewed over other policies than those in force.
    let plan = house.run(&["policy", "diff", "--live", &dir, "-o", "name"]).await;
    let wider = copy(&house, "wider");
    let text = "permit (principal == Agent::\"dev/you\", action, resource);";
    std::fs::write(format!("{wider}/wider.cedar"), text).unwrap();
    assert_eq!(house.run(&["policy", "apply", &wider, "--reason", "drill"]).await.code, 0);
    let outdated = house.run(&["policy", "apply", "--plan", plan.stdout.trim(), "--reason", "drill"]).await;
    assert!(
        outdated.code == 6 && outdated.stderr.contains("by now"),
        "{}: {}",
        outdated.code,
        outdated.stderr
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_force_is_shown_and_comes_back() {
    let house = House::start().await;
    let before = revision(&house).await;
    let dir = closed(&house);
    let applied = house.run(&["policy", "apply", &dir, "--reason", "drill"]).await;
    assert_eq!(applied.code, 0, "{}", applied.stderr);

    let shown = house.run(&["policy", "show", &before, "--file", "agents.cedar"]).await;
    assert_eq!(
        (shown.code, shown.stdout.as_str()),
        (0, taskpass_policy::demo::DEMO[0].1),
        "{}",
        shown.stderr
    );
    let names = house.run(&["policy", "show", "-o", "name"]).await;
    assert_eq!(names.stdout, "agents.cedar\nguardrails.cedar\n");
    let all = house.run(&["policy", "show"]).await.stdout;
    assert!(all.starts_with("// ---- agents.cedar\n") && all.contains("\"invoice:list\""), "{all}");
    assert_eq!(house.run(&["policy", "show", "--file", "nothing.cedar"]).await.code, 5);
    assert_eq!(house.run(&["policy", "show", "ffffffffffff"]).await.code, 5);

    let back = house.run(&["policy", "rollback", &before[..6], "--reason", "stuck"]).await;
    assert_eq!(back.code, 0, "{}", back.stderr);
    let history = house.json(&["policy", "history"]).await;
    let origins: Vec<_> = history["items"].as_array().unwrap().iter().map(|set| &set["origin"]).collect();
    assert_eq!(origins, ["rolled_back", "applied", "files"]);
    assert_eq!(history["items"][0]["revision"], before.as_str());
    let first = house.json(&["policy", "history", "--limit", "1"]).await;
    assert!(!first["nextPageToken"].as_str().unwrap().is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_would_not_take_effect_are_never_sent() {
    let house = House::start().await;
    let dir = copy(&house, "broken");
    std::fs::write(
        format!("{dir}/broken.cedar"),
        "permit (principal, action, resource) when { context.amuont };",
    )
    .unwrap();
    for args in [
        &["policy", "diff", "--live", &dir][..],
        &["policy", "apply", &dir, "--reason", "x"],
        &["policy", "replay", &dir],
        &["policy", "test", &dir],
    ] {
        let refused = house.run(args).await;
        assert_eq!(refused.code, 10, "{args:?}: {}", refused.stderr);
        assert!(refused.stdout.contains("broken.cedar:1:"), "{args:?}: {}", refused.stdout);
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_decided_as_if() {
    let house = House::start().await;
    let simulate = async |more: &[&str]| {
        house.run(&[&["policy", "simulate", "--agent", "dev/maya"], more].concat()).await
    };
    let allowed = simulate(&["-r", "demo-api:invoice:read"]).await;
    assert!(
        allowed.code == 0 && allowed.stdout.contains("dev-may-read-invoices"),
        "{}{}",
        allowed.stdout,
        allowed.stderr
    );
    assert!(allowed.stdout.contains("max_ttl"), "{}", allowed.stdout);
    assert_eq!(simulate(&["-r", "demo-api:invoice:write"]).await.code, 3);
    assert_eq!(simulate(&["-r", "demo-api:invoice:write", "--bound", "-o", "name"]).await.stdout, "allow\n");
    let denied = simulate(&["-r", "demo-api:invoice:delete", "-o", "json"]).await;
    assert_eq!(denied.code, 3);
    let denied: Value = serde_json::from_str(&denied.stdout).unwrap();
    assert_eq!((&denied["kind"], &denied["item"]["allowed"]), (&"Decision".into(), &false.into()));
    assert!(denied["item"]["policies"][0].as_str().unwrap().contains("nobody-deletes-invoices"));
    let delegate =
        simulate(&["-r", "demo-api:invoice:read", "--verb", "delegate", "--delegate-to", "dev/maya"]).await;
    assert_eq!(delegate.code, 0, "{}{}", delegate.stdout, delegate.stderr);
    let plan = house.run(&["policy", "diff", "--live", &closed(&house), "-o", "name"]).await;
    assert_eq!(simulate(&["-r", "demo-api:invoice:read", "--plan", plan.stdout.trim()]).await.code, 3);
    let nobody =
        house.run(&["policy", "simulate", "--agent", "no/body", "-r", "demo-api:invoice:read"]).await;
    assert!(nobody.code != 0 && nobody.stderr.contains("no/body"), "{}", nobody.stderr);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_decision_is_explained_replayed_and_made_possible() {
    let house = House::start().await;
    lease(&house).await;
    let denied =
        house.run(&["exec", "--task", "x", "-r", "demo-api:invoice:list", "-o", "json", "--", "true"]).await;
    assert_eq!(denied.code, 3, "{}", denied.stderr);
    let error: Value = serde_json::from_str(denied.stderr.lines().last().unwrap()).unwrap();
    let decision = error["ids"]["decision"].as_str().unwrap();

    let why = house.json(&["policy", "why", decision]).await;
    assert_eq!(why["item"]["then"]["allowed"], false);
    assert_eq!(why["item"]["now"]["allowed"], false);
    assert_eq!(why["item"]["suggestion"], "");
    let suggested = house.run(&["policy", "why", &decision[..12], "--suggest", "-o", "name"]).await;
    assert_eq!(suggested.code, 0, "{}", suggested.stderr);
    let people = house.run(&["policy", "why", decision, "--suggest"]).await;
    assert!(
        people.stdout.contains("then") && people.stdout.ends_with(&suggested.stdout),
        "{}",
        people.stdout
    );

    // What is suggested allows it, says the replay.
    let dir = copy(&house, "suggested");
    std::fs::write(format!("{dir}/suggestion.cedar"), &suggested.stdout).unwrap();
    let replay = house.run(&["policy", "replay", &dir, "--since", "1h"]).await;
    assert_eq!(replay.code, 10, "{}", replay.stderr);
    assert!(replay.stdout.contains("0 newly denied · 1 newly allowed"), "{}", replay.stdout);
    let closed = house.run(&["policy", "replay", &closed(&house), "-o", "json"]).await;
    let closed: Value = serde_json::from_str(&closed.stdout).unwrap();
    assert_eq!(
        (&closed["item"]["newlyDenied"], &closed["item"]["newlyAllowed"]),
        (&1.into(), &1.into()),
        "{closed}"
    );
    let same = house.run(&["policy", "replay"]).await;
    assert!(same.code == 0 && same.stdout.contains("0 newly denied · 0 newly allowed"), "{}", same.stdout);
    assert_eq!(house.run(&["policy", "why", "dc_zzzzzz"]).await.code, 5);
    house.stop().await;
}
