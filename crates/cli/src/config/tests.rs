//! The full file is complete and says the truth; a wrong file says where, what and how to fix it.

use super::*;
use std::{collections::BTreeSet, io::Write as _};
use toml::{Table, Value};

/// The least that is a configuration.
const LEAST: &str = "trust_domain = \"acme.test\"\nissuer = \"https://taskpass.acme.test\"\n\
                     [keys]\nseal = { file = \"/etc/taskpass/seal.key\" }\n";

/// The full file with its examples in force: prose comments have a space after the `#`, examples have none.
fn with_examples() -> String {
    FULL.lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_full_file_shows_the_defaults() {
    assert_eq!(Config::parse(FULL).unwrap(), Config::parse(LEAST).unwrap());
}

#[test]
fn the_examples_of_the_full_file_are_valid() {
    let config = Config::parse(&with_examples()).unwrap();
    assert!(config.tls.is_some() && config.listen.api.is_some());
    assert_eq!(
        (config.bundles.len(), config.agents.len(), config.operators.len(), config.orchestrators.len()),
        (1, 1, 1, 1)
    );
    assert_eq!(
        (config.verifiers.len(), config.users.len(), config.resources.len(), config.drift.len()),
        (1, 1, 1, 1)
    );
    assert_eq!(
        config.clients.iter().map(|client| client.name.to_string()).collect::<Vec<_>>(),
        ["billing-web"]
    );
    assert_eq!(config.warnings(), Vec::<String>::new());
}

/// The keys that the type has at a table, as the parser itself lists them when it meets one that it does not know.
fn known_keys(full: &Table, path: &[&str]) -> BTreeSet<String> {
    let mut full = full.clone();
    let mut table = &mut full;
    for step in path {
        table = match table.get_mut(*step).unwrap() {
            Value::Table(table) => table,
            Value::Array(array) => array[0].as_table_mut().unwrap(),
            other => panic!("{step} is {other}"),
        };
    }
    table.insert("not-a-key".to_owned(), Value::Boolean(true));
    let problems = Config::parse(&full.to_string()).unwrap_err();
    let fix = problems[0].fix.clone().unwrap();
    fix.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_full_file_mentions_every_key() {
    let full: Table = with_examples().parse().unwrap();
    let mut tables: Vec<Vec<&str>> = vec![vec![]];
    tables.extend(full.iter().filter_map(|(key, value)| match value {
        Value::Table(_) => Some(vec![key.as_str()]),
        Value::Array(array) if array[0].is_table() => Some(vec![key.as_str()]),
        _ => None,
    }));
    assert_eq!(tables.len(), 20, "the root, 10 tables and 9 lists: {tables:?}");
    tables.push(vec!["store", "redis"]);
    for path in tables {
        let known = known_keys(&full, &path);
        let mut table = &full;
        for step in &path {
            table = match &table[*step] {
                Value::Table(table) => table,
                other => other[0].as_table().unwrap(),
            };
        }
        let mut shown: BTreeSet<_> = table.keys().cloned().collect();
        if path == ["store", "redis"] {
            // The two other places, of which a file has one.
            shown.extend(["cluster", "sentinel"].map(str::to_owned));
        }
        assert_eq!(shown, known, "in {path:?}");
    }
}

#[test]
fn errors_say_where_what_and_how_to_fix_it() {
    let with = |more: &str| format!("{LEAST}{more}");
    let agent = "[[agents]]\nid = \"ci/bot\"\nselectors = [\"unix:uid:1\"]\n";
    for (text, position, key, what, fix) in [
        ("trust_domain = ", "1:16", "", "value", ""),
        ("issuer = 1\nissuer = 2", "2:1", "", "duplicate key", ""),
        ("", "1:1", "", "there is no `trust_domain`", "add `trust_domain`"),
        (
            &LEAST.replace("acme.test\"\ni", "Acme\"\ni"),
            "1:16",
            "trust_domain",
            "`Acme` is not a valid trust domain",
            "",
        ),
        (&LEAST.replace("https:", "http:"), "2:10", "issuer", "not an issuer", "use a URL such as"),
        (
            &LEAST.replace("file", "fiel"),
            "4:10",
            "keys.seal",
            "unknown variant `fiel`",
            "use one of `credential`",
        ),
        (&with("alg = \"RS256\""), "5:7", "keys.alg", "unknown variant `RS256`", "`ES256`"),
        (&with("[limit]\njwt_max = \"5m\""), "5:2", "limit", "unknown key `limit`", "`limits`"),
        (&with("[limits]\njwt_mx = \"5m\""), "6:1", "limits.jwt_mx", "unknown key `jwt_mx`", "`jwt_max`"),
        (
            &with("[limits]\njwt_max = 300"),
            "6:11",
            "limits.jwt_max",
            "invalid type: integer `300`",
            "use a string",
        ),
        (
            &with("[limits]\njwt_max = \"5 min\""),
            "6:11",
            "limits.jwt_max",
            "`5 min` is not a span of time",
            "use for example `30s`",
        ),
        (
            &with("[limits]\nlive_per_task = -1"),
            "6:17",
            "limits.live_per_task",
            "invalid value: integer `-1`",
            "use u32",
        ),
        (
            &with("[defaults]\njwt_ttl = \"1h\""),
            "6:11",
            "defaults.jwt_ttl",
            "above `limits.jwt_max`, 15m",
            "lower it",
        ),
        (
            &with("[channels]\ncrl_validity = \"1s\""),
            "6:16",
            "channels.crl_validity",
            "revocation list",
            "`15s`",
        ),
        (
            &with("[channels]\ncrl_validity = \"2d\""),
            "6:16",
            "channels.crl_validity",
            "revocation list",
            "`1d`",
        ),
        (
            &with("[channels]\ncrl_url = \"http://crl.acme.test/\""),
            "6:11",
            "channels.crl_url",
            "not the URL",
            "slash",
        ),
        (&with("[channels]\ncrl_url = \"ldap://acme.test\""), "6:11", "channels.crl_url", "not the URL", ""),
        (&with("[channels]\ncrl_url = \"/crl\""), "6:11", "channels.crl_url", "not the URL", ""),
        (&with("[defaults]\ntask_ttl = \"5ms\""), "6:12", "defaults.task_ttl", "whole seconds", "`1s`"),
        (&with("[listen]\napi = \"0.0.0.0:7443\""), "6:7", "listen.api", "no certificate", "add [tls]"),
        (
            &with("[listen]\nsocket_mode = \"0777\""),
            "6:15",
            "listen.socket_mode",
            "unknown variant `0777`",
            "`0660`",
        ),
        (
            &with("[[agents]]\nid = \"ci/bot\"\nselectors = []"),
            "7:13",
            "agents[0].selectors",
            "every caller would match",
            "at least one",
        ),
        (
            &with("[[agents]]\nid = \"ci/bot\"\nselectors = [\"uid:1\"]"),
            "7:14",
            "agents[0].selectors[0]",
            "`uid:1` is not a selector",
            "begin with",
        ),
        (
            &with(&format!("{agent}owner = \"Maya Jones\"")),
            "8:9",
            "agents[0].owner",
            "is not a valid owner",
            "use printable",
        ),
        (&with(&format!("{agent}{agent}")), "9:6", "agents[1].id", "`ci/bot` comes twice", "rename"),
    ] {
        let problems = Config::parse(text).expect_err(text);
        let problem = &problems[0];
        let found = problem.position.map(|position| position.to_string()).unwrap_or_default();
        assert_eq!((found.as_str(), problem.key.as_str()), (position, key), "{problem:?} of\n{text}");
        assert!(problem.what.contains(what), "{problem:?} of\n{text}");
        assert!(problem.fix.clone().unwrap_or_default().contains(fix), "{problem:?} of\n{text}");
    }
}

#[test]
fn all_contradictions_are_reported_at_once_in_the_order_of_the_file() {
    let text =
        format!("{LEAST}[defaults]\njwt_ttl = \"1h\"\nx509_ttl = \"2h\"\n[listen]\napi = \"[::]:1\"\n");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let error = Config::load(file.path()).unwrap_err();
    let keys: Vec<_> = error.problems().iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["defaults.jwt_ttl", "defaults.x509_ttl", "listen.api"]);
    let lines: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
    assert!(
        lines[0].contains(":6:11: `defaults.jwt_ttl`: it is above") && lines[0].ends_with(')'),
        "{lines:?}"
    );
}

#[test]
fn an_agent_without_an_owner_is_a_warning() {
    let text = format!("{LEAST}[[agents]]\nid = \"ci/bot\"\nselectors = [\"unix:uid:1\"]\n");
    let warnings = Config::parse(&text).unwrap().warnings();
    assert!(warnings[0].contains("`ci/bot` has no owner"), "{warnings:?}");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taskpass.toml");
    std::fs::write(&path, LEAST.replace("/etc/taskpass/seal.key", "seal.key") + "[data]\ndir = \"data\"\n")
        .unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.keys.seal, Seal::File(folder.path().join("seal.key")));
    assert_eq!(config.data.store(), folder.path().join("data/store.redb"));
    assert_eq!(config.policy.dir, Path::new("/etc/taskpass/policies"));
}

