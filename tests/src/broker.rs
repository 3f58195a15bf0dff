//! The real broker, in a process of its own.

use crate::{World, program, until};
use parking_lot::Mutex;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
};
use taskpass_cli::sandbox::{Answer, Caller};

/// A broker that serves. Killed when it is dropped.
pub struct Broker {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Broker {
    /// Starts one in `world` and waits until it is ready.
    ///
    /// # Panics
    /// When it ends, or never is; with what it said.
    pub async fn start(world: &World) -> Self {
        match Self::spawn(world, "info").ready(world).await {
            Ok(broker) => broker,
            Err((status, log)) => panic!("the broker ended with {status}:\n{log}"),
        }
    }

    /// Starts one that logs everything that it can about itself.
    ///
    /// # Panics
    /// As [`Broker::start`].
    pub async fn start_talkative(world: &World) -> Self {
        match Self::spawn(world, "trace,h2=debug").ready(world).await {
            Ok(broker) => broker,
            Err((status, log)) => panic!("the broker ended with {status}:\n{log}"),
        }
    }

    /// Starts one that may not be able to.
    ///
    /// # Errors
    /// How it ended and what it said.
    pub async fn try_start(world: &World) -> Result<Self, (ExitStatus, String)> {
        Self::spawn(world, "info").ready(world).await
    }

    /// Starts one that cannot serve, and gives how it ended and what it said.
    ///
    /// # Panics
    /// When it serves.
    pub async fn start_refused(world: &World) -> (ExitStatus, String) {
        match Self::spawn(world, "info").ready(world).await {
            Ok(broker) => panic!("the broker serves:\n{}", broker.log()),
            Err(ended) => ended,
        }
    }

    /// Starts one with more in its environment, which it may not like.
    ///
    /// # Errors
    /// How it ended and what it said.
    pub async fn start_in(world: &World, environment: &[(&str, &str)]) -> Result<Self, (ExitStatus, String)> {
        Self::spawn_in(world, "info", environment).ready(world).await
    }

    async fn ready(mut self, world: &World) -> Result<Self, (ExitStatus, String)> {
        let ended = until("the broker is ready or gone", async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(Some(status));
            }
            let answer = Caller::plain(world.http()).await.ok()?.get("/readyz", None).await.ok()?;
            answer.is_ok().then_some(None)
        })
        .await;
        match ended {
            None => Ok(self),
            Some(status) => Err((status, self.full_log().await)),
        }
    }

    fn spawn(world: &World, log: &str) -> Self {
        Self::spawn_in(world, log, &[])
    }

    /// By way of a shell that ignores `SIGXFSZ`, so that a file that may not grow is an error and not a death.
    fn spawn_in(world: &World, log: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" serve --config \"$1\""])
            .arg(program::path())
            .arg(world.path("taskpass.toml"))
            .env_clear()
            .env("TASKPASS_LOG", log)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (child.stderr.take().unwrap(), log.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = kept.lock();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log }
    }

    /// What it has said up to now, on standard error.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Everything that it said, once it has ended.
    async fn full_log(self) -> String {
        // The reader holds the other handle until the pipe ends.
        until("the broker has said everything", async || (Arc::strong_count(&self.log) == 1).then_some(()))
            .await;
        self.log()
    }

    /// Its process id.
    ///
    /// # Panics
    /// Never: process ids are positive.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Asks it to stop, and gives how it ended and what it had said.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(mut self) -> (ExitStatus, String) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let status = until("the broker stops", async || self.child.try_wait().unwrap()).await;
        (status, self.full_log().await)
    }

    /// Ends it at once, in the middle of whatever it does (`SIGKILL`).
    ///
    /// # Panics
    /// When it has ended before.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets no file of it grow beyond `bytes`, which for a writer is what a full disk is; `None`: lifts the limit.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn limit_files(&self, bytes: Option<u64>) {
        prlimit(Some(self.pid()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }

    /// What it counted, in Prometheus' text format.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self, world: &World) -> String {
        get(world, "/metrics").await
    }

    /// Its JWKS.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn jwks(&self, world: &World) -> String {
        get(world, "/.well-known/jwks.json").await
    }

    /// Its certificate authorities, in PEM.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn ca_pem(&self, world: &World) -> String {
        get(world, "/ca.pem").await
    }

    /// What anyone may read at `path`, whatever the status.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn read(&self, world: &World, path: &str) -> Answer {
        Caller::plain(world.http()).await.unwrap().get(path, None).await.unwrap()
    }

    /// Checks that nothing suffered: it grants, ends, says that it is ready, and its audit log is whole.
    ///
    /// # Panics
    /// When something did; with what the broker said.
    pub async fn assert_well(&self, world: &World) {
        let answer = Caller::plain(world.http()).await.unwrap().get("/readyz", None).await.unwrap();
        assert!(answer.is_ok(), "{answer:?}\n{}", self.log());
        let agent = world.connect("dev/bot").await;
        let task = agent.start_task(crate::start()).await.unwrap();
        agent.issue(crate::token(&task.id)).await.unwrap();
        agent.complete(&task.id).await.unwrap();
        world.assert_intact();
    }
}

impl Drop for Broker {
    #[expect(clippy::print_stderr, reason = "what it said is what a failed test is explained by")]
    fn drop(&mut self) {
        // It may have ended already; in a test that fails, that is not the news.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("the broker had said:\n{}", self.log());
        }
    }
}

async fn get(world: &World, path: &str) -> String {
    let answer = Caller::plain(world.http()).await.unwrap().get(path, None).await.unwrap();
    assert!(answer.is_ok(), "{path}: {answer:?}");
    answer.text
}
