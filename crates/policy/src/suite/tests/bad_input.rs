//! What a suite refuses, and where it sends its author.

use super::*;
use proptest::prelude::*;
use std::fs;

/// One case, with this in place of its agent's line.
fn case(lines: &str) -> String {
    format!("cases:\n  - name: a\n    {lines}\n    resource: api\n    action: x\n    expect: deny\n")
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (text, line, what) in [
        ("cases: [", Some(1), ""),
        ("cases:\n  - name: a\n   agent: b\n", Some(2), "missing field `agent`"),
        ("cases: 5", Some(1), "expected"),
        ("case: []", Some(1), "unknown field `case`"),
        ("facts: { agent: {} }", Some(1), "unknown field `agent`"),
        ("facts:\n  agents:\n    dev/maya: { groups: [Dev] }", Some(3), "`Dev` is not a valid group name"),
        ("facts:\n  agents:\n    Dev: {}", Some(3), "`Dev` is not a valid agent name"),
        (
            "facts:\n  users: { a: {} }\n  agents:\n    dev/maya:\n      owner: b\n",
            Some(5),
            "user `b` is not in `facts.users`",
        ),
        ("cases: []\ncases: []", Some(2), "duplicate"),
        ("cases: []\n---\ncases: []", Some(3), "only single YAML document expected"),
        (&case("agent: Dev"), Some(3), "`Dev` is not a valid agent name"),
        (&case("agnet: a"), Some(3), "unknown field `agnet`"),
        (&case("verb: isue\n    agent: a"), Some(3), "expected `issue`, `renew`, `delegate` or `call_tool`"),
        (&case("agent: a\n    ttl: 0s"), Some(4), "expected a time to live"),
        (&case("agent: a\n    ttl: 99999999999999999999s"), Some(4), "expected a time to live"),
        (&case("agent: a\n    attestation_age: -1s"), Some(4), "expected a span"),
        (&case("agent: a\n    at: yesterday"), Some(4), "expected an instant since 1970"),
        (&case("agent: a\n    at: 1969-12-31T23:59:59Z"), Some(4), "expected an instant since 1970"),
        (&case("agent: a\n    counters: { live: -1 }"), Some(4), ""),
        (&case("agent: a\n    counters: { live: 4294967296 }"), Some(4), ""),
        (&case("agent: a\n    counters: { spend: 1 }"), Some(4), "unknown field `spend`"),
        (&case("agent: a\n    task: { depth: 256 }"), Some(4), ""),
        (&case("agent: a\n    kind: ssh"), Some(4), "unknown variant `ssh`"),
        (&case("agent: a\n    bound: perhaps"), Some(4), ""),
        (&case("agent: a\n    tool: x"), Some(4), "`tool` means nothing without `verb: call_tool`"),
        (
            &case("agent: a\n    delegate_to: b"),
            Some(4),
            "`delegate_to` means nothing without `verb: delegate`",
        ),
        (
            "cases:\n  - name: a\n    agent: a\n    resource: r\n    action: x\n",
            Some(5),
            "missing field `expect`",
        ),
        (&case("agent: a").replace("deny", "maybe"), Some(6), "unknown variant `maybe`"),
        (&case("agent: a").replace("deny", "{ by: x }"), Some(6), "missing field `effect`"),
        (
            &case("agent: a")
                .replace("deny", "\n      effect: allow\n      obligations:\n        max_tll: 5m"),
            Some(9),
            "unknown annotation `@max_tll`",
        ),
        (
            &case("agent: a")
                .replace("deny", "\n      effect: allow\n      obligations:\n        approval: 0 of a"),
            Some(9),
            "`@approval(\"0 of a\")` is not a list of who has to approve",
        ),
    ] {
        let problems = problems(text);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert_eq!(problems[0].position.map(|at| at.line), line, "{text}: {problems:?}");
        assert!(problems[0].what.contains(what), "{text}: {problems:?}");
    }
}

