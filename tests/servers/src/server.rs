//! One server process: started, spoken to, paused, killed, started again on the same files.
//!
//! The harness talks to it through a Unix socket in the server's directory, so that an answer can only come from this
//! very process, also when its port speaks TLS. Signals go to a child that is still unreaped, so never to a stranger.

use crate::{
    Kind, Options, Reply,
    options::{SOCKET, USERS},
    program,
    resp::Connection,
    tls, until, wait,
};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::net::UnixStream;

const FILE: &str = "server.conf";
const LOG: &str = "server.log";
/// How long a server may take to answer one command.
const ANSWER: Duration = Duration::from_secs(10);

/// A running server, killed when dropped.
pub struct Server {
    kind: Kind,
    port: u16,
    sentinel: bool,
    login: Option<(String, String)>,
    process: Mutex<Option<Process>>,
    directory: TempDir,
}

struct Process {
    child: Child,
    paused: bool,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When the program is missing or refuses to run; the message ends with its log.
    pub async fn start(kind: Kind, options: Options) -> Self {
        let port = if options.port == 0 { wait::free_port() } else { options.port };
        let directory = tempfile::Builder::new().prefix("taskpass-server-").tempdir().unwrap();
        if options.tls {
            tls::write(directory.path());
        }
        if let Some(users) = &options.users_acl {
            fs::write(directory.path().join(USERS), users).unwrap();
        }
        Self::launch(kind, port, directory, &options.file(port), options.login, false).await
    }

    /// Starts a Sentinel with this configuration file.
    pub(crate) async fn start_sentinel(kind: Kind, port: u16, file: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("taskpass-sentinel-").tempdir().unwrap();
        Self::launch(kind, port, directory, file, None, true).await
    }

    async fn launch(
        kind: Kind,
        port: u16,
        directory: TempDir,
        file: &str,
        login: Option<(String, String)>,
        sentinel: bool,
    ) -> Self {
        fs::write(directory.path().join(FILE), file).unwrap();
        let server = Self { kind, port, sentinel, login, process: Mutex::new(None), directory };
        server.spawn();
        server.ready().await;
        server
    }

    fn spawn(&self) {
        let log = fs::File::options().create(true).append(true).open(self.directory().join(LOG)).unwrap();
        let child = Command::new(program(self.kind))
            .arg(FILE)
            .args(self.sentinel.then_some("--sentinel"))
            .current_dir(self.directory())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.process.lock() = Some(Process { child, paused: false });
    }

