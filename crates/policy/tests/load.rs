//! What is refused when policies are loaded, and where the author is sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use common::{Ask, policies};
use std::fs;
use taskpass_policy::{
    MAX_BYTES, MAX_FILES, MAX_POLICIES, Policies, PolicyError, Report, RuleEffect, annotations,
};

const OPEN: &str = "permit(principal, action, resource);\n";

fn error(text: &str) -> PolicyError {
    match Policies::from_sources([("ok.cedar", OPEN), ("p.cedar", text)]) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error,
    }
}

#[test]
fn a_wrong_policy_refuses_the_set_and_names_the_place() {
    for (text, message) in [
        ("permit(principal, action, resource)", "p.cedar:1:36: unexpected end of input"),
        ("\n  permit(principal action, resource);", "p.cedar:2:20: unexpected token `action`"),
        (
            "permit(principal, action, resource) when { context.ttl_seconds > \"600\" };",
            "p.cedar:1:66: unexpected type",
        ),
        (
            "permit(principal, action, resource)\nwhen { context.amount > 5 };",
            "p.cedar:2:8: attribute `amount`",
        ),
        (
            "permit(principal, action, resource)\nwhen { resource.environment == \"prod\" };",
            "p.cedar:2:8: unable to guarantee safety",
        ),
        (
            "permit(principal == Person::\"maya\", action, resource);",
            "p.cedar:1:21: unrecognized entity type `Person`",
        ),
        (
            "permit(principal, action == Action::\"isue\", resource);",
            "p.cedar:1:29: unrecognized action `Action::\"isue\"`",
        ),
        (
            "permit(principal, action, resource)\nwhen { principal.owner == Agent::\"dev/noor\".owner };",
            "entity literals cannot be dereferenced",
        ),
        (
            "permit(principal, action, resource)\nwhen { User::\"maya\" in Group::\"finance\" };",
            "entity literals cannot be dereferenced",
        ),
        ("permit(principal, action, resource)\nwhen { principal.owner == \"maya\" };", "p.cedar:2:"),
        (
            "permit(principal, action, resource)\nwhen { (if context.bound then principal else principal.owner) in Group::\"a\" };",
            "p.cedar:2:9: the types Agent and User are not compatible",
        ),
        (
            "permit(principal, action, resource)\nwhen { context.tool == \"refund.create\" };",
            "p.cedar:2:8: unable to guarantee safety",
        ),
        (
            "permit(principal, action, resource)\nwhen { context.delegate_to in Group::\"a\" };",
            "p.cedar:2:8: unable to guarantee safety",
        ),
        ("permit(principal, action, resource)\nwhen { context.now.hour == \"9\" };", "p.cedar:2:"),
        (
            "permit(principal, action, resource)\nwhen { context.counters.spend > 5 };",
            "attribute `counters.spend` in context not found",
        ),
        (
            "permit(principal == ?principal, action, resource);",
            "p.cedar:1:1: policy templates are not supported",
        ),
        (
            "\n@max_tll(\"15m\")\npermit(principal, action, resource);",
            "p.cedar:2:1: unknown annotation `@max_tll` (help: did you mean `@max_ttl`?)",
        ),
        (
            "@max_ttl(\"15 min\")\npermit(principal, action, resource);",
            "`@max_ttl(\"15 min\")` is not a time to live",
        ),
        (
            "@max_ttl(\"15m\")\nforbid(principal, action, resource);",
            "`@max_ttl` on a `forbid` limits nothing",
        ),
        (
            "@approval(\"0 of finance-leads\")\npermit(principal, action, resource);",
            "`@approval(\"0 of finance-leads\")` is not a list of who has to approve",
        ),
        ("@bound\npermit(principal, action, resource);", "`@bound(\"\")` is not `required`"),
        ("@recheck(\"5s\")\npermit(principal, action, resource);", "`@recheck(\"5s\")` is not an interval"),
        ("@max_uses(\"99999999999999999999\")\npermit(principal, action, resource);", "is not a budget"),
        (
            "@approval(\"a\")\nforbid(principal, action, resource);",
            "`@approval` on a `forbid` limits nothing",
        ),
        (
            "@max_ttl(\"1m\") @max_ttl(\"2m\")\npermit(principal, action, resource);",
            "p.cedar:1:16: duplicate annotation",
        ),
        ("@id\npermit(principal, action, resource);", "`@id(\"\")` is empty"),
        ("permit(principal, action, resource) when { undefined(1) };", "p.cedar:1:"),
        ("\u{0}", "p.cedar:1:"),
    ] {
        let error = error(text).to_string();
        assert!(error.contains(message), "{text}\ngave: {error}");
        assert!(!error.contains("for policy `"), "our numbers mean nothing to an author: {error}");
    }
}