#[test]
fn a_name_that_the_facts_do_not_list_is_a_mistake() {
    let facts = "facts:
  agents: { dev/maya: { owner: maya } }
  users: { maya: {} }
  resources: { api: {} }
";
    let case = |agent: &str, resource: &str, more: &str| {
        format!(
            "{facts}cases:\n  - {{ name: a, agent: {agent}, resource: {resource}, action: x, expect: deny{more} }}\n"
        )
    };
    assert_eq!(run(&case("dev/maya", "api", "")).len(), 1);
    for (text, what) in [
        (case("dev/mya", "api", ""), "agent `dev/mya` is not in `facts.agents`"),
        (case("dev/maya", "apj", ""), "resource `apj` is not in `facts.resources`"),
        (case("dev/maya", "api", ", task: { initiator: mya }"), "user `mya` is not in `facts.users`"),
        (
            case("dev/maya", "api", ", verb: delegate, delegate_to: dev/nor"),
            "agent `dev/nor` is not in `facts.agents`",
        ),
    ] {
        let problems = problems(&text);
        assert_eq!((problems[0].what.as_str(), problems[0].position.unwrap().line), (what, 6), "{text}");
        assert!(problems[0].help.is_some());
    }
}

#[test]
fn every_mistake_of_every_file_is_told() {
    let two = "cases:
  - { name: a, agent: a, resource: r, action: x, expect: deny, tool: t }
  - { name: b, agent: a, resource: r, action: x, expect: deny }
  - { name: c, agent: a, resource: r, action: x, expect: deny, delegate_to: d }
";
    let error = Suite::from_sources([("b.yaml", two), ("a.yaml", "nonsense: 1")]).unwrap_err();
    let places: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| (problem.file.as_str(), problem.position.unwrap().line))
        .collect();
    assert_eq!(places, [("a.yaml", 1), ("b.yaml", 2), ("b.yaml", 4)]);
}

#[test]
fn bombs_do_not_go_off() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{},", level - 1).repeat(10);
        aliases.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let labels = "cases:\n  - name: &n ".to_owned()
        + &"x".repeat(100_000)
        + "\n    agent: a\n    resource: r\n    action: x\n    expect: deny\n    task: { labels: { "
        + &(0..60_000).map(|i| format!("k{i}: *n, ")).collect::<String>()
        + "} }\n";
    for bomb in [
        aliases,
        labels,
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 2000))).collect(),
        "&a [*a]".to_owned(),
        "facts: &f { agents: *f }".to_owned(),
        "? ".repeat(50_000),
        "!".repeat(100_000),
        "<<: ".repeat(50_000),
        "--- a\n".repeat(100_000),
    ] {
        let problems = problems(&bomb);
        let what = &problems[0].what;
        assert!(what.chars().count() <= 201 && !what.contains('\n'), "{what}");
    }
}

#[test]
fn a_suite_is_bounded() {
    let case = "- { name: a, agent: a, resource: r, action: x, expect: deny }\n";
    let most = format!("cases:\n{}", case.repeat(MAX_CASES));
    assert_eq!(suite(&most).len(), MAX_CASES);
    let error = Suite::from_sources([
        ("a.yaml", most.as_str()),
        ("b.yaml", "cases: []"),
        ("c.yaml", &format!("cases:\n{case}")),
    ]);
    assert!(
        error.unwrap_err().to_string().starts_with("c.yaml: with this file there are more than 10000 cases")
    );
    let long = format!("# {}\ncases: []", "x".repeat(crate::MAX_BYTES));
    assert!(problems(&long)[0].what.contains("more than 8388608 bytes"));
}

#[test]
fn a_directory_is_read_by_extension() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), case("agent: a")).unwrap();
    fs::write(dir.path().join("notes.txt"), "no: suite").unwrap();
    fs::write(dir.path().join(".b.yaml"), "no: suite").unwrap();
    assert_eq!(Suite::load_dir(dir.path()).unwrap().len(), 1);
    fs::write(dir.path().join("b.yaml"), [0xff, 0xfe]).unwrap();
    let error = Suite::load_dir(dir.path()).unwrap_err().to_string();
    assert!(error.starts_with("b.yaml: cannot be read: "), "{error}");
    let error = Suite::load_dir(&dir.path().join("gone")).unwrap_err().to_string();
    assert!(error.contains("gone: cannot be read: "), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Suite::from_sources([("t.yaml", String::from_utf8_lossy(&bytes))]);
    }

    #[test]
    fn no_change_of_a_suite_makes_it_panic(
        from in 0..400usize,
        length in 0..20usize,
        put in "[-{}\\[\\]:,&*!|>'\"%@`#?\n a-z0-9]{0,12}",
    ) {
        let whole = format!("{FACTS}{}", case("agent: dev/maya\n    task: { initiator: guest }").replace("cases:\n", ""));
        let kept: String = whole.chars().take(from).collect();
        let rest: String = whole.chars().skip(from + length).collect();
        if let Ok(suite) = Suite::from_sources([("t.yaml", format!("{kept}{put}{rest}"))]) {
            let _ = suite.run(&policies()).junit();
        }
    }
}
