//! A private PostgreSQL: its data below one directory, its port on 127.0.0.1, no Unix socket.

use crate::{free_port, until, wait::until_true};
use rustix::process::{Pid, Signal, getuid, kill_process};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Its only user, and who that is where everything may be written: PostgreSQL does not run as root.
const USER: &str = "postgres";

/// A running server, killed when dropped.
pub struct Postgres {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl Postgres {
    /// The data of a server, with the user `postgres` and this password, and with `files` in it.
    ///
    /// # Panics
    /// When PostgreSQL is missing, or does not make it.
    pub fn data(password: &str, files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::Builder::new().prefix("taskpass-postgresql-").tempdir().unwrap();
        let secret = directory.path().join("password");
        fs::write(&secret, password).unwrap();
        hand_over(directory.path());
        let mut initdb = command("initdb");
        initdb.args(["--no-sync", "--auth=scram-sha-256", "--username", USER, "--pwfile"]).arg(&secret);
        let output = initdb.arg("--pgdata").arg(data(&directory)).output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        for (name, text) in files {
            let file = data(&directory).join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        hand_over(directory.path());
        directory
    }

    /// Starts one on its data; `lines` are added to `postgresql.conf`.
    ///
    /// # Panics
    /// When it does not run; with what it said.
    pub async fn start(directory: TempDir, lines: &str) -> Self {
        let port = free_port();
        let file = data(&directory).join("postgresql.conf");
        let more = format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n{lines}\n"
        );
        fs::write(&file, fs::read_to_string(&file).unwrap() + &more).unwrap();
        let log = directory.path().join("log");
        let mut server = command("postgres");
        server.arg("-D").arg(data(&directory)).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = server.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        until_true("PostgreSQL is ready", || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let gone = child.try_wait().unwrap();
            assert!(gone.is_none(), "PostgreSQL ended with {gone:?}:\n{said}");
            std::future::ready(said.contains("database system is ready to accept connections"))
        })
        .await;
        Self { directory, port, child }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data is.
    pub fn path(&self) -> PathBuf {
        data(&self.directory)
    }

    /// What it has to be told to take up its files again.
    pub fn reload(&self) -> Vec<String> {
        ["kill", "-HUP", &self.child.id().to_string()].map(str::to_owned).to_vec()
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Stops it, and waits until it has.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        until("PostgreSQL stops", || std::future::ready(self.child.try_wait().unwrap())).await;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // An immediate shutdown, which takes its processes along; it may have ended already.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::QUIT);
            drop(self.child.wait());
        }
    }
}

fn data(directory: &TempDir) -> PathBuf {
    directory.path().join("data")
}

/// Gives everything in a directory to who runs the server, if that is somebody else.
fn hand_over(directory: &Path) {
    if !getuid().is_root() {
        return;
    }
    let id = |flag: &str| -> u32 {
        let output = Command::new("id").args([flag, USER]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse().expect("there is a user `postgres`: run `cargo xtask servers`")
    };
    let (user, group) = (id("-u"), id("-g"));
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        chown(&path, Some(user), Some(group)).unwrap();
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

/// A program of the newest PostgreSQL that the distribution has installed.
fn command(name: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found =
        versions.map(|version| version.path().join("bin").join(name)).filter(|file| file.is_file()).max();
    let missing = "PostgreSQL is missing and the test needs it: run `cargo xtask servers`";
    let program = found.expect(missing);
    if !getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program).current_dir("/");
    command
}
