//! What a suite can ask and tell.

mod bad_input;
mod xml;

use super::*;
use crate::problem::Problem;

const POLICIES: &str = r#"@id("read") @max_ttl("5m") @approval("2 of leads")
permit (principal in Group::"dev", action, resource == Resource::"api")
when { context.action == "invoice:read" && context.task.initiator in Group::"staff" };
@id("no-night") @description("nothing at night") @outside_scope("hold")
forbid (principal, action, resource) when { context.now.hour < 6 };
@id("untested")
permit (principal, action, resource) when { context.action == "other" };
"#;

fn policies() -> Policies {
    Policies::from_sources([("p.cedar", POLICIES)]).unwrap()
}

fn suite(text: &str) -> Suite {
    Suite::from_sources([("t.yaml", text)]).unwrap()
}

/// The cases with their places, and what is wrong with each.
fn run(text: &str) -> Vec<(usize, Vec<String>)> {
    suite(text).run(&policies()).cases.into_iter().map(|case| (case.line, case.wrong)).collect()
}

fn problems(text: &str) -> Vec<Problem> {
    match Suite::from_sources([("t.yaml", text)]) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.problems().to_vec(),
    }
}

const FACTS: &str = "
facts:
  agents: { dev/maya: { owner: maya@acme.test } }
  users: { maya@acme.test: { groups: [staff] }, guest: {} }
cases:
";

