//! What is there: the packages with their edges, manifests and files.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub(super) struct Workspace {
    pub(super) root: PathBuf,
    pub(super) packages: Vec<Package>,
}

pub(super) struct Package {
    pub(super) name: String,
    /// From the workspace's root, for example `crates/lease`.
    pub(super) folder: String,
    pub(super) dependencies: Vec<Dependency>,
    /// Whether its manifest says `[lints] workspace = true`.
    pub(super) inherits_lints: bool,
    pub(super) files: Vec<SourceFile>,
}

pub(super) struct Dependency {
    pub(super) name: String,
    /// Whether it is one of the workspace's own packages.
    pub(super) ours: bool,
    /// Whether it is for tests and benchmarks only.
    pub(super) dev: bool,
}

pub(super) struct SourceFile {
    /// From the workspace's root.
    pub(super) path: String,
    pub(super) lines: usize,
}

/// Asks cargo, then the disk.
pub(super) fn read() -> anyhow::Result<Workspace> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .context("cannot run `cargo metadata`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata =
        serde_json::from_slice(&output.stdout).context("cannot read what `cargo metadata` says")?;
    let mut workspace = parse(&metadata)?;
    let root = workspace.root.clone();
    for package in &mut workspace.packages {
        let folder = root.join(&package.folder);
        let manifest = folder.join("Cargo.toml");
        let manifest =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read `{}`", manifest.display()))?;
        package.inherits_lints = inherits_lints(&manifest);
        package.files = source_files(&root, &folder)?;
    }
    Ok(workspace)
}

/// The packages and their edges, from the output of `cargo metadata --no-deps`.
pub(super) fn parse(metadata: &Value) -> anyhow::Result<Workspace> {
    let root = PathBuf::from(text(metadata, "workspace_root")?);
    let packages = list(metadata, "packages")?
        .iter()
        .map(|package| parse_package(&root, package))
        .collect::<anyhow::Result<_>>()?;
    Ok(Workspace { root, packages })
}

fn parse_package(root: &Path, package: &Value) -> anyhow::Result<Package> {
    let manifest = PathBuf::from(text(package, "manifest_path")?);
    let folder = manifest.parent().unwrap_or(root);
    let dependencies = list(package, "dependencies")?
        .iter()
        .map(|dependency| {
            Ok(Dependency {
                name: text(dependency, "name")?.to_owned(),
                ours: dependency.get("path").is_some_and(Value::is_string),
                dev: dependency.get("kind").and_then(Value::as_str) == Some("dev"),
            })
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Package {
        name: text(package, "name")?.to_owned(),
        folder: relative(root, folder),
        dependencies,
        inherits_lints: false,
        files: Vec::new(),
    })
}

/// Whether a manifest takes the workspace's lints.
pub(super) fn inherits_lints(manifest: &str) -> bool {
    manifest
        .parse::<toml::Table>()
        .ok()
        .and_then(|table| table.get("lints")?.get("workspace")?.as_bool())
        .unwrap_or(false)
}

/// Every `.rs` file of a package, by path.
fn source_files(root: &Path, folder: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let content =
                    fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
                files.push(SourceFile { path: relative(root, &path), lines: content.lines().count() });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("`cargo metadata` gave no text `{key}`"))
}

fn list<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a [Value]> {
    value
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .with_context(|| format!("`cargo metadata` gave no list `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn edges_know_whether_they_are_ours_and_for_tests_only() {
        let workspace = parse(&json!({
            "workspace_root": "/house",
            "packages": [{
                "name": "taskpass-lease",
                "manifest_path": "/house/crates/lease/Cargo.toml",
                "dependencies": [
                    { "name": "serde", "kind": null },
                    { "name": "taskpass-types", "kind": null, "path": "/house/crates/types" },
                    { "name": "proptest", "kind": "dev" },
                ],
            }],
        }))
        .unwrap();
        let package = &workspace.packages[0];
        assert_eq!((package.name.as_str(), package.folder.as_str()), ("taskpass-lease", "crates/lease"));
        let edges: Vec<_> = package.dependencies.iter().map(|d| (d.name.as_str(), d.ours, d.dev)).collect();
        assert_eq!(
            edges,
            [("serde", false, false), ("taskpass-types", true, false), ("proptest", false, true)]
        );
    }

    #[test]
    fn metadata_of_another_form_is_an_error() {
        for bad in [
            json!({}),
            json!({ "workspace_root": "/house" }),
            json!({ "workspace_root": "/house", "packages": [{}] }),
        ] {
            assert!(parse(&bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn lints_are_inherited_only_when_the_manifest_says_so() {
        assert!(inherits_lints("[lints]\nworkspace = true\n"));
        assert!(inherits_lints("lints.workspace = true"));
        for bad in [
            "",
            "[lints]\nworkspace = false",
            "[lints.rust]\nunsafe_code = \"warn\"",
            "# lints.workspace = true",
            "[",
        ] {
            assert!(!inherits_lints(bad), "{bad:?} was accepted");
        }
    }
}
