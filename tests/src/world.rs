//! A directory with all that one broker needs: configuration, policies, keys, bundles; and who vouches for its callers.

use crate::{Authority, Client, Signed};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};
use taskpass_client::{Endpoint, Tls};
use tempfile::TempDir;

/// The policies that are shipped with the demo are what the stories run under.
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/policies/demo");

/// How a world's configuration differs from the usual.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// How tokens are signed.
    pub alg: &'a str,
    /// Tables to append.
    pub more: &'a str,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self { alg: "ES256", more: "" }
    }
}

/// Everything around one broker. Over TCP, `dev/bot` and `dev/rival` are agents, `dev/orphan` is one without an owner,
/// `ops/oncall` is an operator, `platform/scheduler` an orchestrator and `prod/demo-api` a verifier; on the Unix socket
/// whoever runs the test is the agent `dev/maya`, an operator and a verifier.
pub struct World {
    dir: TempDir,
    address: Ipv4Addr,
    api: u16,
    http: u16,
    /// Whose identities the broker believes, and who signed its own certificate.
    pub authority: Arc<Authority>,
    /// Whose it does not.
    pub foreign: Authority,
}

impl World {
    /// The usual one.
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// One with other settings.
    ///
    /// # Panics
    /// When something cannot be written.
    pub fn with(settings: Settings<'_>) -> Self {
        let world = Self::around(Arc::new(Authority::new("acme.test")), settings);
        taskpass_crypto::SealKey::generate_file(&world.path("seal.key")).unwrap();
        world
    }

    /// One for another broker of the same fleet: its own addresses and data; the same authorities, seal key and policies.
    ///
    /// # Panics
    /// When something cannot be written.
    pub fn beside(&self, settings: Settings<'_>) -> Self {
        let world = Self::around(self.authority.clone(), settings);
        fs::copy(self.path("seal.key"), world.path("seal.key")).unwrap();
        world
    }

    fn around(authority: Arc<Authority>, settings: Settings<'_>) -> Self {
        let dir = tempfile::Builder::new().prefix("taskpass-e2e-").tempdir().unwrap();
        let address = own_address();
        let world = Self {
            dir,
            address,
            api: free_port(address),
            http: free_port(address),
            authority,
            foreign: Authority::new("foreign.test"),
        };
        let server = world.authority.server(address);
        world.write("server.pem", &server.chain_pem);
        world.write("server.key", &server.key_pem);
        world.write("bundle.pem", &world.authority.pem());
        fs::create_dir(world.path("policies")).unwrap();
        for policy in fs::read_dir(POLICIES).unwrap() {
            let policy = policy.unwrap();
            if policy.path().extension().is_none_or(|extension| extension != "cedar") {
                continue;
            }
            fs::copy(policy.path(), world.path("policies").join(policy.file_name())).unwrap();
        }
        world.write("taskpass.toml", &world.config_text(settings));
        world
    }

    /// The configuration as a text.
    pub fn config_text(&self, Settings { alg, more }: Settings<'_>) -> String {
        let uid = fs::metadata(self.dir.path()).unwrap().uid();
        let Self { address, api, http, .. } = self;
        let agent = |path: &str, owner: &str| {
            format!(
                "[[agents]]\nid = \"{path}\"\n{owner}\nselectors = [\"spiffe:id:spiffe://acme.test/{path}\"]\n"
            )
        };
        let role = |list: &str, path: &str| {
            format!("[[{list}]]\nname = \"{path}\"\nselectors = [\"spiffe:id:spiffe://acme.test/{path}\"]\n")
        };
        let owner = "owner = \"maya@acme.test\"";
        [
            format!(
                r#"
trust_domain = "acme.test"
issuer = "https://taskpass.acme.test"
listen = {{ api = "{address}:{api}", http = "{address}:{http}", socket = "api.sock", socket_mode = "0600" }}
tls = {{ certificate = "server.pem", key = "server.key" }}
data = {{ dir = "data" }}
keys = {{ seal = {{ file = "seal.key" }}, alg = "{alg}" }}
policy = {{ dir = "policies", poll = "50ms" }}
bundles = [{{ trust_domain = "acme.test", file = "bundle.pem" }}]
[[agents]]
id = "dev/maya"
{owner}
selectors = ["unix:uid:{uid}"]
[[operators]]
name = "maya"
selectors = ["unix:uid:{uid}"]
[[verifiers]]
name = "local"
selectors = ["unix:uid:{uid}"]
"#
            ),
            agent("dev/bot", owner),
            agent("dev/rival", owner),
            agent("dev/orphan", ""),
            role("operators", "ops/oncall"),
            role("orchestrators", "platform/scheduler"),
            role("verifiers", "prod/demo-api"),
            more.to_owned(),
        ]
        .concat()
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the audit log is.
    pub fn audit(&self) -> PathBuf {
        self.path("data/audit")
    }

    /// Puts a file into the directory, whole or not at all.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        fs::write(file.path(), text).unwrap();
        file.persist(self.path(name)).unwrap();
    }

    /// The loopback address that is this world's alone.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where gRPC over mTLS is.
    pub fn api(&self) -> SocketAddr {
        (self.address, self.api).into()
    }

    /// What anyone may read.
    pub fn http(&self) -> SocketAddr {
        (self.address, self.http).into()
    }

    /// How `identity` reaches the broker over TCP.
    ///
    /// # Panics
    /// Never, for an address of ours is one.
    pub fn endpoint(&self, identity: &Signed) -> Endpoint {
        self.endpoint_at(identity, self.api())
    }

    /// The same, by way of another address of this machine: that of a proxy.
    ///
    /// # Panics
    /// Never, for an address is one.
    pub fn endpoint_at(&self, identity: &Signed, address: SocketAddr) -> Endpoint {
        let tls =
            Tls::new(self.authority.pem()).identity(identity.chain_pem.clone(), identity.key_pem.clone());
        Endpoint::https(&format!("https://{address}"), tls).unwrap()
    }

    /// How the tester reaches it.
    pub fn local(&self) -> Endpoint {
        Endpoint::unix(self.path("api.sock"))
    }

    /// Connects with an X.509-SVID for `path`.
    pub async fn connect(&self, path: &str) -> Client {
        Client::connect(&self.endpoint(&self.authority.svid(path))).await
    }

    /// Connects on the Unix socket.
    pub async fn connect_local(&self) -> Client {
        Client::connect(&self.local()).await
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A loopback address that no other world uses, so that a port stays ours while the broker is down.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let world = NEXT.fetch_add(1, Ordering::Relaxed) % 250;
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, u8::try_from(world).unwrap() + 1, high, low)
}

fn free_port(address: Ipv4Addr) -> u16 {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
}
