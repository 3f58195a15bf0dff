//! What is suggested for a denial, and that it helps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use common::{Ask, policies};
use taskpass_policy::{Policies, Suggestion, Verb};

fn suggest(ask: &Ask, policies: &Policies) -> Suggestion {
    ask.put(|request| policies.suggest(request))
}

fn permit(ask: &Ask, policies: &Policies) -> String {
    match suggest(ask, policies) {
        Suggestion::Permit(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_suggested_permit_allows_exactly_what_was_denied() {
    let empty = policies("");
    let ask = Ask::default();
    let text = permit(&ask, &empty);
    assert_eq!(
        text,
        r#"@id("dev-maya-may-issue-invoice-read-on-demo-api")
permit (
    principal == Agent::"dev/maya",
    action == Action::"issue",
    resource == Resource::"demo-api"
)
when { context.action == "invoice:read" };
"#
    );
    let extended = policies(&text);
    assert!(ask.of(&extended).allows());
    assert_eq!(extended.warnings(), []);
    for other in [
        Ask { agent: "dev/maya/helper", ..Ask::default() },
        Ask { verb: Verb::Renew, ..Ask::default() },
        Ask { resource: "demo-api/more", ..Ask::default() },
        Ask { action: "invoice:read:all", ..Ask::default() },
    ] {
        assert!(!other.of(&extended).allows(), "{other:?}");
    }
}

#[test]
fn nothing_is_suggested_for_what_is_allowed() {
    let open = policies("permit(principal, action, resource);");
    assert_eq!(suggest(&Ask::default(), &open), Suggestion::Nothing);
}

#[test]
fn no_permit_helps_against_a_forbid() {
    let set = policies(
        r#"@id("no-night") @description("nothing at night") forbid(principal in Group::"night", action, resource);
           forbid(principal, action, resource) when { context.bound };"#,
    );
    let Suggestion::Blocked { by, why } =
        suggest(&Ask { groups: &["night"], bound: true, ..Ask::default() }, &set)
    else {
        panic!("a permit cannot help");
    };
    let by: Vec<_> = by.iter().map(ToString::to_string).collect();
    assert_eq!(by, [r#"p.cedar:1 "no-night""#, "p.cedar:2"]);
    assert_eq!(
        why,
        r#"policy p.cedar:1 "no-night" forbids it: nothing at night; policy p.cedar:2 forbids it"#
    );
}

#[test]
fn no_permit_helps_against_a_policy_that_fails() {
    let set = policies(
        r#"@id("odd") permit(principal, action, resource) when { context.ttl_seconds * 9223372036854775807 > 0 };"#,
    );
    let suggestion = suggest(&Ask::default(), &set);
    let Suggestion::Blocked { by, .. } = &suggestion else { panic!("{suggestion:?}") };
    assert_eq!(by.len(), 1);
    let text = suggestion.to_string();
    assert!(text.starts_with(r#"no permit can help: policy p.cedar:1 "odd" cannot be evaluated"#), "{text}");
}

#[test]
fn a_suggestion_takes_no_name_that_is_in_use() {
    let taken = r#"@id("dev-maya-may-issue-invoice-read-on-demo-api") permit(principal, action, resource) when { context.bound };"#;
    let set = Policies::from_sources([("suggestion", taken), ("suggestion-2", "")]).unwrap();
    let text = permit(&Ask::default(), &set);
    assert!(text.starts_with(r#"@id("dev-maya-may-issue-invoice-read-on-demo-api-2")"#), "{text}");
}

#[test]
fn whatever_the_names_are_the_suggestion_is_one_policy() {
    let long = Box::leak("a/".repeat(99).into_boxed_str());
    for ask in [
        Ask { agent: Box::leak(format!("{long}b").into_boxed_str()), ..Ask::default() },
        Ask { action: "a:*", verb: Verb::CallTool, ..Ask::default() },
        Ask { agent: "when", action: "..a", resource: "permit", ..Ask::default() },
        Ask { verb: Verb::Delegate, delegate_to: Some("ci/bot"), ..Ask::default() },
    ] {
        let set = policies(&permit(&ask, &policies("")));
        assert_eq!(set.len(), 1, "{ask:?}");
        assert!(ask.of(&set).allows(), "{ask:?}");
    }
}
