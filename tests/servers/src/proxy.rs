//! A cable that can be cut: a TCP proxy in front of a port of 127.0.0.1.
//!
//! Cutting is exact: when [`Proxy::cut`], one of its halves or [`Proxy::drop_connections`] has returned, not one more
//! byte passes that way, because bytes are written under the lock under which the state changes. Each direction of a
//! connection holds at most one buffer; what is sent while the cable is cut stays with its sender, and arrives after
//! healing.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const BUFFER: usize = 16 * 1024;

/// Which way bytes go.
#[derive(Clone, Copy)]
enum Way {
    ToTarget,
    FromTarget,
}

/// A TCP proxy on a free port of 127.0.0.1; dropping it closes its connections.
pub struct Proxy {
    port: u16,
    cable: Arc<watch::Sender<Cable>>,
    stop: CancellationToken,
}

struct Cable {
    target: SocketAddr,
    cut_to_target: bool,
    cut_from_target: bool,
    delay: Duration,
    /// Cancelled when the connections that exist now are to be dropped.
    connections: CancellationToken,
}

impl Proxy {
    /// Listens, and connects to the target anew for every connection it accepts.
    pub async fn start(target_port: u16) -> Self {
        Self::start_to((Ipv4Addr::LOCALHOST, target_port).into()).await
    }

    /// The same, to any address.
    pub async fn start_to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let cable = Cable {
            target,
            cut_to_target: false,
            cut_from_target: false,
            delay: Duration::ZERO,
            connections: stop.child_token(),
        };
        let cable = Arc::new(watch::Sender::new(cable));
        let tasks = TaskTracker::new();
        let accepting = accept(listener, Arc::clone(&cable), tasks.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self { port, cable, stop }
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes it a black hole: connections stay and new ones are accepted, but no byte passes.
    pub fn cut(&self) {
        self.cable.send_modify(|cable| (cable.cut_to_target, cable.cut_from_target) = (true, true));
    }

    /// Lets no byte pass to the target: what it already has it still answers.
    pub fn cut_to_target(&self) {
        self.cable.send_modify(|cable| cable.cut_to_target = true);
    }

    /// Lets no byte pass from the target: it does what it is told, and nobody learns of it.
    pub fn cut_from_target(&self) {
        self.cable.send_modify(|cable| cable.cut_from_target = true);
    }

    /// Undoes every cut; what was sent in between arrives now.
    pub fn heal(&self) {
        self.cable.send_modify(|cable| (cable.cut_to_target, cable.cut_from_target) = (false, false));
    }

    /// Closes all connections; new ones are still accepted.
    pub fn drop_connections(&self) {
        let next = self.stop.child_token();
        self.cable.send_modify(|cable| std::mem::replace(&mut cable.connections, next).cancel());
    }

    /// Leads to another port from now on, as an address that moves with the primary does; all connections are closed.
    pub fn lead_to(&self, target_port: u16) {
        self.cable.send_modify(|cable| cable.target = (Ipv4Addr::LOCALHOST, target_port).into());
        self.drop_connections();
    }

    /// Holds what is read from now on for so long, in each direction. At most one buffer of 16 KiB is under way.
    pub fn delay(&self, delay: Duration) {
        self.cable.send_modify(|cable| cable.delay = delay);
    }
}

impl Cable {
    fn is_cut(&self, way: Way) -> bool {
        match way {
            Way::ToTarget => self.cut_to_target,
            Way::FromTarget => self.cut_from_target,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, cable: Arc<watch::Sender<Cable>>, tasks: TaskTracker) {
    while let Ok((client, _)) = listener.accept().await {
        let watched = cable.subscribe();
        let dropped = watched.borrow().connections.clone();
        let line = Line { cable: watched, way: Way::ToTarget, dropped: dropped.clone() };
        tasks.spawn(dropped.run_until_cancelled_owned(carry(client, line)));
    }
}

/// One direction of a connection, and its view of the cable.
#[derive(Clone)]
struct Line {
    cable: watch::Receiver<Cable>,
    way: Way,
    dropped: CancellationToken,
}

async fn carry(client: TcpStream, mut line: Line) -> io::Result<()> {
    line.open().await?;
    let target = line.cable.borrow().target;
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let back = Line { way: Way::FromTarget, ..line.clone() };
    tokio::try_join!(line.pump(from_client, to_server), back.pump(from_server, to_client))?;
    Ok(())
}

impl Line {
    /// Waits until the cable is whole in this direction.
    async fn open(&mut self) -> io::Result<()> {
        let way = self.way;
        self.cable
            .wait_for(|cable| !cable.is_cut(way))
            .await
            .map(drop)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn pump(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = from.read(&mut buffer).await?;
            let delay = self.cable.borrow().delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            self.open().await?;
            if length == 0 {
                return to.shutdown().await;
            }
            self.pass(&buffer[..length], &to).await?;
        }
    }

    async fn pass(&mut self, mut bytes: &[u8], to: &OwnedWriteHalf) -> io::Result<()> {
        while !bytes.is_empty() {
            self.open().await?;
            to.writable().await?;
            let cable = self.cable.borrow();
            if self.dropped.is_cancelled() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if cable.is_cut(self.way) {
                continue;
            }
            match to.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
