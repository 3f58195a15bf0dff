//! The program under test: found beside this one, built first so that it is never an old one.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
};
use tokio::process::Command;

/// What one run of the program left.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// `taskpass`; `TASKPASS_BINARY` names one that is there already.
pub(crate) fn path() -> &'static Path {
    static PATH: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::var_os("TASKPASS_BINARY").map_or_else(build, PathBuf::from));
    &PATH
}

fn build() -> PathBuf {
    // target/<profile>/deps/stories-…
    let exe = std::env::current_exe().unwrap();
    let profile = exe.ancestors().nth(2).unwrap();
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo
        // For the whole workspace, so that what `cargo test --workspace` built is not built again with other features.
        .args([
            "build",
            "--quiet",
            "--locked",
            "--offline",
            "--workspace",
            "--bin",
            "taskpass",
            "--target-dir",
        ])
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "`taskpass` cannot be built");
    profile.join("taskpass")
}

/// The program, ready to run; nothing of the tester's own environment reaches it.
pub fn program<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(path());
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it to its end.
///
/// # Panics
/// When it cannot be started, or prints something else than UTF-8.
pub async fn run(mut command: Command) -> Run {
    let output = command.output().await.unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
