//! The parts of the demo, set up and taken down.

use super::agent::Agent;
use crate::{
    compose::Server,
    sandbox::{Caller, Invoices, Ports, Sandbox},
};
use anyhow::Context;
use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};
use taskpass_client::{Broker, Endpoint, Tls};

/// Any free loopback port.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Everything that plays.
pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    pub(super) invoices: Invoices,
    /// The orchestrator's connection, over mTLS with an identity of its own.
    pub(super) orchestrator: Broker,
    /// The operator's connection, over the Unix socket.
    pub(super) operator: Broker,
    /// Where agents connect.
    pub(super) api: String,
    server: Server,
    /// Removed at the end unless the directory was named.
    _temporary: Option<tempfile::TempDir>,
}

impl Stage {
    pub(super) async fn set(dir: Option<&Path>) -> anyhow::Result<Self> {
        let temporary = dir.is_none().then(tempfile::tempdir).transpose()?;
        let dir = dir.or(temporary.as_ref().map(tempfile::TempDir::path)).context("no directory")?;
        let sandbox = Sandbox::make(dir)?;
        let server = Server::start(&sandbox.config("maya", Ports { api: ANY, http: ANY })?).await?;
        let api = format!("https://{}", server.addresses.api.context("the broker does not listen for TLS")?);
        let connect = async |path: &str| -> anyhow::Result<Broker> {
            let svid = sandbox.authority.svid(path)?;
            let tls = Tls::new(sandbox.authority.certificate_pem().to_owned())
                .identity(svid.chain_pem, svid.key_pem);
            Ok(Broker::connect(&Endpoint::https(&api, tls)?).await?)
        };
        let orchestrator = connect("orchestrator/scheduler").await?;
        let resource_server = connect("resource/demo-api").await?;
        let operator = Broker::connect(&Endpoint::unix(&server.addresses.socket)).await?;
        let ca = Caller::plain(server.addresses.http).await?.get("/ca.pem", None).await?.text;
        let tls = sandbox.authority.server()?;
        let certificate = (tls.chain_pem.as_str(), tls.key_pem.as_str());
        let clients = [ca.as_str(), sandbox.authority.certificate_pem()].concat();
        let invoices = Invoices::start(resource_server.channel(), [ANY, ANY], &clients, certificate).await?;
        Ok(Self { sandbox, invoices, orchestrator, operator, api, server, _temporary: temporary })
    }

    pub(super) fn introduce(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "taskpass demo: real parts on this machine, throw-away keys\n")?;
        writeln!(out, "   broker     {} (mTLS) and a Unix socket; store and audit log on disk", self.api)?;
        writeln!(out, "   resource   http://{} and https://{}", self.invoices.http, self.invoices.https)?;
        writeln!(out, "   in         {}\n", self.sandbox.dir().display())
    }

    /// Starts an agent in a process of its own.
    pub(super) async fn agent(&self, name: &str, task: &str) -> anyhow::Result<Agent> {
        Agent::start(self, name, task).await
    }

    /// Takes everything down, and checks the audit log that it left.
    pub(super) async fn strike(self) -> anyhow::Result<String> {
        self.invoices.stop().await;
        self.server.stop().await;
        let report = taskpass_audit::verify_dir(&self.sandbox.dir().join("data/audit"), None)?;
        Ok(format!("{} records, chain intact, head {}", report.records, report.head))
    }
}
