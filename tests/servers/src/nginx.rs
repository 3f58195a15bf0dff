//! A private nginx: its files below one directory, its port on 127.0.0.1.

use crate::{free_port, until, wait::until_true};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A running nginx with one server, killed when dropped with the workers that it started.
pub struct Nginx {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl Nginx {
    /// A directory for a server, with the files that it will name.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn directory(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::Builder::new().prefix("taskpass-nginx-").tempdir().unwrap();
        for (name, text) in files {
            let file = directory.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        directory
    }

    /// Starts one in `directory`; `server` is what its only `server` block says besides where it listens.
    ///
    /// # Panics
    /// When nginx is missing, or does not like its configuration; with what it said.
    pub async fn start(directory: TempDir, server: &str) -> Self {
        Self::start_with(directory, "", server).await
    }

    /// The same; `http` is what its `http` block says besides.
    ///
    /// # Panics
    /// As [`Nginx::start`].
    pub async fn start_with(directory: TempDir, http: &str, server: &str) -> Self {
        let port = free_port();
        fs::write(directory.path().join("nginx.conf"), configuration(port, http, server)).unwrap();
        let mut command = command(directory.path());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let log = directory.path().join("error.log");
        let ended = until("nginx listens or is gone", || {
            let gone = child.try_wait().unwrap();
            async move {
                match gone {
                    Some(status) => Some(Some(status)),
                    None => TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| None),
                }
            }
        })
        .await;
        let said = fs::read_to_string(log).unwrap_or_default();
        assert!(ended.is_none(), "nginx ended with {ended:?}:\n{said}");
        Self { directory, port, child }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What it has to be told to take up its files again.
    pub fn reload(&self) -> Vec<String> {
        let arguments = command(self.path());
        let words = [arguments.get_program()].into_iter().chain(arguments.get_args());
        let words = words.map(|word| word.to_str().unwrap().to_owned());
        words.chain(["-s", "reload"].map(str::to_owned)).collect()
    }

    /// What it has complained about.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("error.log")).unwrap_or_default()
    }

    /// Stops it, and waits until it has.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        until_true("nginx stops", || std::future::ready(self.child.try_wait().unwrap().is_some())).await;
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master takes its workers along when it is asked; it may have ended already.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            drop(self.child.wait());
        }
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf"));
    command.arg("-e").arg(directory.join("error.log"));
    command
}

/// `nginx`, from `PATH` or from where the package puts it.
fn program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).chain(["/usr/sbin".into()]).map(|one| one.join("nginx"));
    let missing = "`nginx` is missing and the test needs it: run `cargo xtask servers`";
    found.into_iter().find(|file| file.is_file()).expect(missing)
}

fn configuration(port: u16, http: &str, server: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("    {what}_temp_path temporary-{what};\n"))
        .collect();
    format!(
        "daemon off;\nworker_processes 1;\nworker_shutdown_timeout 10s;\npid nginx.pid;\n\
         error_log error.log info;\nevents {{ worker_connections 64; }}\n\
         http {{\n    access_log off;\n{temporary}    {http}\n    server {{\n        listen 127.0.0.1:{port} ssl;\n\
         {server}\n    }}\n}}\n"
    )
}
