//! What one value alone cannot show: contradictions between several, and what is allowed but rarely meant.

use super::{Config, Problem, Seal, place::KeyPath};
use crate::span;
use std::{collections::BTreeSet, fmt::Display, time::Duration};
use taskpass_broker::Trigger;

impl Config {
    /// Contradictions; nothing runs with one.
    pub(super) fn check(&self, text: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.listen.api.is_some() && self.tls.is_none() {
            problems.push(Problem::at(
                text,
                &KeyPath::default().key("listen").key("api"),
                "the broker has no certificate to show to callers over TCP",
                "add [tls] with `certificate` and `key`, or remove it to serve the Unix socket only",
            ));
        }
        problems.extend(self.check_spans(text));
        problems.extend(self.store.check(text));
        problems.extend(self.channels.check(text));
        problems.extend(twice(text, "agents", "id", self.agents.iter().map(|agent| &agent.id)));
        problems.extend(twice(
            text,
            "resources",
            "name",
            self.resources.iter().map(|resource| &resource.name),
        ));
        problems.extend(twice(text, "clients", "name", self.clients.iter().map(|client| &client.name)));
        problems.extend(twice(text, "users", "name", self.users.iter().map(|user| &user.name)));
        problems.extend(twice(text, "drift", "id", self.drift.iter().map(|rule| &rule.id)));
        problems.extend(self.check_drift(text));
        problems.extend(twice(
            text,
            "bundles",
            "trust_domain",
            self.bundles.iter().map(|bundle| &bundle.trust_domain),
        ));
        for (list, roles) in [("operators", &self.operators), ("orchestrators", &self.orchestrators)] {
            problems.extend(twice(text, list, "name", roles.iter().map(|role| &role.name)));
        }
        problems.extend(twice(text, "verifiers", "name", self.verifiers.iter().map(|entry| &entry.name)));
        problems
    }

    /// What cannot follow from what happened.
    fn check_drift(&self, text: &str) -> Vec<Problem> {
        let unfit = self.drift.iter().enumerate().filter(|(_, rule)| !rule.then.fits(rule.when));
        unfit
            .map(|(index, rule)| {
                let path = KeyPath::default().key("drift").index(index).key("then");
                let what = format!("this cannot follow from `{}`", rule.when);
                let fix = match rule.when {
                    Trigger::Behaviour => "use `report`, `hold` or `kill`",
                    _ => "use `report`, `shorten`, `grace 5m` or `revoke`",
                };
                Problem::at(text, &path, what, fix)
            })
            .collect()
    }

    /// A default that is longer than its limit would refuse every caller who does not say how long.
    fn check_spans(&self, text: &str) -> Vec<Problem> {
        let Self { defaults, limits, .. } = self;
        [
            ("jwt_ttl", defaults.jwt_ttl, "jwt_max", limits.jwt_max),
            ("x509_ttl", defaults.x509_ttl, "x509_max", limits.x509_max),
            ("task_ttl", defaults.task_ttl, "task_max", limits.task_max),
        ]
        .into_iter()
        .filter_map(|(key, default, limit, most)| {
            let path = KeyPath::default().key("defaults").key(key);
            if default > most {
                let what = format!("it is above `limits.{limit}`, {}", span::show(most));
                return Some(Problem::at(text, &path, what, format!("lower it, or raise `limits.{limit}`")));
            }
            (default < Duration::from_secs(1))
                .then(|| Problem::at(text, &path, "credentials count in whole seconds", "use `1s` or more"))
        })
        .collect()
    }

    /// What is allowed, but rarely meant. One line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self
            .agents
            .iter()
            .filter(|agent| agent.owner.is_none())
            .map(|agent| {
                format!("agent `{}` has no owner, so nothing is issued to it; add `owner`", agent.id)
            })
            .collect();
        if self.agents.is_empty() {
            warnings.push("no agent is registered, so nothing is issued; add [[agents]]".to_owned());
        }
        if self.operators.is_empty() {
            warnings.push("nobody can list or kill leases; add [[operators]]".to_owned());
        }
        if matches!(self.keys.seal, Seal::Env(_)) {
            warnings.push(
                "the seal key is in an environment variable, which child processes and crash reports see; prefer \
                 `file` or `credential`"
                    .to_owned(),
            );
        }
        warnings
    }
}

fn twice<N: Ord + Display>(
    text: &str,
    list: &str,
    key: &str,
    names: impl Iterator<Item = N>,
) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, name) in names.enumerate() {
        let path = KeyPath::default().key(list).index(index).key(key);
        let what = format!("`{name}` comes twice");
        if !seen.insert(name) {
            problems.push(Problem::at(text, &path, what, "join the two, or rename one"));
        }
    }
    problems
}
