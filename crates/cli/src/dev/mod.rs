//! `taskpass dev`: a whole broker for this user on this machine, with something to protect, in one command.

use crate::{
    compose::Server,
    context::{self, Context as Remembered},
    sandbox::{Caller, Invoices, Member, PEOPLE, Ports, RESOURCE, Sandbox},
};
use anyhow::Context as _;
use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};
use taskpass_client::{Broker, Endpoint, Tls};

/// The ports that it asks for; a busy one gives way to any free one.
const HTTP: u16 = 7420;
const API: u16 = 7421;
const DEMO: u16 = 7422;
const DEMO_TLS: u16 = 7423;

/// A running sandbox.
pub struct Dev {
    sandbox: Sandbox,
    server: Server,
    invoices: Invoices,
    /// Where others of this user were told to find it.
    remembered: Option<PathBuf>,
    /// Removed at the end unless the directory was named.
    _temporary: Option<tempfile::TempDir>,
}

impl Dev {
    /// Starts everything, in `dir` or in a directory that is removed at the end.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn start(dir: Option<&Path>, lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let temporary = dir.is_none().then(tempfile::tempdir).transpose()?;
        let dir = dir.or(temporary.as_ref().map(tempfile::TempDir::path)).context("no directory")?;
        // Others find the socket by its path, from wherever they are.
        let sandbox = Sandbox::make(&std::path::absolute(dir)?)?;
        let ports = Ports { api: free(API), http: free(HTTP) };
        let server = Server::start(&sandbox.config(&user(&lookup), &Member::alone(ports))?).await?;
        let invoices = invoices(&sandbox, &server).await?;
        let remembered = context::path(&lookup);
        if let Some(path) = &remembered {
            let address = format!("unix:{}", server.addresses.socket.display());
            Remembered { address }
                .write(path)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(Self { sandbox, server, invoices, remembered, _temporary: temporary })
    }

    /// Says where everything is and what to type next.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn banner(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { sandbox, server, invoices, .. } = self;
        let at = &server.addresses;
        writeln!(
            out,
            "taskpass dev {}: loopback only, throw-away keys, NOT for production\n",
            env!("CARGO_PKG_VERSION")
        )?;
        writeln!(out, "  Broker     unix:{}", at.socket.display())?;
        if let Some(api) = at.api {
            writeln!(out, "             https://{api} (gRPC over mTLS)")?;
        }
        writeln!(
            out,
            "  Demo API   http://{}/invoices (a real verifier; without a credential: 401)",
            invoices.http
        )?;
        writeln!(out, "  Policies   {} (edit one: it is in force at once)", sandbox.policies().display())?;
        writeln!(
            out,
            "  People     {} ({}, who approve refunds)",
            sandbox.people().display(),
            PEOPLE.join(" and ")
        )?;
        writeln!(out, "  Keys       http://{}/.well-known/jwks.json", at.http)?;
        writeln!(out, "  Metrics    http://{}/metrics\n", at.http)?;
        writeln!(out, "Try, in another terminal:")?;
        writeln!(out, "  taskpass exec --task \"read invoices\" --resource {RESOURCE}:invoice:read -- \\")?;
        writeln!(
            out,
            "    sh -c 'curl -s -H \"Authorization: Bearer $TASKPASS_TOKEN\" http://{}/invoices'",
            invoices.http
        )?;
        writeln!(out, "  taskpass lease list")?;
        writeln!(out, "  taskpass audit tail")?;
        self.refund(out)?;
        writeln!(
            out,
            "\nCtrl-C stops{}.",
            if self._temporary.is_some() { " and forgets everything" } else { "" }
        )?;
        out.flush()
    }

    /// How to ask for what needs a person, and how to be that person.
    fn refund(&self, out: &mut dyn Write) -> io::Result<()> {
        let (http, people, [noor, _]) = (self.invoices.http, self.sandbox.people(), PEOPLE);
        let Some(api) = self.server.addresses.api else { return Ok(()) };
        writeln!(
            out,
            "  taskpass exec --task \"refund 7302\" --resource {RESOURCE}:invoice:refund --wait-approval 10m -- \\"
        )?;
        writeln!(
            out,
            "    sh -c 'curl -s -H \"Authorization: Bearer $TASKPASS_TOKEN\" -d 7302 http://{http}/refunds'"
        )?;
        writeln!(out, "and in a third, as {noor}, with the id that it waits for:")?;
        let file = |name: &str| people.join(name).display().to_string();
        let (root, certificate, key) =
            (file("root.pem"), file(&format!("{noor}.pem")), file(&format!("{noor}.key")));
        writeln!(out, "  TASKPASS_ADDRESS=https://{api} TASKPASS_CA={root} \\")?;
        writeln!(out, "    TASKPASS_CERT={certificate} TASKPASS_KEY={key} \\\n    taskpass approve ap_…")
    }

    /// Stops everything.
    pub async fn stop(self) {
        if let Some(path) = &self.remembered {
            // Only what was written at the start: another `dev` may have taken its place.
            let ours = format!("unix:{}", self.server.addresses.socket.display());
            if Remembered::read(path).ok().flatten().is_some_and(|context| context.address == ours) {
                drop(std::fs::remove_file(path));
            }
        }
        self.invoices.stop().await;
        self.server.stop().await;
    }
}

async fn invoices(sandbox: &Sandbox, server: &Server) -> anyhow::Result<Invoices> {
    let api = server.addresses.api.context("the broker does not listen for TLS")?;
    let svid = sandbox.authority.svid(&format!("resource/{RESOURCE}"))?;
    let root = sandbox.authority.certificate_pem();
    let tls = Tls::new(root.to_owned()).identity(svid.chain_pem, svid.key_pem);
    let broker = Broker::connect(&Endpoint::https(&format!("https://{api}"), tls)?).await?;
    let ca = Caller::plain(server.addresses.http).await?.get("/ca.pem", None).await?.text;
    let own = sandbox.authority.server()?;
    let clients = [ca.as_str(), root].concat();
    let ports = [free(DEMO), free(DEMO_TLS)];
    Invoices::start(broker.channel(), ports, &clients, (&own.chain_pem, &own.key_pem)).await
}

/// `port` on loopback, or any free one when somebody has it.
fn free(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if TcpListener::bind(wanted).is_ok() { wanted } else { (Ipv4Addr::LOCALHOST, 0).into() }
}

/// The user's name as far as it can be part of an agent's name.
fn user(lookup: &impl Fn(&str) -> Option<String>) -> String {
    let name = lookup("USER").unwrap_or_default().to_lowercase();
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(32).collect();
    if name.is_empty() { "me".to_owned() } else { name }
}
