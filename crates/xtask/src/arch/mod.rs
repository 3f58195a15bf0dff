//! `cargo xtask arch`: the shape of the house, checked instead of remembered.
//!
//! [`workspace`] reads what is there, [`house`] says what may be there, [`rules`] compares the two; [`bans`] does the same for
//! what comes from outside. A finding names the
//! place and what to do about it.

mod bans;
mod house;
mod rules;
mod workspace;

use anyhow::Context as _;
use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
};

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let workspace = workspace::read()?;
    let mut findings = rules::check(&workspace);
    let read = |name: &str| {
        fs::read_to_string(workspace.root.join(name)).with_context(|| format!("cannot read `{name}`"))
    };
    findings.extend(bans::check(&read("deny.toml")?, &read("Cargo.lock")?)?);
    let mut out = io::stdout().lock();
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    if findings.is_empty() {
        writeln!(out, "arch: {} packages, every rule holds", workspace.packages.len())?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "arch: {} findings", findings.len())?;
    Ok(ExitCode::FAILURE)
}
