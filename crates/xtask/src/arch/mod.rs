//! `cargo xtask arch`: the shape of the house, checked instead of remembered.
//!
//! [`workspace`] reads what is there, [`house`] says what may be there, [`rules`] compares the two. A finding names the
//! place and what to do about it.

mod house;
mod rules;
mod workspace;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let workspace = workspace::read()?;
    let findings = rules::check(&workspace);
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
