//! The Unix attestor against real sockets and real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use std::{
    io::Read as _,
    os::fd::OwnedFd,
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

    /// A connection of a child that runs `program`, which is this one or a copy of it.
    async fn child(&self, program: &Path) -> (Child, UnixStream) {
        let mut command = Command::new(program);
        command.args(["--exact", "client", "--nocapture"]).env(CONNECT_TO, self.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let child = loop {
            match command.spawn() {
                // Another test's child had a copy's file open for an instant, before it became its own program.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                child => break child.unwrap(),
            }
        };
        (child, self.listener.accept().await.unwrap().0)
    }
}

/// Tells [`client`] where to connect.
const CONNECT_TO: &str = "TASKPASS_TEST_CONNECT_TO";

/// Not a test of its own but what the others run as a client, in a process of its own. It ends when its standard input
/// does. When it is told anything, it first hands its connection to a child, and ends at once.
#[test]
fn client() {
    let Some(socket) = std::env::var_os(CONNECT_TO) else { return };
    let mut connection = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let heir = std::thread::spawn(move || {
        if connection.read_exact(&mut [0]).is_ok() {
            Command::new("cat").stdout(OwnedFd::from(connection)).spawn().unwrap();
            std::process::exit(0);
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(heir);
}

fn this_program() -> PathBuf {
    std::env::current_exe().unwrap().canonicalize().unwrap()
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
    let program = this_program();
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
    let program = socket.directory.path().join("bot");
    std::fs::copy(this_program(), &program).unwrap();
    let (mut child, stream) = socket.child(&program).await;
    let peer = UnixPeer::from_stream(&stream).unwrap();
    assert_eq!(peer.pid(), child.id());
    let (attestor, evidence) = (UnixAttestor::new(), Evidence::Unix(peer.clone()));
    let identity = attestor.attest(&evidence, NOW).await.unwrap();
    assert!(has(&identity, &format!("unix:path:{}", program.display())));

    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!peer.is_alive());
    let refusal = attestor.attest(&evidence, NOW).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::AttestationExpired, "{refusal:?}");
}

#[tokio::test]
async fn a_caller_that_ended_before_it_was_looked_at_is_refused() {
    let socket = Socket::new();
    let (mut child, stream) = socket.child(&this_program()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let refusal = UnixPeer::from_stream(&stream).unwrap_err();
    assert_eq!(refusal.reason(), Reason::AttestationExpired, "{refusal:?}");
}

/// The socket of a process that has ended lives on in its child: the child does not inherit the identity.
#[tokio::test]
async fn a_socket_passed_on_is_not_the_identity_of_its_heir() {
    let socket = Socket::new();
    let (mut parent, mut stream) = socket.child(&this_program()).await;
    let peer = UnixPeer::from_stream(&stream).unwrap();
    assert!(peer.is_alive());
    // Told to, it ends; its child keeps the socket open until its standard input ends.
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"x").await.unwrap();
    let heir = parent.stdin.take();
    parent.wait().unwrap();
    assert!(!peer.is_alive());
    let refusal = UnixAttestor::new().attest(&Evidence::Unix(peer), NOW).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::AttestationExpired);
    // It was open all the time, and what the heir is told still goes over it.
    let mut heir = heir.unwrap();
    std::io::Write::write_all(&mut heir, b"still here").unwrap();
    drop(heir);
    let mut said = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut said).await.unwrap();
    assert_eq!(said, "still here");
}

#[tokio::test]
async fn a_program_that_was_replaced_while_it_ran_is_refused() {
    let socket = Socket::new();
    let program = socket.directory.path().join("bot");
    std::fs::copy(this_program(), &program).unwrap();
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
