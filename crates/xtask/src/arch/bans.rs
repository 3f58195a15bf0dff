//! What `deny.toml` keeps out, looked for in `Cargo.lock`: which crates, which versions, from where. Licences and
//! advisories are left to `cargo deny`, which has to be installed.

use anyhow::Context as _;
use std::cmp::Ordering;
use toml::{Table, Value};

/// Where crates may come from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Everything in `lock` that `deny` bans.
pub(super) fn check(deny: &str, lock: &str) -> anyhow::Result<Vec<String>> {
    let deny: Table = deny.parse().context("cannot read `deny.toml`")?;
    let lock: Table = lock.parse().context("cannot read `Cargo.lock`")?;
    let bans = deny.get("bans").and_then(|bans| bans.get("deny")).and_then(Value::as_array);
    let bans = bans.context("`deny.toml` has no list `bans.deny`")?;
    let bans = bans.iter().map(Ban::parse).collect::<anyhow::Result<Vec<_>>>()?;
    let packages = lock.get("package").and_then(Value::as_array);
    let mut findings = Vec::new();
    for package in packages.context("`Cargo.lock` has no packages")? {
        let (name, version) = (text(package, "name")?, text(package, "version")?);
        for ban in bans.iter().filter(|ban| ban.name == name) {
            if ban.covers(version)? {
                findings.push(format!("{name} {version}: deny.toml keeps it out: {}", ban.reason));
            }
        }
        // Our own have no source.
        if let Some(source) = package.get("source").and_then(Value::as_str)
            && source != CRATES_IO
        {
            findings.push(format!("{name} {version}: comes from {source}; only crates.io is trusted"));
        }
    }
    Ok(findings)
}

struct Ban<'a> {
    name: &'a str,
    /// Versions from this one on are allowed; `None`: no version is.
    fixed_in: Option<&'a str>,
    reason: &'a str,
}

impl<'a> Ban<'a> {
    fn parse(entry: &'a Value) -> anyhow::Result<Self> {
        let spec = text(entry, "crate")?;
        let (name, fixed_in) = match spec.split_once(':') {
            None => (spec, None),
            Some((name, versions)) => {
                let fixed_in = versions.strip_prefix('<');
                let what =
                    || format!("`{spec}` in `deny.toml`: only `crate` and `crate:<version` are understood");
                (name, Some(fixed_in.with_context(what)?))
            }
        };
        Ok(Self { name, fixed_in, reason: text(entry, "reason")? })
    }

    fn covers(&self, version: &str) -> anyhow::Result<bool> {
        match self.fixed_in {
            None => Ok(true),
            Some(fixed_in) => Ok(compare(version, fixed_in)? == Ordering::Less),
        }
    }
}

/// By number. What is missing is zero; what comes behind a hyphen or a plus does not count.
fn compare(a: &str, b: &str) -> anyhow::Result<Ordering> {
    let numbers = |version: &str| -> anyhow::Result<Vec<u64>> {
        let core = version.split(['-', '+']).next().unwrap_or_default();
        let parts =
            core.split('.').map(|part| part.parse().with_context(|| format!("`{version}` is no version")));
        let mut parts = parts.collect::<anyhow::Result<Vec<_>>>()?;
        parts.resize(3, 0);
        Ok(parts)
    };
    Ok(numbers(a)?.cmp(&numbers(b)?))
}

fn text<'a>(table: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    table.get(key).and_then(Value::as_str).with_context(|| format!("an entry without `{key}`: {table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = r#"
[bans]
deny = [
  { crate = "rsa", reason = "side channel" },
  { crate = "h2:<0.4.5", reason = "floods" },
]
"#;

    fn findings(name: &str, version: &str, source: &str) -> Vec<String> {
        let lock =
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\n");
        check(DENY, &lock).unwrap()
    }

    #[test]
    fn what_is_banned_is_found_by_name_and_version() {
        for (name, version) in [("rsa", "0.1.0"), ("rsa", "99.0.0"), ("h2", "0.4.4"), ("h2", "0.3.27")] {
            assert_eq!(findings(name, version, CRATES_IO).len(), 1, "{name} {version}");
        }
        for (name, version) in
            [("h2", "0.4.5"), ("h2", "0.4.20"), ("h2", "1.0.0-rc.1"), ("rsa-extra", "0.1.0")]
        {
            assert_eq!(findings(name, version, CRATES_IO), [""; 0], "{name} {version}");
        }
    }

    #[test]
    fn what_comes_from_elsewhere_is_found() {
        for source in ["git+https://example.test/h2#0123", "registry+https://example.test/index"] {
            assert_eq!(findings("h2", "0.4.5", source).len(), 1, "{source}");
        }
        let ours = "[[package]]\nname = \"taskpass-lease\"\nversion = \"0.1.0\"\n";
        assert_eq!(check(DENY, ours).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_not_a_pass() {
        let lock = "[[package]]\nname = \"h2\"\nversion = \"0.4.5\"\n";
        for deny in [
            "",
            "[bans]",
            "[bans]\ndeny = [{ crate = \"h2:>=1\", reason = \"x\" }]",
            "[bans]\ndeny = [{ crate = \"h2:<one\", reason = \"x\" }]",
            "[bans]\ndeny = [{ name = \"h2\" }]",
        ] {
            assert!(check(deny, lock).is_err(), "{deny:?} was accepted");
        }
        assert!(check(DENY, "").is_err());
    }

    #[test]
    fn this_repository_keeps_its_own_list() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let read = |name: &str| std::fs::read_to_string(format!("{root}/{name}")).unwrap();
        assert_eq!(check(&read("deny.toml"), &read("Cargo.lock")).unwrap(), [""; 0]);
    }
}
