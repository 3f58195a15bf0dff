//! What the documentation shows is true: its policies load, its suites pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use taskpass_policy::{Policies, SCHEMA, Suite, annotations};
use taskpass_types::{Consequence, Obligations, Revocability, Ttl};

const HOW_TO: &str = include_str!("../../../docs/src/how-to/write-a-policy.md");
const TESTS: &str = include_str!("../../../docs/src/reference/policy-tests.md");

fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn shown() -> Policies {
    let shown = blocks(HOW_TO, "cedar");
    assert_eq!(shown.len(), 1);
    Policies::from_sources([("shown.cedar", shown[0])]).unwrap()
}

#[test]
fn what_is_shown_works() {
    let policies = shown();
    assert_eq!(policies.warnings(), []);
    let suites = [blocks(HOW_TO, "yaml"), blocks(TESTS, "yaml")].concat();
    assert_eq!(suites.len(), 2);
    for suite in suites {
        let report = Suite::from_sources([("shown.yaml", suite)]).unwrap().run(&policies);
        let failed: Vec<_> = report.failed().collect();
        assert!(!report.cases.is_empty() && failed.is_empty(), "{failed:#?}");
    }
}

#[test]
fn every_annotation_is_documented() {
    let all = Obligations {
        max_ttl: Ttl::from_secs(30).ok(),
        revocability: Some(Revocability::Bounded),
        bound: true,
        approvals: [("finance-leads".parse().unwrap(), 2), ("security".parse().unwrap(), 1)].into(),
        max_credentials: Some(5),
        max_calls_per_minute: Some(30),
        max_uses: Some(10),
        recheck: Ttl::from_secs(300).ok(),
        outside_scope: Some(Consequence::Hold),
    };
    assert_eq!(annotations(&all).count(), 9);
    for (name, value) in annotations(&all) {
        assert!(HOW_TO.contains(&format!("| `@{name}(\"{value}\")` |")), "@{name} is not in the table");
        assert!(SCHEMA.contains(&format!("//   @{name}(\"")), "@{name} is not in the schema");
    }
}

#[test]
fn every_attribute_is_documented() {
    let declared =
        SCHEMA.lines().map(str::trim).filter(|line| !line.starts_with("//") && line.ends_with(','));
    for line in declared.filter(|line| !line.contains('[')) {
        let name = line.split([':', '?']).next().unwrap();
        if ["context", "counters", "now", "task"].contains(&name) {
            continue;
        }
        let known = [format!("`{name}`"), format!(".{name}`")];
        assert!(known.iter().any(|name| HOW_TO.contains(name)), "`{name}` is not documented");
    }
}