#[test]
fn several_problems_are_listed_in_order_with_help() {
    let error = error(
        "@x permit(principal, action, resource);
         permit(principal, action, resource) when { context.bond };
         permit(principal, action, resource) when { context.task.knd == \"a\" };",
    );
    let lines: Vec<usize> = error.problems().iter().filter_map(|p| p.position.map(|at| at.line)).collect();
    assert_eq!(lines, [1, 2, 3], "{error}");
    assert!(error.problems().iter().all(|p| p.help.is_some()), "{error}");
    assert!(error.to_string().contains("did you mean"), "{error}");
}

#[test]
fn an_id_names_one_policy_in_all_files() {
    let one = "@id(\"a\") permit(principal, action, resource);";
    let error = Policies::from_sources([("a.cedar", one), ("b.cedar", &format!("\n{one}"))]).unwrap_err();
    assert!(
        error.to_string().starts_with("b.cedar:2:1: `@id(\"a\")` is already the name of a.cedar:1"),
        "{error}"
    );
}

#[test]
fn a_commented_out_twin_does_not_move_a_policy() {
    let set = policies(&format!("// {OPEN}\n{OPEN}"));
    let names: Vec<String> = set.iter().map(|summary| summary.name.to_string()).collect();
    assert_eq!(names, ["p.cedar:3"]);
}

#[test]
fn what_nests_without_limit_is_refused_before_it_can_exhaust_the_stack() {
    const DEEP: usize = 200_000;
    for (open, middle, close) in [
        ("(", "true", ")"),
        ("[", "true", "]"),
        ("{a: ", "true", "}"),
        ("if context.bound then true else ", "true", ""),
        ("if ", "true", " then true else true"),
        ("true && ", "true", ""),
        ("context.bound || ", "true", ""),
        ("1 + ", "1 == 2", ""),
        ("", "context", ".task"),
    ] {
        let nested = format!("{}{middle}{}", open.repeat(DEEP), close.repeat(DEEP));
        let error = error(&format!("permit(principal, action, resource) when {{ {nested} }};")).to_string();
        assert!(
            error.contains("nested more than 64 deep") || error.contains("more than 400 operators"),
            "{error}"
        );
    }
}

#[test]
fn the_deepest_text_that_is_read_is_still_validated() {
    for (open, middle, close) in [
        ("(", "context.amount > 5", ")"),
        ("if context.bound then true else ", "context.amount > 5", ""),
        ("true && ", "context.amount > 5", ""),
        ("context.bound && ", "context.amount > 5", ""),
        ("", "context.amount", ".amount"),
    ] {
        for (levels, deep_enough) in [(20, false), (60, true), (195, true), (395, true)] {
            let nested = format!("{}{middle}{}", open.repeat(levels), close.repeat(levels));
            let error =
                error(&format!("permit(principal, action, resource) when {{ {nested} }};")).to_string();
            assert!(
                error.contains("`amount`") || (deep_enough && error.contains("more than")),
                "{levels}: {error}"
            );
        }
    }
}

#[test]
fn the_deepest_text_loads_and_decides_whatever_the_callers_stack() {
    let condition = "context.bound && ".repeat(190) + "context.bound";
    let text = format!("permit(principal, action, resource) when {{ {condition} }};");
    let loading = std::thread::Builder::new().stack_size(256 << 10).spawn(move || policies(&text)).unwrap();
    let set = loading.join().unwrap();
    assert!(Ask { bound: true, ..Ask::default() }.of(&set).allows());
    assert!(!Ask::default().of(&set).allows());
}

#[test]
fn a_directory_is_read_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in
        [("b.cedar", OPEN), ("a.cedar", OPEN), ("notes.txt", "no policy"), (".#a.cedar", "no policy")]
    {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/c.cedar"), "no policy").unwrap();

    let set = Policies::load_dir(dir.path()).unwrap();
    let names: Vec<String> = set.iter().map(|summary| summary.name.to_string()).collect();
    assert_eq!(names, ["a.cedar:1", "b.cedar:1"]);
    assert!(set.iter().all(|summary| summary.effect == RuleEffect::Permit));
    let same = Policies::from_sources([("b.cedar", OPEN), ("a.cedar", OPEN)]).unwrap();
    assert_eq!(same.revision(), set.revision(), "order and place of the files do not matter");

    fs::write(dir.path().join("z.cedar"), [0xff, 0xfe]).unwrap();
    let error = Policies::load_dir(dir.path()).unwrap_err();
    assert!(error.to_string().starts_with("z.cedar: cannot be read: "), "{error}");

    fs::remove_file(dir.path().join("z.cedar")).unwrap();
    fs::create_dir(dir.path().join("z.cedar")).unwrap();
    let error = Policies::load_dir(dir.path()).unwrap_err();
    assert_eq!(error.to_string(), "z.cedar: cannot be read: it is not a regular file");

    let gone = dir.path().join("gone");
    let error = Policies::load_dir(&gone).unwrap_err();
    assert!(error.to_string().contains("gone: cannot be read: "), "{error}");
}

#[test]
fn a_set_is_bounded() {
    let long = format!("// {}\n", "x".repeat(MAX_BYTES / 2));
    let files = [("a.cedar", &long), ("b.cedar", &long)];
    let error = Policies::from_sources(files.map(|(name, text)| (name, text.as_str()))).unwrap_err();
    assert!(
        error.to_string().starts_with("b.cedar: with this file there are more than 8388608 bytes"),
        "{error}"
    );

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.cedar"), "x".repeat(MAX_BYTES + 1)).unwrap();
    assert!(Policies::load_dir(dir.path()).unwrap_err().to_string().contains("more than 8388608 bytes"));

    let many = (0..=MAX_FILES).map(|i| (format!("{i}.cedar"), ""));
    assert!(Policies::from_sources(many).unwrap_err().to_string().contains("more than 1000 files"));
    let twice = Policies::from_sources([("a.cedar", ""), ("a.cedar", "")]).unwrap_err();
    assert!(twice.to_string().contains("a.cedar: comes twice"), "{twice}");
    let odd = Policies::from_sources([("a\u{1b}[2J.cedar", "")]).unwrap_err().to_string();
    assert!(odd.contains("control characters") && !odd.contains('\u{1b}'), "{odd}");
}

#[test]
fn the_number_of_policies_is_bounded() {
    let error = Policies::from_sources([("a.cedar", OPEN.repeat(MAX_POLICIES + 1))]).unwrap_err();
    assert!(error.to_string().contains("more than 20000 policies"), "{error}");
}

#[test]
fn the_revision_is_the_text() {
    let revision =
        |files: &[(&str, &str)]| Policies::from_sources(files.iter().copied()).unwrap().revision().clone();
    let one = revision(&[("a.cedar", OPEN)]);
    assert_eq!(one.as_str().len(), 12);
    assert!(one.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(one, revision(&[("a.cedar", OPEN)]));
    for other in [
        vec![("b.cedar", OPEN)],
        vec![("a.cedar", "permit(principal, action, resource); ")],
        vec![("a.cedar", OPEN), ("b.cedar", "")],
        vec![],
    ] {
        assert_ne!(one, revision(&other), "{other:?}");
    }
}

#[test]
fn a_set_gives_back_what_it_was_made_of() {
    let set = Policies::from_sources([("b.cedar", OPEN), ("a.cedar", "// nothing\n")]).unwrap();
    let sources: Vec<_> = set.sources().collect();
    assert_eq!(sources, [("a.cedar", "// nothing\n"), ("b.cedar", OPEN)]);
    let again = Policies::from_sources(sources).unwrap();
    assert_eq!(again.revision(), set.revision());
    assert_eq!(again.len(), set.len());
}

#[test]
fn a_summary_has_the_obligations() {
    let set = policies("@approval(\"2 of leads\") @max_ttl(\"90s\") permit(principal, action, resource);");
    let obligations = set.iter().next().unwrap().obligations;
    let shown: Vec<_> = annotations(obligations).collect();
    assert_eq!(shown, [("approval", "2 of leads".to_owned()), ("max_ttl", "90s".to_owned())]);
}

#[test]
fn a_report_says_what_would_take_effect() {
    let set =
        policies(&format!("{OPEN}@id(\"never\")\nforbid(principal, action, resource) when {{ false }};"));
    let revision = set.revision().clone();
    let report = Report::of(Ok(set));
    assert!(report.is_ok());
    let text = report.to_string();
    assert!(
        text.starts_with(&format!(
            "ok    1 file, 2 policies, revision {revision}\nwarn  p.cedar:2:1: policy is impossible"
        )),
        "{text}"
    );

    let report = Report::of_dir(std::path::Path::new("no/such/directory"));
    assert!(!report.is_ok());
    assert!(report.to_string().starts_with("error no/such/directory: cannot be read"), "{report}");
}

#[test]
fn a_set_with_one_wrong_file_grants_nothing_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.cedar"), OPEN).unwrap();
    assert!(Ask::default().of(&Policies::load_dir(dir.path()).unwrap()).allows());
    fs::write(dir.path().join("b.cedar"), "forbid(principal, action, resource").unwrap();
    assert!(Policies::load_dir(dir.path()).is_err());
}
