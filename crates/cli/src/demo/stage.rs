//! The parts of the demo, set up and taken down.

use super::agent::Agent;
use crate::{
    compose::Server,
    config::Config,
    sandbox::{Caller, Invoices, Ledger, Member, Ports, RESOURCE, Sandbox, Signed},
};
use anyhow::{Context, ensure};
use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};
use taskpass_client::{Broker, Endpoint, Tls};
use taskpass_proto::v1;

/// Any free loopback port.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Whose agents play.
const USER: &str = "maya";

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
    /// The ledger that other brokers may join; `None`: the broker has a store of its own.
    pub(super) ledger: Option<Ledger>,
    server: Server,
    /// Removed at the end unless the directory was named.
    _temporary: Option<tempfile::TempDir>,
}

impl Stage {
    pub(super) async fn set(dir: Option<&Path>, ledger: Option<Ledger>) -> anyhow::Result<Self> {
        let temporary = dir.is_none().then(tempfile::tempdir).transpose()?;
        let dir = dir.or(temporary.as_ref().map(tempfile::TempDir::path)).context("no directory")?;
        let sandbox = Sandbox::make(dir)?;
        let server = Server::start(&member(&sandbox, "", ledger.clone())?).await?;
        let api = format!("https://{}", server.addresses.api.context("the broker does not listen for TLS")?);
        let orchestrator = Party::connect(&sandbox, &api, "orchestrator/scheduler").await?.broker;
        let resource_server = Party::connect(&sandbox, &api, "resource/demo-api").await?.broker;
        let operator = Broker::connect(&Endpoint::unix(&server.addresses.socket)).await?;
        let ca = Caller::plain(server.addresses.http).await?.get("/ca.pem", None).await?.text;
        let tls = sandbox.authority.server()?;
        let certificate = (tls.chain_pem.as_str(), tls.key_pem.as_str());
        let clients = [ca.as_str(), sandbox.authority.certificate_pem()].concat();
        let invoices = Invoices::start(resource_server.channel(), [ANY, ANY], &clients, certificate).await?;
        Ok(Self { sandbox, invoices, orchestrator, operator, api, ledger, server, _temporary: temporary })
    }

    pub(super) fn introduce(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "taskpass demo: real parts on this machine, throw-away keys\n")?;
        let kept = if self.ledger.is_some() { "audit log" } else { "store and audit log" };
        writeln!(out, "   broker     {} (mTLS) and a Unix socket; {kept} on disk", self.api)?;
        if let Some(Ledger { server, name }) = &self.ledger {
            writeln!(out, "   ledger     {name} at {server}; its keys, {{{name}}}:*, stay there")?;
        }
        writeln!(out, "   resource   http://{} and https://{}", self.invoices.http, self.invoices.https)?;
        writeln!(out, "   in         {}\n", self.sandbox.dir().display())
    }

    /// Where anyone may read what the broker publishes.
    pub(super) fn http(&self) -> SocketAddr {
        self.server.addresses.http
    }

    /// The configuration of another broker on the same ledger.
    pub(super) fn beside(&self, prefix: &'static str) -> anyhow::Result<Config> {
        ensure!(self.ledger.is_some(), "a broker with a store of its own is alone");
        member(&self.sandbox, prefix, self.ledger.clone())
    }

    /// Starts an agent in a process of its own.
    pub(super) async fn agent(&self, name: &str, task: &str) -> anyhow::Result<Agent> {
        Agent::start(self, name, task).await
    }

    /// Has the orchestrator start a task for an agent, and says so.
    pub(super) async fn task(
        &self,
        out: &mut dyn Write,
        (agent, kind): (&str, &str),
        purpose: &str,
        actions: &[&str],
    ) -> anyhow::Result<v1::Task> {
        let scopes = actions.iter().map(|action| format!("{RESOURCE}:{action}"));
        let task = self.orchestrator.task(purpose).agent(agent).kind(kind).scopes(scopes);
        let task = task.ttl(Duration::from_secs(300)).start().await?.release();
        let v1::Task { id, initiator, .. } = &task;
        writeln!(out, "   started    {id} for {agent} by {initiator}: {purpose}")?;
        Ok(task)
    }

    /// Somebody with an identity of their own: `agent/invoice-bot`, `person/noor`.
    pub(super) async fn party(&self, path: &str) -> anyhow::Result<Party> {
        self.party_at(&self.api, path).await
    }

    /// The same at another broker.
    pub(super) async fn party_at(&self, api: &str, path: &str) -> anyhow::Result<Party> {
        Party::connect(&self.sandbox, api, path).await
    }

    /// Takes everything down, and checks the audit log that it left.
    pub(super) async fn strike(self) -> anyhow::Result<String> {
        self.invoices.stop().await;
        self.server.stop().await;
        let report = taskpass_audit::verify_dir(&self.sandbox.dir().join("data/audit"), None)?;
        Ok(format!("{} records, chain intact, head {}", report.records, report.head))
    }
}

fn member(sandbox: &Sandbox, prefix: &'static str, ledger: Option<Ledger>) -> anyhow::Result<Config> {
    sandbox.config(USER, &Member { prefix, ports: Ports { api: ANY, http: ANY }, ledger })
}

/// Somebody who connects over mTLS.
pub(super) struct Party {
    pub(super) broker: Broker,
    svid: Signed,
}

impl Party {
    async fn connect(sandbox: &Sandbox, api: &str, path: &str) -> anyhow::Result<Self> {
        Self::with(sandbox, api, sandbox.authority.svid(path)?).await
    }

    async fn with(sandbox: &Sandbox, api: &str, svid: Signed) -> anyhow::Result<Self> {
        let tls = Tls::new(sandbox.authority.certificate_pem().to_owned())
            .identity(svid.chain_pem.clone(), svid.key_pem.clone());
        let broker = Broker::connect(&Endpoint::https(api, tls)?).await?;
        Ok(Self { broker, svid })
    }

    /// Turns to the broker of the stage, with the same key.
    pub(super) async fn turn(self, stage: &Stage) -> anyhow::Result<Self> {
        Self::with(&stage.sandbox, &stage.api, self.svid).await
    }

    /// A connection to the resource server, with the certificate that this party's tokens are bound to.
    pub(super) async fn caller(&self, stage: &Stage) -> anyhow::Result<Caller> {
        let root = stage.sandbox.authority.certificate_pem();
        Caller::certified(stage.invoices.https, root, &self.svid.chain_pem, &self.svid.key_pem).await
    }

    /// Asks for a token once.
    pub(super) async fn token(
        &self,
        request: v1::IssueCredentialRequest,
    ) -> Result<(v1::Lease, String), taskpass_client::Error> {
        let (lease, credential) = self.broker.issue(request).await?;
        let token = match credential.form {
            Some(v1::credential::Form::Token(token)) => token,
            _ => String::new(),
        };
        Ok((lease, token))
    }
}

/// The request for a token to do `action` at the resource server.
pub(super) fn asking(task: &v1::Task, action: &str) -> v1::IssueCredentialRequest {
    v1::IssueCredentialRequest {
        task_id: task.id.clone(),
        resource: RESOURCE.to_owned(),
        actions: vec![action.to_owned()],
        ..Default::default()
    }
}
