//! Callers on this machine: the kernel names the process at the other end of a Unix socket.
//!
//! What it proves: the user and group of the process that connected, and which file that process executes now. What it
//! cannot prove: that nobody else speaks through the connection. A process may hand its socket on, and every process
//! of the same user may trace or impersonate another, so `unix:path` and `unix:sha256` tell programs of one user apart
//! only as long as these programs do not attack each other; `unix:uid` is the boundary that the kernel defends.
//!
//! Invariants: every fact is read through a handle on the process that connected, so a recycled pid never poses as it;
//! once that process is gone its connection attests no more.

mod attestor;
mod executable;
mod peer;
mod process;

pub use attestor::{UNIX_IDENTITY_LIFE, UnixAttestor};
pub use peer::UnixPeer;