#[test]
fn a_missing_file_says_so() {
    let error = Config::load(Path::new("/nonexistent/taskpass.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/taskpass.toml: cannot be read"), "{error}");
}

#[test]
fn a_ledger_is_in_one_place_and_durable_says_how_much() {
    let with = |lines: &str| Config::parse(&format!("{LEAST}[store.redis]\n{lines}\n"));
    let good = with("address = \"[::1]:6379\"\ndurability = \"durable\"\nreplicas = 2").unwrap();
    let redis = good.store.redis.unwrap();
    assert_eq!(redis.address.unwrap().to_string(), "[::1]:6379");
    assert_eq!((redis.ledger.as_str(), redis.timeout.as_millis()), ("taskpass", 500));
    for (lines, says) in [
        ("", "exactly one place"),
        ("address = \"a:1\"\ncluster = [\"b:1\"]", "exactly one place"),
        ("cluster = []", "nobody to ask"),
        ("sentinel = { service = \"s\", addresses = [] }", "nobody to ask"),
        ("address = \"a:1\"\ndurability = \"durable\"", "how many replicas"),
        ("address = \"a:1\"\ndurability = \"durable\"\nreplicas = 0", "how many replicas"),
        ("address = \"a:1\"\ntls = { ca = \"c\", key = \"k\" }", "without its key"),
        ("address = \"redis://a:1\"", "no address"),
        ("address = \"a\"", "no address"),
        ("address = \"a:1\"\npassword = \"hunter2\"", "password"),
    ] {
        let problems = with(lines).unwrap_err();
        let all: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
        assert!(all.contains(says), "{lines}: {all}");
        assert!(!all.contains("hunter2"), "{all}");
    }
}

#[test]
fn certificates_name_the_issuers_host_or_what_the_configuration_says() {
    let config = Config::parse(LEAST).unwrap();
    assert_eq!(config.crl_base(), "https://taskpass.acme.test");
    let text = format!("{LEAST}[channels]\ncrl_url = \"http://crl.acme.test:8080/lists\"");
    assert_eq!(Config::parse(&text).unwrap().crl_base(), "http://crl.acme.test:8080/lists");
}