    /// Its make.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its port on 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The authority that signed its certificate, when it was started with TLS.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.directory().join(tls::CA)
    }

    /// What it logged since it was first started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory().join(LOG)).unwrap_or_default()
    }

    /// The identifier of its process.
    ///
    /// # Panics
    ///
    /// When it was killed or stopped.
    pub fn pid(&self) -> u32 {
        self.process.lock().as_ref().expect("the server is not running").child.id()
    }

    /// Whether it can answer: neither killed, stopped nor paused, and it did not end by itself.
    pub fn answers(&self) -> bool {
        self.process.lock().as_mut().is_some_and(|process| !process.paused && process.ended().is_none())
    }

    /// Kills it with SIGKILL and waits until it is gone. Nothing happens when it was not running.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().take() {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
    }

    /// Asks it to end with SIGTERM, also when paused, and waits until it is gone.
    pub async fn stop(&self) {
        let what = format!("{} at port {} to stop", self.kind, self.port);
        // Asked again and again: a server that is writing its first append-only file refuses.
        wait::until_true(&what, || async { self.process.lock().as_mut().is_none_or(Process::stopped) }).await;
        *self.process.lock() = None;
    }

    /// Stops its clock with SIGSTOP: connections stay, nothing is answered. Returns when it stands still.
    pub fn pause(&self) {
        if let Some(process) = &mut *self.process.lock() {
            process.signal(Signal::STOP);
            waitid(WaitId::Pid(process.pid()), WaitIdOptions::STOPPED).unwrap();
            process.paused = true;
        }
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        if let Some(process) = &mut *self.process.lock() {
            process.signal(Signal::CONT);
            process.paused = false;
        }
    }

    /// Starts it again on the same port and the same files, after stopping it if it still runs, and waits until it
    /// answers.
    pub async fn restart(&self) {
        self.stop().await;
        self.spawn();
        self.ready().await;
    }

    /// Waits until it has loaded its data and answers, if only that one must log in.
    ///
    /// # Panics
    ///
    /// When its process ended, or after a deadline.
    pub async fn ready(&self) {
        let what = format!("{} at port {} to answer", self.kind, self.port);
        wait::until_true(&what, || async {
            let ended = self.process.lock().as_mut().and_then(Process::ended);
            if let Some(status) = ended {
                panic!("{} at port {} ended with {status}; its log:\n{}", self.kind, self.port, self.log());
            }
            match self.try_command(&["PING"]).await {
                Ok(Reply::Text(text)) => text == "PONG",
                Ok(Reply::Error(error)) => error.starts_with("NOAUTH") || error.starts_with("NOPERM"),
                _ => false,
            }
        })
        .await;
    }

    /// Sends one command on a connection of its own, logged in as [`Options::login`] says.
    ///
    /// # Panics
    ///
    /// When there is no answer; [`try_command`](Self::try_command) returns that.
    pub async fn command(&self, arguments: &[impl AsRef<[u8]>]) -> Reply {
        self.answer(self.try_command(arguments).await)
    }

    /// Sends one command as this user. A refused login is the reply.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub async fn command_as(&self, user: &str, password: &str, arguments: &[impl AsRef<[u8]>]) -> Reply {
        self.answer(self.exchange(Some((user, password)), arguments).await)
    }

    /// Like [`command`](Self::command).
    ///
    /// # Errors
    ///
    /// When nobody listens, the connection broke, or there was no answer within 10 s.
    pub async fn try_command(&self, arguments: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        let login = self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        self.exchange(login, arguments).await
    }

    async fn exchange(
        &self,
        login: Option<(&str, &str)>,
        arguments: &[impl AsRef<[u8]>],
    ) -> io::Result<Reply> {
        let exchange = async {
            let stream = UnixStream::connect(self.directory().join(SOCKET)).await?;
            let mut connection = Connection::new(stream);
            if let Some((user, password)) = login
                && let refused @ Reply::Error(_) = connection.call(&["AUTH", user, password]).await?
            {
                return Ok(refused);
            }
            connection.call(arguments).await
        };
        tokio::time::timeout(ANSWER, exchange).await?
    }

    #[track_caller]
    fn answer(&self, answer: io::Result<Reply>) -> Reply {
        answer.unwrap_or_else(|error| panic!("{} at port {} did not answer: {error}", self.kind, self.port))
    }

    /// A section of `INFO`, by its fields; empty when it does not answer.
    pub async fn info(&self, section: &str) -> HashMap<String, String> {
        let text = self.try_command(&["INFO", section]).await.ok().and_then(|reply| reply.text());
        let text = text.unwrap_or_default();
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Waits until this replica of it has a working link and, on its disk too, all that was written so far.
    pub async fn in_sync(&self, replica: &Self) {
        let what = format!("the replica at port {} to have all of port {}", replica.port, self.port);
        wait::until_true(&what, || async {
            let (here, there) = (self.info("replication").await, replica.info("replication").await);
            there.get("master_link_status").is_some_and(|status| status == "up")
                && here.contains_key("master_repl_offset")
                && here.get("master_repl_offset") == there.get("slave_repl_offset")
                && replica.is_on_disk().await
        })
        .await;
    }

    /// Whether no append-only file is being written anew. After a full synchronisation one is, and a replica that is
    /// killed meanwhile comes back without its data.
    async fn is_on_disk(&self) -> bool {
        let info = self.info("persistence").await;
        ["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
            .iter()
            .all(|field| info.get(*field).is_some_and(|value| value == "0"))
    }

    /// Waits until it is a primary.
    pub(crate) async fn is_primary(&self) {
        let what = format!("port {} to be a primary", self.port);
        until(&what, || async {
            self.info("replication").await.get("role").filter(|role| *role == "master").cloned()
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        // A child that just ended is a zombie until it is waited for, and takes signals as before.
        kill_process(self.pid(), signal).unwrap();
    }

    /// Asks it to end; whether it has.
    fn stopped(&mut self) -> bool {
        self.ended().is_some() || {
            self.signal(Signal::TERM);
            self.signal(Signal::CONT);
            false
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}
