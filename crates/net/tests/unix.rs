//! The Unix listener: who is served, and what is done to the file system.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::{
    io::{Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use support::{Server, ask};
use taskpass_net::{Limits, SocketAccess, SocketError, UnixSocket};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::UnixStream,
};

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    (directory, path)
}

#[tokio::test]
async fn a_local_process_is_served_by_what_the_kernel_says() {
    let (_directory, path) = place();
    let server = Server::start(Limits::default()).await;
    server.answer(server.acceptor.unix(UnixSocket::bind(&path, SocketAccess::Owner).unwrap()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let line = ask(&mut stream).await.unwrap();
    let expected =
        format!("unix uid={} pid={} exe=/", rustix::process::getuid().as_raw(), std::process::id());
    assert!(line.starts_with(&expected), "{line}");
}

/// The connection outlives its process in a child that inherited it; the identity does not.
#[tokio::test]
async fn an_inherited_connection_is_killed() {
    let (_directory, path) = place();
    let server =
        Server::start(Limits { reattest_after: Duration::from_millis(20), ..Limits::default() }).await;
    server.answer(server.acceptor.unix(UnixSocket::bind(&path, SocketAccess::Owner).unwrap()));
    let mut child =
        tokio::process::Command::from(client(&path, true)).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(child.wait().await.unwrap().success());
    server.clock.advance(Duration::from_secs(1));
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push_str(&line);
    }
    assert!(said.ends_with("the heir sees []"), "{said}");
}

const CONNECT_TO: &str = "TASKPASS_TEST_CONNECT_TO";
const HAND_ON: &str = "TASKPASS_TEST_HAND_ON";

/// This very program as a client of `socket`, in a process of its own.
fn client(socket: &Path, hand_on: bool) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "connect_and_end", "--nocapture"]).env(CONNECT_TO, socket);
    if hand_on {
        command.env(HAND_ON, "1");
    }
    command
}

/// Not a test of its own but what [`client`] runs: connects and ends, if told so only after it was answered and with a
/// child that has the connection.
#[test]
#[expect(clippy::zombie_processes, reason = "the child is meant to outlive this process")]
fn connect_and_end() {
    let Some(socket) = std::env::var_os(CONNECT_TO) else { return };
    let mut connection = std::os::unix::net::UnixStream::connect(socket).unwrap();
    if std::env::var_os(HAND_ON).is_some() {
        connection.write_all(b"?").unwrap();
        assert!(connection.read(&mut [0; 4096]).unwrap() > 0);
        let heir = ["-c", "echo \"the heir sees [$(cat)]\""];
        Command::new("sh").args(heir).stdin(OwnedFd::from(connection)).spawn().unwrap();
    }
}

#[tokio::test]
async fn the_file_has_the_mode_and_goes_with_the_socket() {
    for (access, mode) in [(SocketAccess::Group, 0o660), (SocketAccess::Owner, 0o600)] {
        let (_directory, path) = place();
        let socket = UnixSocket::bind(&path, access).unwrap();
        assert_eq!(std::fs::metadata(socket.path()).unwrap().permissions().mode() & 0o7777, mode);
        drop(socket);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn another_file_in_its_place_is_not_removed() {
    let (_directory, path) = place();
    let socket = UnixSocket::bind(&path, SocketAccess::Owner).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "not ours").unwrap();
    drop(socket);
    assert!(path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_used_one_is_not() {
    let (_directory, path) = place();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the standard library leaves the file");
    let socket = UnixSocket::bind(&path, SocketAccess::Owner).unwrap();
    assert!(matches!(UnixSocket::bind(&path, SocketAccess::Owner), Err(SocketError::InUse(_))));
    drop(socket);
}

#[tokio::test]
async fn what_is_not_a_socket_is_left_alone() {
    let (directory, path) = place();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(UnixSocket::bind(&path, SocketAccess::Owner), Err(SocketError::Foreign(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

    let link = directory.path().join("link.sock");
    drop(std::os::unix::net::UnixListener::bind(directory.path().join("target.sock")).unwrap());
    symlink(directory.path().join("target.sock"), &link).unwrap();
    assert!(matches!(UnixSocket::bind(&link, SocketAccess::Owner), Err(SocketError::Foreign(_))));
}

#[tokio::test]
async fn a_directory_that_others_can_change_is_refused() {
    let (directory, path) = place();
    for (mode, good) in
        [(0o700, true), (0o750, true), (0o755, true), (0o1777, true), (0o770, false), (0o777, false)]
    {
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
        let bound = UnixSocket::bind(&path, SocketAccess::Owner);
        assert_eq!(bound.is_ok(), good, "{mode:o}");
        assert!(good || matches!(bound, Err(SocketError::UnsafeDirectory(_))), "{mode:o}");
    }
    let missing = directory.path().join("missing/broker.sock");
    assert!(matches!(UnixSocket::bind(missing, SocketAccess::Owner), Err(SocketError::Io { .. })));
}

#[tokio::test]
async fn a_caller_that_is_gone_before_it_is_accepted_does_not_stop_the_listener() {
    let (_directory, path) = place();
    let server = Server::start(Limits::default()).await;
    let socket = UnixSocket::bind(&path, SocketAccess::Owner).unwrap();
    assert!(client(&path, false).status().unwrap().success());
    server.answer(server.acceptor.unix(socket));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert!(ask(&mut stream).await.unwrap().starts_with("unix uid="));
}