#[test]
fn a_suite_says_what_passed_and_what_is_untested() {
    let text = format!(
        "{FACTS}
  - name: staff read
    agent: dev/maya
    resource: api
    action: invoice:read
    expect:
      effect: allow
      by: read
      obligations: {{ max_ttl: 300s, approval: 2 of leads, max_uses: none, outside_scope: none }}
      message: permits it
  - name: not at night
    agent: dev/maya
    resource: api
    action: invoice:read
    at: 2026-01-05T05:59:59Z
    expect: {{ effect: deny, by: no-night, obligations: {{ outside_scope: hold }} }}
  - {{ name: guests do not, agent: dev/maya, resource: api, action: invoice:read, task: {{ initiator: guest }}, expect: deny }}
"
    );
    let policies = policies();
    let report = suite(&text).run(&policies);
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!(report.cases.iter().map(|case| case.line).collect::<Vec<_>>(), [7, 16, 22]);
    assert_eq!(
        report.uncovered.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [r#"p.cedar:6 "untested""#]
    );
    assert_eq!((report.covered(), report.policies), (2, 3));
    assert_eq!(&report.revision, policies.revision());
    let first = &report.cases[0];
    assert_eq!(
        first.expected,
        r#"allow by "read" with @approval("2 of leads"), @max_ttl("5m"), no @max_uses, no @outside_scope, because `permits it`"#
    );
    assert_eq!(first.got, r#"allow by p.cedar:1 "read" with @approval("2 of leads"), @max_ttl("5m")"#);
    assert_eq!(first.why, r#"policy p.cedar:1 "read" permits it"#);
}

#[test]
fn what_is_not_as_expected_is_told() {
    for (expect, wrong) in [
        ("deny", vec!["expected deny, got allow"]),
        ("{ effect: allow, by: untested }", vec!["policy \"untested\" is not among those that made it so"]),
        ("{ effect: allow, by: raed }", vec!["no policy has `@id(\"raed\")`"]),
        ("{ effect: allow, message: forbids }", vec!["the explanation does not contain `forbids`"]),
        ("{ effect: allow, obligations: { max_ttl: 10m } }", vec!["expected `@max_ttl` `10m`, got `5m`"]),
        ("{ effect: allow, obligations: { max_ttl: none } }", vec!["expected `@max_ttl` none, got `5m`"]),
        (
            "{ effect: allow, obligations: { bound: required } }",
            vec!["expected `@bound` `required`, got none"],
        ),
        (
            "{ effect: deny, by: no-night }",
            vec!["expected deny, got allow", "policy \"no-night\" is not among those that made it so"],
        ),
    ] {
        let text = format!(
            "{FACTS}  - {{ name: a, agent: dev/maya, resource: api, action: invoice:read, expect: {expect} }}\n"
        );
        let expected = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(run(&text), [(6, expected)], "{expect}");
    }
}

#[test]
fn a_case_can_ask_about_everything() {
    let everything = r#"
facts:
  agents:
    dev/maya: { owner: maya@acme.test, groups: [night], labels: { team: fin }, attested: ["unix:uid:1000"] }
    dev/noor: { owner: noor@acme.test }
  users: { maya@acme.test: { labels: { floor: 3 } }, noor@acme.test: { groups: [staff] } }
  resources: { s3/api: { environment: prod, sensitivity: high, labels: { a: b } } }
cases:
  - name: all of it
    agent: dev/maya
    verb: VERB
    resource: s3/api
    action: a:b
    kind: x509
    revocability: immediate
    ttl: 90s
    bound: true
    attestation_age: 2m
    counters: { credentials: 1, live: 2, tool_calls: 3 }
    at: 2026-01-06T07:08:09Z
    WITH
    task: { kind: close-books, purpose: why, initiator: noor@acme.test, depth: 2, labels: { c: d }, sensitivity: low }
    expect: allow
"#;
    let condition = r#"
        principal in Group::"night" && principal.owner.labels.contains("floor=3") &&
        principal.labels.contains("team=fin") && principal.attested.contains("unix:uid:1000") &&
        resource in Resource::"s3" && resource.labels.contains("a=b") && resource has environment &&
        resource.environment == "prod" && resource has sensitivity && resource.sensitivity == "high" &&
        context.action == "a:b" && context.kind == "x509" && context.revocability == "immediate" &&
        context.ttl_seconds == 90 && context.bound && context.attestation_age_seconds == 120 &&
        context.counters == {credentials: 1, live: 2, tool_calls: 3} &&
        context.now == {hour: 7, minute: 8, unix_seconds: 1767683289, weekday: "tuesday"} &&
        context.task.kind == "close-books" && context.task.purpose == "why" && context.task.depth == 2 &&
        context.task.initiator in Group::"staff" && context.task.labels.contains("c=d") &&
        context.task has sensitivity && context.task.sensitivity == "low""#;
    for (verb, with, also) in [
        ("issue", "", "!(context has tool) && !(context has delegate_to)"),
        ("renew", "", "!(context has tool)"),
        ("call_tool", "tool: refund.create", r#"context has tool && context.tool == "refund.create""#),
        (
            "delegate",
            "delegate_to: dev/noor",
            r#"context has delegate_to && context.delegate_to.owner in Group::"staff""#,
        ),
    ] {
        let policy = format!(
            "permit (principal, action == Action::\"{verb}\", resource) when {{ {condition} && {also} }};"
        );
        let policies = Policies::from_sources([("p.cedar", policy)]).unwrap();
        let report = suite(&everything.replace("VERB", verb).replace("WITH", with)).run(&policies);
        assert!(report.is_ok() && report.uncovered.is_empty(), "{verb}: {report:#?}");
    }
}

#[test]
fn what_a_case_leaves_out_has_a_plain_value() {
    let policy = r#"permit (principal == Agent::"a", action == Action::"issue", resource) when {
        principal.owner == User::"nobody" && context.task.initiator == principal.owner &&
        context.task.kind == "task" && context.task.purpose == "" && context.task.depth == 0 &&
        context.kind == "jwt" && context.revocability == "bounded" && !context.bound &&
        context.ttl_seconds == 300 && context.attestation_age_seconds == 0 &&
        context.counters == {credentials: 0, live: 0, tool_calls: 0} &&
        context.now == {hour: 12, minute: 0, unix_seconds: 1767614400, weekday: "monday"} };"#;
    let policies = Policies::from_sources([("p.cedar", policy)]).unwrap();
    let report =
        suite("cases: [{ name: a, agent: a, resource: r, action: x, expect: allow }]").run(&policies);
    assert!(report.is_ok(), "{report:#?}");
}

#[test]
fn files_are_read_by_name_and_reported_apart() {
    let case = "cases: [{ name: a, agent: a, resource: r, action: x, expect: deny }]";
    let suite =
        Suite::from_sources([("b.yaml", case), ("a.yaml", case), ("empty.yaml", "cases: []")]).unwrap();
    assert_eq!(suite.len(), 2);
    let files: Vec<_> = suite.run(&policies()).cases.into_iter().map(|case| case.file).collect();
    assert_eq!(files, ["a.yaml", "b.yaml"]);
}

#[test]
fn no_case_covers_nothing() {
    let suite = suite("facts: {}");
    assert!(suite.is_empty());
    let report = suite.run(&policies());
    assert!(report.is_ok());
    assert_eq!((report.covered(), report.uncovered.len()), (0, 3));
}
