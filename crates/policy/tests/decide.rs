//! What is decided, and what is said about it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use common::{Ask, policies};
use taskpass_policy::{Effect, Policies, Verb, annotations, demo::DEMO};
use taskpass_types::{Consequence, Counters, Obligations, Reason};

/// Overflows, so that it passes validation and fails whenever it is evaluated.
const FAILS: &str = "context.ttl_seconds * 9223372036854775807 > 0";

fn names(decision: &taskpass_policy::Decision) -> Vec<String> {
    decision.determining.iter().map(ToString::to_string).collect()
}

#[test]
fn the_demo_set_decides_as_its_comments_say() {
    let demo = Policies::from_sources(DEMO.iter().copied()).unwrap();
    assert_eq!(demo.warnings(), []);
    let base = Ask::default;
    for (ask, allowed, max_ttl_secs, named) in [
        (base(), true, Some(900), r#"agents.cedar:3 "dev-may-read-invoices""#),
        (Ask { verb: Verb::Renew, ..base() }, true, Some(900), r#"agents.cedar:3 "dev-may-read-invoices""#),
        (Ask { agent: "dev", ..base() }, false, None, ""),
        (Ask { agent: "ops/bot", groups: &["dev"], ..base() }, true, Some(900), "agents.cedar:3"),
        (Ask { agent: "ops/bot", ..base() }, false, None, ""),
        (Ask { resource: "billing-api", ..base() }, false, None, ""),
        (Ask { action: "invoice:write", ..base() }, false, None, ""),
        (Ask { action: "invoice:write", bound: true, ..base() }, true, Some(120), "agents.cedar:22"),
        (
            Ask { action: "invoice:delete", ..base() },
            false,
            None,
            r#"guardrails.cedar:3 "nobody-deletes-invoices""#,
        ),
        (Ask { attested_secs_ago: 3601, ..base() }, false, None, r#""attested-within-the-hour""#),
        (Ask { verb: Verb::Delegate, depth: 1, ..base() }, true, None, r#""dev-may-delegate-reading""#),
        (Ask { verb: Verb::Delegate, depth: 2, ..base() }, false, None, ""),
    ] {
        let decision = ask.of(&demo);
        assert_eq!(decision.allows(), allowed, "{ask:?}: {decision:?}");
        assert_eq!(decision.obligations.max_ttl.map(|ttl| ttl.as_secs()), max_ttl_secs, "{ask:?}");
        assert!(names(&decision).join(", ").contains(named), "{ask:?}: {:?}", decision.determining);
        assert_eq!(decision.determining.is_empty(), named.is_empty(), "{ask:?}");
        assert_eq!(decision.refusal().is_none(), allowed, "{ask:?}");
        assert_eq!(&decision.revision, demo.revision());
    }
}

#[test]
fn no_policies_deny_everything() {
    let empty = Policies::from_sources::<String, String>([]).unwrap();
    assert!(empty.is_empty());
    for verb in Verb::ALL {
        let decision = Ask { verb, ..Ask::default() }.of(&empty);
        assert_eq!(decision.effect, Effect::Deny);
        assert!(decision.determining.is_empty());
    }
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies() {
    for (text, culprit) in [
        (
            format!(
                "permit(principal, action, resource);\nforbid(principal, action, resource) when {{ {FAILS} }};"
            ),
            "p.cedar:2",
        ),
        (
            format!(
                "permit(principal, action, resource);\n@id(\"bad\") permit(principal, action, resource) when {{ {FAILS} }};"
            ),
            "p.cedar:2 \"bad\"",
        ),
        (format!("\n\npermit(principal, action, resource) when {{ {FAILS} }};"), "p.cedar:3"),
    ] {
        let decision = Ask::default().of(&policies(&text));
        assert_eq!(decision.effect, Effect::Deny, "{text}");
        assert_eq!(names(&decision), [culprit], "{text}");
        assert_eq!(decision.obligations.max_ttl, None);
        let why = &decision.explanation.why;
        assert!(why.starts_with(&format!("policy {culprit} cannot be evaluated: integer overflow")), "{why}");
    }
}

#[test]
fn a_failing_policy_and_a_forbid_are_both_named() {
    let text = format!(
        "forbid(principal, action, resource);\nforbid(principal, action, resource) when {{ {FAILS} }};"
    );
    let decision = Ask::default().of(&policies(&text));
    assert_eq!(names(&decision), ["p.cedar:1", "p.cedar:2"]);
    assert!(
        decision.explanation.why.ends_with("policy p.cedar:1 forbids it"),
        "{}",
        decision.explanation.why
    );
}

#[test]
fn a_policy_that_fails_elsewhere_does_not_deny_here() {
    let text = format!(
        "permit(principal, action, resource);
         forbid(principal, action, resource == Resource::\"other\") when {{ {FAILS} }};"
    );
    assert!(Ask::default().of(&policies(&text)).allows());
}

#[test]
fn the_strictest_obligation_of_every_permit_that_applied_wins() {
    let set = policies(
        r#"@max_ttl("2h") permit(principal, action, resource);
           permit(principal, action, resource);
           @max_ttl("5m") permit(principal, action, resource) when { context.bound };
           @max_ttl("1s") permit(principal, action, resource) when { context.kind == "x509" };"#,
    );
    for (bound, expected) in [(false, 7200), (true, 300)] {
        let decision = Ask { bound, ..Ask::default() }.of(&set);
        assert_eq!(decision.obligations.max_ttl.unwrap().as_secs(), expected, "bound: {bound}");
    }
}

#[test]
fn every_obligation_is_collected_and_the_strictest_of_each_wins() {
    let set = policies(
        r#"@approval("2 of finance-leads") @max_credentials("9") @recheck("5m")
           permit(principal, action, resource);
           @approval("finance-leads, 1 of security") @bound("required") @max_calls("30 per minute") @recheck("1m")
           permit(principal, action, resource);
           @revocability("bounded") @max_uses("3") @outside_scope("report") @max_credentials("4")
           permit(principal, action, resource);
           @revocability("immediate") @outside_scope("kill") permit(principal, action, resource) when { context.bound };"#,
    );
    let obligations = |bound| {
        let decision = Ask { bound, ..Ask::default() }.of(&set);
        assert!(decision.allows());
        annotations(&decision.obligations).map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    let common = [
        "approval: 2 of finance-leads, 1 of security",
        "bound: required",
        "max_calls: 30 per minute",
        "max_credentials: 4",
        "max_uses: 3",
    ];
    assert_eq!(
        obligations(false),
        [common.as_slice(), &["outside_scope: report", "recheck: 1m", "revocability: bounded"]].concat()
    );
    assert_eq!(
        obligations(true),
        [common.as_slice(), &["outside_scope: kill", "recheck: 1m", "revocability: immediate"]].concat()
    );
}

#[test]
fn a_denial_carries_what_the_forbids_that_applied_say() {
    let set = policies(&format!(
        r#"@outside_scope("kill") @max_ttl("1m") permit(principal, action, resource);
           @outside_scope("report") forbid(principal, action, resource) when {{ context.action == "a" }};
           @outside_scope("hold") forbid(principal, action, resource) when {{ ["a", "b"].contains(context.action) }};
           @outside_scope("kill") forbid(principal, action, resource) when {{ context.action == "c" && {FAILS} }};"#
    ));
    for (action, allowed, consequence) in [
        ("d", true, Some(Consequence::Kill)),
        ("a", false, Some(Consequence::Hold)),
        ("b", false, Some(Consequence::Hold)),
        // What cannot be evaluated denies, and leads to nothing.
        ("c", false, None),
    ] {
        let decision = Ask { action, ..Ask::default() }.of(&set);
        assert_eq!(decision.allows(), allowed, "{action}");
        assert_eq!(decision.obligations.outside_scope, consequence, "{action}");
        assert_eq!(decision.obligations.max_ttl.is_some(), allowed, "a denial is tied to nothing: {action}");
    }
    let none = Ask::default().of(&policies(
        r#"@outside_scope("kill") permit(principal, action, resource) when { context.bound };"#,
    ));
    assert_eq!(none.obligations, Obligations::default(), "only what applied counts");
}

#[test]
fn conditions_see_every_attribute() {
    for condition in [
        r#"principal.owner == User::"maya@acme.test""#,
        r#"principal.owner in Group::"finance""#,
        r#"principal.owner is User in Group::"finance""#,
        r#"principal.owner.labels.contains("team=fin")"#,
        r#"principal.labels.contains("team=fin")"#,
        r#"principal.attested.contains("unix:uid:1000")"#,
        r#"principal in Group::"night""#,
        r#"resource in Resource::"s3""#,
        r#"resource.labels.contains("team=fin")"#,
        r#"resource has environment && resource.environment == "prod""#,
        r#"resource has sensitivity && resource.sensitivity == "high""#,
        r#"context.action like "invoice:*""#,
        r#"context.attestation_age_seconds == 5"#,
        r#"!context.bound"#,
        r#"context.counters.credentials == 3"#,
        r#"context.counters.live == 2"#,
        r#"context.counters.tool_calls == 40"#,
        r#"context has delegate_to && context.delegate_to == Agent::"dev/noor""#,
        r#"context has delegate_to && context.delegate_to in Group::"dev""#,
        r#"context has delegate_to && context.delegate_to in Group::"night""#,
        r#"context has delegate_to && context.delegate_to.labels.contains("team=fin")"#,
        r#"context has delegate_to && context.delegate_to.attested.isEmpty()"#,
        r#"context has delegate_to && context.delegate_to.owner == User::"noor@acme.test""#,
        r#"context has delegate_to && context.delegate_to.owner in Group::"leads""#,
        r#"context has delegate_to && context.delegate_to.owner.labels.contains("team=fin")"#,
        r#"context has delegate_to && context.delegate_to.owner != principal.owner"#,
        r#"(if context.bound then principal.owner else context.task.initiator) in Group::"support""#,
        r#"context.kind == "jwt""#,
        r#"context.now.hour >= 18 && context.now.hour < 19"#,
        r#"context.now.minute == 45"#,
        r#"context.now.unix_seconds == 1733251509"#,
        r#"context.now.weekday == "tuesday""#,
        r#"!["saturday", "sunday"].contains(context.now.weekday)"#,
        r#"context.revocability == "bounded""#,
        r#"context has tool && context.tool like "refund.*""#,
        r#"context.ttl_seconds == 600"#,
        r#"context.task.depth == 3"#,
        r#"context.task.initiator == User::"orchestrator/scheduler""#,
        r#"context.task.initiator in Group::"support""#,
        r#"context.task.initiator.labels.contains("team=fin")"#,
        r#"context.task.initiator != principal.owner"#,
        r#"context.task.kind == "close-books""#,
        r#"context.task.labels.contains("month=month")"#,
        r#"context.task.purpose like "*November*""#,
        r#"context.task has sensitivity && context.task.sensitivity == "high""#,
        r#"context has task.sensitivity && context.task.sensitivity == "high""#,
    ] {
        let ask = Ask {
            groups: &["night"],
            owner_groups: &["finance"],
            resource: "s3/reports",
            sensitivity: Some("high"),
            depth: 3,
            initiator_groups: &["support"],
            counters: Counters { credentials: 3, live: 2, tool_calls: 40 },
            tool: Some("refund.create"),
            delegate_to: Some("dev/noor"),
            delegate_owner_groups: &["leads"],
            ..Ask::default()
        };
        let set = policies(&format!("permit(principal, action, resource) when {{ {condition} }};"));
        assert!(ask.of(&set).allows(), "{condition}: {:?}", ask.of(&set));
        let set = policies(&format!("permit(principal, action, resource) unless {{ {condition} }};"));
        assert!(!ask.of(&set).allows(), "{condition}");
    }
}

#[test]
fn what_is_not_there_is_not_there() {
    for condition in [
        "context has tool",
        "context has delegate_to",
        "context.task has sensitivity",
        "resource has sensitivity",
        r#"principal.owner in Group::"finance""#,
        r#"context.task.initiator in Group::"support""#,
        r#"context.task.initiator in Group::"orchestrator""#,
    ] {
        let set = policies(&format!("permit(principal, action, resource) when {{ {condition} }};"));
        assert!(!Ask::default().of(&set).allows(), "{condition}");
    }
}

#[test]
fn one_person_in_two_roles_is_one_person() {
    let set = policies(
        r#"permit(principal, action, resource)
           when { context.task.initiator == principal.owner && principal.owner in Group::"finance" };"#,
    );
    let maya = Ask {
        initiator: "maya@acme.test",
        owner_groups: &["finance"],
        initiator_groups: &["finance"],
        ..Ask::default()
    };
    assert!(maya.of(&set).allows());

    let contradiction = Ask { initiator_groups: &["support"], ..maya }.of(&set);
    assert!(!contradiction.allows());
    let why = &contradiction.explanation.why;
    assert!(why.starts_with("the request cannot be evaluated: ") && why.contains("maya@acme.test"), "{why}");
}

#[test]
fn an_agent_that_delegates_to_itself_is_known_by_its_attestation() {
    let set = policies(
        r#"permit(principal, action, resource)
           when { context has delegate_to && context.delegate_to.attested.contains("unix:uid:1000") };"#,
    );
    let ask = |delegate_to| Ask { verb: Verb::Delegate, delegate_to, ..Ask::default() };
    assert!(ask(Some("dev/maya")).of(&set).allows());
    assert!(!ask(Some("dev/noor")).of(&set).allows());
}

#[test]
fn a_denial_says_what_denied_and_what_to_do() {
    let set = policies(
        r#"@id("reader")
           permit(principal == Agent::"dev/maya", action == Action::"issue", resource == Resource::"demo-api")
           when { context.action == "invoice:read" };
           @id("no-night") @description("nothing at night")
           forbid(principal in Group::"night", action, resource);"#,
    );
    let base = Ask::default;
    for (ask, why, fix) in [
        (
            Ask { groups: &["night"], ..base() },
            r#"policy p.cedar:4 "no-night" forbids it: nothing at night"#,
            "have an operator change the policy that forbids it",
        ),
        (
            Ask { verb: Verb::Renew, ..base() },
            r#"policy p.cedar:1 "reader" only permits to be issued"#,
            "add a policy",
        ),
        (
            Ask { resource: "pay-api", ..base() },
            r#"no policy permits `dev/maya` to be issued `invoice:read` on `pay-api`; policy p.cedar:1 "reader" permits it on `demo-api`"#,
            "ask for a resource that a policy permits",
        ),
        (
            Ask { action: "invoice:write", ..base() },
            r#"policy p.cedar:1 "reader""#,
            "ask for what the conditions allow",
        ),
        (
            Ask { agent: "dev/noor", ..base() },
            "no policy names this agent",
            "add a policy that permits `dev/noor`",
        ),
    ] {
        let decision = ask.of(&set);
        assert!(decision.explanation.why.contains(why), "{ask:?}: {}", decision.explanation.why);
        assert!(decision.explanation.fix.contains(fix), "{ask:?}: {}", decision.explanation.fix);
        let refusal = decision.refusal().unwrap();
        assert_eq!(
            (refusal.reason(), refusal.message()),
            (Reason::PolicyDenied, decision.explanation.why.as_str())
        );
        assert_eq!(refusal.fix_text(), Some(decision.explanation.fix.as_str()));
    }
}

#[test]
fn explanations_are_bounded() {
    let text: String = (0..5000).map(|_| "forbid(principal, action, resource);\n").collect();
    let why = Ask::default().of(&policies(&text)).explanation.why;
    assert!(why.ends_with("and 4997 more") && why.len() < 200, "{why}");
}

#[test]
fn equal_questions_get_equal_answers() {
    let text: String = (0..50)
        .map(|i| {
            format!(
                "@id(\"p{i}\") permit(principal in Group::\"dev\", action, resource == Resource::\"r{i}\");\n"
            )
        })
        .collect();
    let ask = Ask { resource: "elsewhere", ..Ask::default() };
    let first = ask.of(&policies(&text));
    for _ in 0..5 {
        assert_eq!(ask.of(&policies(&text)), first);
    }
}
