//! Each rule on a house that keeps it and on one that breaks it.

use super::*;
use crate::arch::workspace::{SourceFile, parse};
use serde_json::{Value, json};

fn ours(name: &str) -> Value {
    json!({ "name": name, "kind": null, "path": format!("/house/{name}") })
}
fn foreign(name: &str) -> Value {
    json!({ "name": name, "kind": null })
}
fn for_tests(mut edge: Value) -> Value {
    edge["kind"] = json!("dev");
    edge
}

/// A package in its proper folder that keeps every rule but those that `edges` break.
fn package(name: &str, edges: &[Value]) -> Package {
    let folder = name.strip_prefix("taskpass-").unwrap_or(name);
    let metadata = json!({
        "workspace_root": "/house",
        "packages": [{
            "name": name,
            "manifest_path": format!("/house/crates/{folder}/Cargo.toml"),
            "dependencies": edges,
        }],
    });
    let mut package = parse(&metadata).unwrap().packages.remove(0);
    package.inherits_lints = true;
    package
}

fn findings(package: Package) -> Vec<String> {
    check(&Workspace { root: Default::default(), packages: vec![package] })
}

#[track_caller]
fn keeps(name: &str, edges: &[Value]) {
    assert_eq!(findings(package(name, edges)), Vec::<String>::new());
}

#[track_caller]
fn breaks(name: &str, edges: &[Value], rule: &str) {
    let findings = findings(package(name, edges));
    assert!(findings.iter().any(|finding| finding.contains(rule)), "{rule:?} is not in {findings:?}");
}

#[test]
fn arrows_point_to_lower_floors() {
    keeps("taskpass-store", &[ours("taskpass-types"), ours("taskpass-lease")]);
    keeps("taskpass-cli", &[ours("taskpass-api"), ours("taskpass-store-redb"), ours("taskpass-verify")]);
    breaks("taskpass-types", &[ours("taskpass-lease")], "lower floors only");
    breaks("taskpass-store", &[ours("taskpass-audit")], "lower floors only");
    breaks("taskpass-broker", &[ours("taskpass-api")], "lower floors only");
    keeps("taskpass-store", &[for_tests(ours("taskpass-store-redb"))]);
}

#[test]
fn the_broker_sees_ports_only() {
    keeps("taskpass-broker", &[ours("taskpass-store"), ours("taskpass-issue")]);
    for adapter in ["taskpass-store-redb", "taskpass-net", "taskpass-proto"] {
        breaks("taskpass-broker", &[ours(adapter)], "may use only");
    }
}

#[test]
fn what_others_link_stays_small() {
    keeps("taskpass-verify", &[ours("taskpass-types"), ours("taskpass-crypto"), ours("taskpass-proto")]);
    breaks("taskpass-verify", &[ours("taskpass-lease")], "may use only");
    breaks("taskpass-client", &[ours("taskpass-crypto")], "may use only types, proto");
    breaks("xtask", &[ours("taskpass-types")], "nothing of ours");
}

#[test]
fn no_adapter_knows_another() {
    keeps("taskpass-net", &[ours("taskpass-attest")]);
    breaks("taskpass-net", &[ours("taskpass-store-redb")], "no adapter knows another");
}

#[test]
fn decisions_know_neither_wire_nor_database() {
    for name in ["taskpass-types", "taskpass-lease", "taskpass-policy", "taskpass-broker"] {
        for banned in ["tonic", "tonic-types", "redis", "rustls", "rustls-pki-types"] {
            breaks(name, &[foreign(banned)], "behind a port");
        }
        keeps(name, &[foreign("serde"), foreign("redistribute"), for_tests(foreign("tonic"))]);
    }
    keeps("taskpass-net", &[foreign("rustls"), foreign("tonic")]);
}

#[test]
fn a_new_package_needs_a_room() {
    breaks("taskpass-attic", &[], "has no room");
}

#[test]
fn lints_come_from_the_workspace() {
    let mut package = package("taskpass-types", &[]);
    package.inherits_lints = false;
    assert_eq!(findings(package), ["crates/types/Cargo.toml: add `[lints]` with `workspace = true`"]);
}

#[test]
fn a_folder_is_called_like_its_package() {
    for (name, folder) in
        [("taskpass-types", "crates/words"), ("types", "crates/types"), ("taskpass-xtask", "crates/xtasks")]
    {
        let mut package = package(name, &[]);
        package.folder = folder.to_owned();
        assert!(!folders_are_named(ROOMS, &package).is_empty(), "{name} in {folder} was accepted");
    }
    let mut elsewhere = package("taskpass-e2e", &[]);
    elsewhere.folder = "tests".to_owned();
    assert_eq!(findings(elsewhere), Vec::<String>::new());
}

#[test]
fn a_long_file_needs_a_reason_and_a_reason_needs_a_long_file() {
    let mut package = package("taskpass-types", &[]);
    let file = |path: &str, lines| SourceFile { path: path.to_owned(), lines };
    package.files =
        vec![file("crates/types/src/short.rs", MAX_LINES), file("crates/types/src/long.rs", MAX_LINES + 1)];
    let workspace = Workspace { root: Default::default(), packages: vec![package] };
    let found = |allowed: &[(&str, &str)]| files_are_short(allowed, &workspace);
    assert!(found(&[])[0].starts_with("crates/types/src/long.rs: 501 lines"), "{:?}", found(&[]));
    assert!(found(&[("crates/types/src/long.rs", "a table")]).is_empty());
    assert_eq!(found(&[("crates/types/src/long.rs", " ")]).len(), 1, "a blank is no reason");
    assert_eq!(
        found(&[("crates/types/src/long.rs", "a table"), ("crates/types/src/short.rs", "x")]).len(),
        1
    );
}
