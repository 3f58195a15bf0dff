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
use taskpass_policy::{Effect, Policies, Verb, demo::DEMO};
use taskpass_types::Reason;

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
fn conditions_see_every_attribute() {
    for condition in [
        r#"principal.owner == "maya@acme.test""#,
        r#"principal.labels.contains("team=fin")"#,
        r#"principal.attested.contains("unix:uid:1000")"#,
        r#"principal in Group::"night""#,
        r#"resource in Resource::"s3""#,
        r#"resource.labels.contains("team=fin")"#,
        r#"resource has environment && resource.environment == "prod""#,
        r#"!(resource has sensitivity)"#,
        r#"context.action like "invoice:*""#,
        r#"context.attestation_age_seconds == 5"#,
        r#"!context.bound"#,
        r#"context.kind == "jwt""#,
        r#"context.revocability == "bounded""#,
        r#"context.ttl_seconds == 600"#,
        r#"context.task.depth == 3"#,
        r#"context.task.initiator == "maya@acme.test""#,
        r#"context.task.kind == "close-books""#,
        r#"context.task.labels.contains("team=fin")"#,
        r#"context.task.purpose like "*November*""#,
    ] {
        let ask = Ask { groups: &["night"], resource: "s3/reports", depth: 3, ..Ask::default() };
        let set = policies(&format!("permit(principal, action, resource) when {{ {condition} }};"));
        assert!(ask.of(&set).allows(), "{condition}: {:?}", ask.of(&set));
        let set = policies(&format!("permit(principal, action, resource) unless {{ {condition} }};"));
        assert!(!ask.of(&set).allows(), "{condition}");
    }
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
