//! One temporary directory with all that broker, echo and callers need: certificates, policies, configuration.

use crate::{
    authority::{Authority, Leaf},
    fixtures,
};
use std::path::{Path, PathBuf};
use taskpass_client::{Endpoint, Tls};
use tempfile::TempDir;

/// The trust domain of callers and broker.
pub const TRUST_DOMAIN: &str = "bench.test";
/// The agent that asks.
pub const AGENT: &str = "dev/bench";
/// The resource that it asks for, and that the verifier guards.
pub const RESOURCE: &str = "demo-api";
/// The action that it asks for.
pub const ACTION: &str = "invoice:read";
/// How many policies the broker has.
pub const POLICIES: usize = 1000;

/// The files of one run, gone when it is dropped.
pub struct World {
    dir: TempDir,
    ledger: String,
    authority: Authority,
    /// Who asks for credentials.
    pub agent: Leaf,
    /// Who previews changes of the policies.
    pub operator: Leaf,
    /// Who follows the deny feed.
    pub verifier: Leaf,
}

impl World {
    /// Makes the certificates and writes the files.
    pub fn new() -> anyhow::Result<Self> {
        Self::on("")
    }

    /// The same, with a line of configuration that says where the ledger is.
    pub fn on(ledger: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("taskpass-bench-").tempdir()?;
        let authority = Authority::new()?;
        let agent = authority.svid(&spiffe_id(AGENT))?;
        let operator = authority.svid(&spiffe_id("operator"))?;
        let verifier = authority.svid(&spiffe_id("verifier"))?;
        let server = authority.server()?;
        std::fs::write(dir.path().join("bundle.pem"), authority.pem())?;
        std::fs::write(dir.path().join("server.pem"), &server.certificate)?;
        std::fs::write(dir.path().join("server.key"), &server.key)?;
        taskpass_crypto::SealKey::generate_file(&dir.path().join("seal.key"))?;
        let policies = dir.path().join("policies");
        std::fs::create_dir(&policies)?;
        for (name, text) in fixtures::policies(POLICIES) {
            std::fs::write(policies.join(name), text)?;
        }
        Ok(Self { dir, ledger: ledger.to_owned(), authority, agent, operator, verifier })
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a broker's configuration that keeps its data in `name`, and says where it is.
    pub fn configure(&self, name: &str, api: u16, http: u16) -> anyhow::Result<PathBuf> {
        let text = format!(
            r#"
            trust_domain = "{TRUST_DOMAIN}"
            issuer = "https://taskpass.{TRUST_DOMAIN}"
            listen = {{ api = "127.0.0.1:{api}", http = "127.0.0.1:{http}", socket = "{name}.sock", socket_mode = "0600" }}
            tls = {{ certificate = "server.pem", key = "server.key" }}
            data.dir = "{name}"
            keys.seal = {{ file = "seal.key" }}
            policy.dir = "policies"
            {ledger}
            bundles = [{{ trust_domain = "{TRUST_DOMAIN}", file = "bundle.pem" }}]
            agents = [{{ id = "{AGENT}", owner = "maya@acme.test", selectors = ["spiffe:id:{agent}"] }}]
            operators = [{{ name = "maya", selectors = ["spiffe:id:{operator}"] }}]
            verifiers = [{{ name = "{RESOURCE}", selectors = ["spiffe:id:{verifier}"] }}]

            # One task takes a whole run.
            [limits]
            live_per_task = 10000000
            issued_per_task = 10000000
            tasks_per_agent = 10000000
            "#,
            agent = spiffe_id(AGENT),
            operator = spiffe_id("operator"),
            verifier = spiffe_id("verifier"),
            ledger = self.ledger,
        );
        let path = self.dir.path().join(format!("{name}.toml"));
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// How `who` reaches the server on `port`.
    pub fn endpoint(&self, who: &Leaf, port: u16) -> anyhow::Result<Endpoint> {
        let tls = Tls::new(self.authority.pem()).identity(who.certificate.clone(), who.key.clone());
        Ok(Endpoint::https(&format!("https://127.0.0.1:{port}"), tls)?)
    }
}

fn spiffe_id(path: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/{path}")
}
