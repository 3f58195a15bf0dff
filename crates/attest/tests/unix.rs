//! The Unix attestor against real sockets and real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use taskpass_attest::{
    Attestor, Evidence, Identity, Selector,
    conformance::{self, Subject},
    unix::{UNIX_IDENTITY_LIFE, UnixAttestor, UnixPeer},
};
use taskpass_types::{Reason, Timestamp};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct Socket {
    directory: TempDir,
    listener: UnixListener,
}

impl Socket {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        Self { directory, listener }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// A connection of this very process.
    async fn own(&self) -> (UnixStream, UnixPeer) {
        let client = UnixStream::connect(self.path()).await.unwrap();
        let (server, _) = self.listener.accept().await.unwrap();
        (client, UnixPeer::from_stream(&server).unwrap())
    }

    /// A connection of a child that runs `program`, a copy of or a link to Python.
    async fn child(&self, program: &Path) -> (Child, UnixStream) {
        let script = format!(
            "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect({:?}); sys.stdin.read()",
            self.path()
        );
        let child = Command::new(program).args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        (child, self.listener.accept().await.unwrap().0)
    }
}

fn python() -> PathBuf {
    std::fs::canonicalize("/usr/bin/python3").expect("these tests use python3 as a client")
}

fn sha256(path: &Path) -> String {
    digest(&SHA256, &std::fs::read(path).unwrap()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn has(identity: &Identity, selector: &str) -> bool {
    identity.selectors.contains(&Selector::new(selector).unwrap())
}

#[tokio::test]
async fn keeps_the_contract() {
    let socket = Socket::new();
    let (_client, peer) = socket.own().await;
    conformance::check(Subject {
        attestor: &UnixAttestor::new(),
        good: Evidence::Unix(peer),
        foreign: Evidence::X509(vec![CertificateDer::from(vec![0x30, 0])]),
        now: NOW,
        ends_by_time: false,
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn names_the_user_and_the_program_of_this_process() {
    let socket = Socket::new();
    let (_client, peer) = socket.own().await;
    assert_eq!(peer.pid(), std::process::id());
    let identity = UnixAttestor::new().attest(&Evidence::Unix(peer), NOW).await.unwrap();
    let program = std::env::current_exe().unwrap().canonicalize().unwrap();
    assert!(has(&identity, &format!("unix:uid:{}", rustix::process::getuid().as_raw())));
    assert!(has(&identity, &format!("unix:gid:{}", rustix::process::getgid().as_raw())));
    assert!(has(&identity, &format!("unix:path:{}", program.display())));
    assert!(has(&identity, &format!("unix:sha256:{}", sha256(&program))));
    assert_eq!(identity.expires_at, NOW.plus(UNIX_IDENTITY_LIFE));
    assert!(identity.description.starts_with("unix uid="), "{}", identity.description);
}

#[tokio::test]
async fn a_child_is_known_by_its_own_program_and_dies_with_it() {
    let socket = Socket::new();
    let (mut child, stream) = socket.child(&python()).await;
    let peer = UnixPeer::from_stream(&stream).unwrap();
    assert_eq!(peer.pid(), child.id());
    let (attestor, evidence) = (UnixAttestor::new(), Evidence::Unix(peer.clone()));
    let identity = attestor.attest(&evidence, NOW).await.unwrap();
    assert!(has(&identity, &format!("unix:path:{}", python().display())));

    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!peer.is_alive());
    let refusal = attestor.attest(&evidence, NOW).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::AttestationExpired, "{refusal:?}");
}

#[tokio::test]
async fn a_caller_that_ended_before_it_was_looked_at_is_refused() {
    let socket = Socket::new();
    let (mut child, stream) = socket.child(&python()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let refusal = UnixPeer::from_stream(&stream).unwrap_err();
    assert_eq!(refusal.reason(), Reason::AttestationExpired, "{refusal:?}");
}

/// The socket of a process that has ended lives on in its child: the child does not inherit the identity.
#[tokio::test]
async fn a_socket_passed_on_is_not_the_identity_of_its_heir() {
    let socket = Socket::new();
    let script = format!(
        "import os,socket,sys; s=socket.socket(socket.AF_UNIX); s.connect({:?}); s.recv(1)\nif os.fork() == 0: sys.stdin.read()",
        socket.path()
    );
    let mut parent = Command::new(python()).args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let (mut stream, _) = socket.listener.accept().await.unwrap();
    let peer = UnixPeer::from_stream(&stream).unwrap();
    assert!(peer.is_alive());
    // It forks when told to, and ends; its child keeps the socket open until its standard input ends.
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"x").await.unwrap();
    let heir = parent.stdin.take();
    parent.wait().unwrap();
    assert!(!peer.is_alive());
    let refusal = UnixAttestor::new().attest(&Evidence::Unix(peer), NOW).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::AttestationExpired);
    drop(heir);
}

#[tokio::test]
async fn a_program_that_was_replaced_while_it_ran_is_refused() {
    let socket = Socket::new();
    let program = socket.directory.path().join("bot");
    std::fs::copy(python(), &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let (mut child, stream) = socket.child(&program).await;
    let evidence = Evidence::Unix(UnixPeer::from_stream(&stream).unwrap());
    let attestor = UnixAttestor::new();
    let identity = attestor.attest(&evidence, NOW).await.unwrap();
    assert!(has(&identity, &format!("unix:path:{}", program.display())));

    std::fs::remove_file(&program).unwrap();
    std::fs::copy("/bin/true", &program).unwrap();
    let refusal = attestor.attest(&evidence, NOW).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::AttestationInvalid);
    assert!(refusal.message().contains("replaced"), "{refusal:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}
