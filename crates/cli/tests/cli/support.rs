//! A broker in a temporary directory, and the program pointed at it.

use std::{
    ffi::OsStr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};
use taskpass_cli::{compose::Server, config::Config};
use tokio::process::Command;

/// A broker for which the user who runs the test is agent and operator.
pub(crate) struct House {
    dir: tempfile::TempDir,
    server: Server,
}

/// What one run of the program left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl House {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(&config(dir.path())).await.unwrap();
        Self { dir, server }
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program, ready to run; nothing of the tester's own environment reaches it.
    pub(crate) fn taskpass<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = program(args);
        command.env("TASKPASS_SOCKET", &self.server.addresses.socket);
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Run {
        run(self.taskpass(args)).await
    }

    /// Runs it and parses the JSON that it prints.
    pub(crate) async fn json(&self, args: &[&str]) -> serde_json::Value {
        let run = self.run(&[args, &["-o", "json"]].concat()).await;
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        serde_json::from_str(&run.stdout).unwrap()
    }
}

pub(crate) fn program<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taskpass"));
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn run(mut command: Command) -> Run {
    let output = command.output().await.unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn config(dir: &Path) -> Config {
    let uid = std::fs::metadata(dir).unwrap().uid();
    // Somebody who never comes.
    let other = uid + 1;
    let policies = dir.join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    for (name, text) in taskpass_policy::demo::DEMO {
        std::fs::write(policies.join(name), text).unwrap();
    }
    taskpass_crypto::SealKey::generate_file(&dir.join("seal.key")).unwrap();
    let text = format!(
        r#"
        trust_domain = "acme.test"
        issuer = "https://taskpass.acme.test"
        listen = {{ socket = "api.sock", socket_mode = "0600", http = "127.0.0.1:0" }}
        data.dir = "data"
        keys.seal = {{ file = "seal.key" }}
        policy.dir = "policies"
        agents = [{{ id = "dev/maya", owner = "maya@acme.test", selectors = ["unix:uid:{uid}"] }}]
        operators = [{{ name = "maya", selectors = ["unix:uid:{uid}"] }}]
        users = [{{ name = "noor@acme.test", groups = ["finance"], selectors = ["unix:uid:{other}"] }}]
        "#
    );
    let path = dir.join("taskpass.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path).unwrap()
}
