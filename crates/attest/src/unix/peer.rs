//! The kernel's word about the other end of a Unix socket.

use super::process::{Process, ticks_since_boot};
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use std::{fmt, io, os::fd::OwnedFd, sync::Arc};
use taskpass_types::{Reason, Refusal};
use tokio::net::UnixStream;

/// The process that connected a Unix socket: its user and group at that moment, and a handle on it.
#[derive(Clone)]
pub struct UnixPeer {
    uid: u32,
    gid: u32,
    process: Arc<Process>,
}

impl UnixPeer {
    /// Reads the peer of a stream; call it right after `accept`. Refuses when the process is gone already or lives
    /// in a pid namespace that cannot be seen from here.
    pub fn from_stream(stream: &UnixStream) -> Result<Self, Refusal> {
        let accepted = ticks_since_boot();
        let credentials = stream.peer_cred().map_err(unreadable)?;
        let pid =
            credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0).ok_or_else(
                || {
                    Refusal::new(
                        Reason::AttestationInvalid,
                        "the caller's process cannot be seen from the broker's pid namespace",
                    )
                    .fix("run the broker in the host's pid namespace, or attest with an X.509-SVID")
                },
            )?;
        let process = match pidfd(stream) {
            Ok(Some(pidfd)) => Process::of_pidfd(pid, pidfd),
            Ok(None) => Process::of_pid(pid, accepted),
            Err(error) => Err(error),
        };
        let process = process.map_err(|error| gone(pid).because(error))?;
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), process: Arc::new(process) })
    }

    /// The user that connected.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The primary group of the user that connected.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// The process id, in the broker's namespace. For people to read: it names nobody once the process has ended.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether the process that connected still runs; another one with the same pid does not count.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }
}

impl fmt::Debug for UnixPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid={} gid={} pid={}", self.uid, self.gid, self.pid())
    }
}

/// The kernel's handle on the process that connected; `None` where the kernel (before 6.5) has none.
fn pidfd(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    match getsockopt(stream, PeerPidfd) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(nix::Error::ENOPROTOOPT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn unreadable(error: io::Error) -> Refusal {
    Refusal::new(Reason::AttestationInvalid, "the kernel does not say who connected").because(error)
}

/// The refusal of a caller whose process has ended.
pub(super) fn gone(pid: u32) -> Refusal {
    Refusal::new(Reason::AttestationExpired, format!("the process that connected, pid `{pid}`, has ended"))
        .fix("connect from the process that uses the credentials")
        .with("pid", pid)
}
