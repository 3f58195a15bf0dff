//! Everything that `dev` and `demo` need, made in one directory: keys, certificates, policies, a configuration, and a
//! resource server to call. Real parts on throw-away keys; nothing of it is for production.

mod authority;
mod http;
mod invoices;

pub use authority::{Authority, Signed};
pub use http::{Answer, Caller};
pub use invoices::{Invoices, RESOURCE};

use crate::config::{Config, HostPort};
use anyhow::Context;
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};
use taskpass_crypto::SealKey;
use taskpass_types::LeaseId;

/// The trust domain of everything in a sandbox.
pub const TRUST_DOMAIN: &str = "dev.test";

/// The people of a sandbox besides its user, who answers for its agents: those who approve, in group `finance-leads`.
pub const PEOPLE: [&str; 2] = ["noor", "ines"];

/// Where a sandbox listens; port 0 takes any free one.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// gRPC over mTLS.
    pub api: SocketAddr,
    /// What anyone may read.
    pub http: SocketAddr,
}

/// One broker of a sandbox: what it has for itself, and what it may share with others.
#[derive(Clone, Debug)]
pub struct Member {
    /// What the names of its own files begin with; nothing for the first.
    pub prefix: &'static str,
    /// Where it listens.
    pub ports: Ports,
    /// Where its tasks and leases live; `None`: in a file of its own.
    pub ledger: Option<Ledger>,
}

impl Member {
    /// A broker that shares nothing.
    pub fn alone(ports: Ports) -> Self {
        Self { prefix: "", ports, ledger: None }
    }
}

/// A ledger that the brokers of a sandbox share.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The server, Redis or Valkey.
    pub server: HostPort,
    /// Which of the ledgers there.
    pub name: String,
}

impl Ledger {
    /// One that nobody has yet.
    pub fn fresh(server: HostPort) -> Self {
        // The text of an id begins with its random end.
        let id = LeaseId::new().to_string();
        let random: String = id.trim_start_matches(LeaseId::PREFIX).chars().take(10).collect();
        Self { server, name: format!("demo-{random}") }
    }
}

/// A directory with all that a broker needs.
pub struct Sandbox {
    dir: PathBuf,
    /// Who signs the identities and the server certificates of the sandbox.
    pub authority: Authority,
}

impl Sandbox {
    /// Makes what is not there yet in `dir`, so that a named directory can be used again.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn make(dir: &Path) -> anyhow::Result<Self> {
        let make_dir = |path: &Path| {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.with_context(|| format!("cannot make `{}`", path.display()))
        };
        make_dir(dir)?;
        make_dir(&dir.join("policies"))?;
        for (name, text) in taskpass_policy::demo::DEMO {
            let path = dir.join("policies").join(name);
            if !path.exists() {
                fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
            }
        }
        if !dir.join("seal.key").exists() {
            SealKey::generate_file(&dir.join("seal.key"))?;
        }
        // The sandbox's own authority lives as long as this process: identities are made anew at every start.
        let authority = Authority::new(TRUST_DOMAIN)?;
        fs::write(dir.join("bundle.pem"), authority.certificate_pem())?;
        let server = authority.server()?;
        write_private(&dir.join("server.pem"), &server.chain_pem)?;
        write_private(&dir.join("server.key"), &server.key_pem)?;
        let sandbox = Self { dir: dir.to_owned(), authority };
        make_dir(&sandbox.people())?;
        write_private(&sandbox.people().join("root.pem"), sandbox.authority.certificate_pem())?;
        for person in PEOPLE {
            let svid = sandbox.authority.svid(&format!("person/{person}"))?;
            write_private(&sandbox.people().join(format!("{person}.pem")), &svid.chain_pem)?;
            write_private(&sandbox.people().join(format!("{person}.key")), &svid.key_pem)?;
        }
        Ok(sandbox)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory with the policies in force.
    pub fn policies(&self) -> PathBuf {
        self.dir.join("policies")
    }

    /// The directory with what the [`PEOPLE`] prove who they are with: `noor.pem`, `noor.key`, …, and `root.pem`.
    pub fn people(&self) -> PathBuf {
        self.dir.join("people")
    }

    /// The configuration of one of its brokers: the user who runs this is agent `dev/<name>` and operator on the socket,
    /// and answers for all agents; over TCP two agents, an orchestrator, the resource server and the [`PEOPLE`] have
    /// identities of their own.
    ///
    /// # Errors
    /// When the configuration does not load, which a test rules out.
    pub fn config(&self, user: &str, member: &Member) -> anyhow::Result<Config> {
        let Member { prefix, ports, ledger } = member;
        let uid = fs::metadata(&self.dir)?.uid();
        // Known, but without evidence of their own: nobody approves what their own agents ask for.
        let own = format!("  {{ name = \"{user}@{TRUST_DOMAIN}\" }},\n");
        let own = if PEOPLE.contains(&user) { "" } else { own.as_str() };
        let store = ledger.as_ref().map_or_else(String::new, |Ledger { server, name }| {
            format!("store.redis = {{ address = \"{server}\", ledger = \"{name}\" }}\n")
        });
        let people = PEOPLE.map(|person| {
            format!(
                "  {{ name = \"{person}@{TRUST_DOMAIN}\", groups = [\"finance-leads\"], selectors = \
                 [\"spiffe:id:spiffe://{TRUST_DOMAIN}/person/{person}\"] }},\n"
            )
        });
        let text = format!(
            r#"# Made by `taskpass dev`; changes are overwritten at the next start.
trust_domain = "{TRUST_DOMAIN}"
issuer = "http://localhost:{port}"
listen = {{ socket = "{prefix}api.sock", socket_mode = "0600", api = "{api}", http = "{http}" }}
tls = {{ certificate = "server.pem", key = "server.key" }}
data.dir = "{prefix}data"
{store}keys.seal = {{ file = "seal.key" }}
policy = {{ dir = "policies", poll = "50ms" }}

bundles = [{{ trust_domain = "{TRUST_DOMAIN}", file = "bundle.pem" }}]
agents = [
  {{ id = "dev/{user}", owner = "{user}@{TRUST_DOMAIN}", selectors = ["unix:uid:{uid}"] }},
  {{ id = "dev/invoice-bot", owner = "{user}@{TRUST_DOMAIN}", selectors = ["spiffe:id:spiffe://{TRUST_DOMAIN}/agent/invoice-bot"] }},
  {{ id = "dev/report-writer", owner = "{user}@{TRUST_DOMAIN}", selectors = ["spiffe:id:spiffe://{TRUST_DOMAIN}/agent/report-writer"] }},
]
users = [
{own}{people}]
operators = [{{ name = "{user}", selectors = ["unix:uid:{uid}"] }}]
orchestrators = [{{ name = "scheduler", selectors = ["spiffe:id:spiffe://{TRUST_DOMAIN}/orchestrator/scheduler"] }}]
verifiers = [
  {{ name = "{user}", selectors = ["unix:uid:{uid}"] }},
  {{ name = "{RESOURCE}", selectors = ["spiffe:id:spiffe://{TRUST_DOMAIN}/resource/{RESOURCE}"] }},
]
resources = [{{ name = "{RESOURCE}", environment = "dev" }}]
"#,
            port = ports.http.port(),
            api = ports.api,
            http = ports.http,
            people = people.concat(),
        );
        let path = self.dir.join(format!("{prefix}taskpass.toml"));
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Config::load(&path)?)
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = opened.with_context(|| format!("cannot write `{}`", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write `{}`", path.display()))
}
