//! The rules of the house. Each takes what is there and gives its findings.

#[cfg(test)]
mod tests;

use super::{
    house::{LONG_FILES, MAX_LINES, PREFIX, ROOMS, Room, find, short},
    workspace::{Dependency, Package, Workspace},
};

/// What one package has wrong.
type Rule = fn(&[Room], &Package) -> Vec<String>;

const RULES: &[Rule] = &[
    homes_are_known,
    arrows_point_down,
    adapters_are_strangers,
    decisions_are_pure,
    lints_are_inherited,
    folders_are_named,
];

/// Everything that breaks a rule, by rule and then by package.
pub(super) fn check(workspace: &Workspace) -> Vec<String> {
    let mut findings: Vec<_> = RULES
        .iter()
        .flat_map(|rule| workspace.packages.iter().flat_map(|package| rule(ROOMS, package)))
        .collect();
    findings.extend(files_are_short(LONG_FILES, workspace));
    findings
}

fn homes_are_known(rooms: &[Room], package: &Package) -> Vec<String> {
    match find(rooms, &package.name) {
        Some(_) => Vec::new(),
        None => vec![format!(
            "{}: has no room; say in crates/xtask/src/arch/house.rs on which floor it lives",
            package.name
        )],
    }
}

/// Edges of shipped code to our packages. Tests may use what they like.
fn our_edges(package: &Package) -> impl Iterator<Item = &Dependency> {
    package.dependencies.iter().filter(|edge| edge.ours && !edge.dev)
}

fn arrows_point_down(rooms: &[Room], package: &Package) -> Vec<String> {
    let Some(home) = find(rooms, &package.name) else { return Vec::new() };
    our_edges(package)
        .filter_map(|edge| {
            let target = find(rooms, &edge.name)?;
            if target.floor >= home.floor {
                return Some(format!(
                    "{} (floor {}) uses {} (floor {}): arrows point to lower floors only",
                    package.name, home.floor, edge.name, target.floor
                ));
            }
            let only = home.only?;
            (!only.contains(&target.name))
                .then(|| format!("{} uses {}: it may use only {}", package.name, edge.name, or_nothing(only)))
        })
        .collect()
}

fn or_nothing(names: &[&str]) -> String {
    if names.is_empty() { "nothing of ours".to_owned() } else { names.join(", ") }
}

fn adapters_are_strangers(rooms: &[Room], package: &Package) -> Vec<String> {
    let is_adapter = |name: &str| find(rooms, name).is_some_and(|room| room.adapter);
    if !is_adapter(&package.name) {
        return Vec::new();
    }
    our_edges(package)
        .filter(|edge| is_adapter(&edge.name))
        .map(|edge| format!("{} uses {}: no adapter knows another; meet in a port", package.name, edge.name))
        .collect()
}

fn decisions_are_pure(rooms: &[Room], package: &Package) -> Vec<String> {
    let Some(home) = find(rooms, &package.name) else { return Vec::new() };
    let is_banned = |name: &str| {
        home.without.iter().any(|banned| {
            name.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    package
        .dependencies
        .iter()
        .filter(|edge| !edge.ours && !edge.dev && is_banned(&edge.name))
        .map(|edge| format!("{} uses {}: put it behind a port", package.name, edge.name))
        .collect()
}

fn lints_are_inherited(_: &[Room], package: &Package) -> Vec<String> {
    if package.inherits_lints {
        return Vec::new();
    }
    vec![format!("{}/Cargo.toml: add `[lints]` with `workspace = true`", package.folder)]
}

fn folders_are_named(_: &[Room], package: &Package) -> Vec<String> {
    let Some(folder) = package.folder.strip_prefix("crates/") else { return Vec::new() };
    let has_prefix = package.name.starts_with(PREFIX) || folder == "xtask";
    if has_prefix && folder == short(&package.name) {
        return Vec::new();
    }
    vec![format!("{}: holds package {}; call that `{PREFIX}{folder}`", package.folder, package.name)]
}

fn files_are_short(long_files: &[(&str, &str)], workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    let files = || workspace.packages.iter().flat_map(|package| &package.files);
    for file in files().filter(|file| file.lines > MAX_LINES) {
        let is_allowed = long_files.iter().any(|(path, why)| *path == file.path && !why.trim().is_empty());
        if !is_allowed {
            findings.push(format!(
                "{}: {} lines; split it by noun, or say in house.rs why it is right with more than {MAX_LINES}",
                file.path, file.lines
            ));
        }
    }
    for (path, _) in long_files {
        if !files().any(|file| file.path == *path && file.lines > MAX_LINES) {
            findings.push(format!("{path}: is not long; remove it from LONG_FILES in house.rs"));
        }
    }
    findings
}
