//! The real `taskpass guard`, in a process of its own, and what stands behind a proxy that asks it.

use crate::{World, program, until};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener as Std},
    path::PathBuf,
    process::Stdio,
};
use taskpass_cli::sandbox::Caller;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Child,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A guard for the demo's resource, heard by the broker of a world as the verifier `local`. Killed when dropped.
pub struct Guard {
    child: Child,
    log: PathBuf,
    /// Where it listens besides: any client certificate is believed on both.
    pub address: SocketAddr,
    /// Its socket.
    pub socket: PathBuf,
}

impl Guard {
    /// Starts one and waits until it answers; whether it is ready is another question.
    ///
    /// # Panics
    /// When it does not.
    pub async fn spawn(world: &World) -> Self {
        let port = Std::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (socket, log) = (world.path("guard.sock"), world.path("guard.log"));
        let places = [format!("unix:{}", socket.display()), address.to_string()];
        let mut command = program(["guard", "--audience", "demo-api", "--listen"]);
        command.arg(&places[0]).arg("--listen").arg(&places[1]);
        command.env("TASKPASS_SOCKET", world.path("api.sock"));
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let guard = Self { child: command.spawn().unwrap(), log, address, socket };
        until("the guard answers", async || guard.answers("/livez").await.then_some(())).await;
        guard
    }

    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    /// When it never is.
    pub async fn start(world: &World) -> Self {
        let guard = Self::spawn(world).await;
        until("the guard is ready", async || guard.answers("/readyz").await.then_some(())).await;
        guard
    }

    /// Whether it says 200 to a path.
    pub async fn answers(&self, path: &str) -> bool {
        self.status(path, None).await == Some(200)
    }

    /// What it says to a path; `None`: it does not answer.
    pub async fn status(&self, path: &str, token: Option<&str>) -> Option<u16> {
        let answer = Caller::plain(self.address).await.ok()?.get(path, token).await.ok()?;
        Some(answer.status)
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop, and waits until it has, well.
    ///
    /// # Panics
    /// When it does not, or ends with an error.
    pub async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = until("the guard stops", async || self.child.try_wait().unwrap()).await;
        assert!(status.success(), "{status}:\n{}", self.log());
        assert!(!self.socket.exists(), "its socket is left");
    }

    /// Ends it at once.
    ///
    /// # Panics
    /// When it has ended.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A server that answers every request with its head, in lower case. It ends when it is dropped.
pub struct Echo {
    /// Where it listens.
    pub address: SocketAddr,
    _work: AbortOnDropHandle<()>,
}

impl Echo {
    /// Starts one.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let work = TaskTracker::new().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n")
                    && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0)
                {}
                let length = head.len();
                let begin =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                head.make_ascii_lowercase();
                // A proxy that hangs up is its own affair.
                let _ = stream.write_all(&[begin.as_bytes(), &head].concat()).await;
            }
        });
        Self { address, _work: AbortOnDropHandle::new(work) }
    }
}
