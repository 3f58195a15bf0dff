//! A private Envoy: its files below one directory, its ports on 127.0.0.1.

use crate::{until, wait::until_true};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A running Envoy, killed when dropped.
pub struct Envoy {
    directory: TempDir,
    child: Child,
}

impl Envoy {
    /// Starts one by a configuration that listens on `port`.
    ///
    /// # Panics
    /// When Envoy is missing, or does not like its configuration; with what it said.
    pub async fn start(configuration: &str, port: u16) -> Self {
        let directory = tempfile::Builder::new().prefix("taskpass-envoy-").tempdir().unwrap();
        let file = directory.path().join("envoy.yaml");
        fs::write(&file, configuration).unwrap();
        let output = |name| fs::File::create(directory.path().join(name)).unwrap();
        let mut command = Command::new(program());
        command
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"])
            .arg(file);
        command.stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
        let mut envoy = Self { child: command.spawn().unwrap(), directory };
        let ended = until("Envoy listens or is gone", || {
            let gone = envoy.child.try_wait().unwrap();
            async move {
                match gone {
                    Some(status) => Some(Some(status)),
                    None => TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| None),
                }
            }
        })
        .await;
        assert!(ended.is_none(), "Envoy ended with {ended:?}:\n{}", envoy.log());
        envoy
    }

    /// What it has complained about.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    /// Its access log, as far as it is written.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.directory.path().join("stdout")).unwrap_or_default()
    }

    /// Stops it, and waits until it has.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        until_true("Envoy stops", || std::future::ready(self.child.try_wait().unwrap().is_some())).await;
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `envoy`, from where `cargo xtask servers` installs it.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/envoy/_bin/envoy");
    assert!(program.is_file(), "Envoy is missing and the test needs it: run `cargo xtask servers`");
    program
}
