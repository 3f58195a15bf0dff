//! The agent of the demo: a process of its own, with an identity of its own, that attests, gets two credentials for the
//! task that it was given, and uses them.
//!
//! It speaks with the demo by lines: it prints what it did as JSON, and tries again for each line that it reads.

use super::stage::Stage;
use crate::sandbox::{Caller, RESOURCE, write_private};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};
use taskpass_client::{Broker, Endpoint, Task, Tls};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// What the agent's process is told.
#[derive(Clone, Debug, clap::Args)]
pub struct AgentArgs {
    /// The broker, `https://host:port`.
    #[arg(long)]
    pub broker: String,
    /// The directory with `root.pem`, `svid.pem` and `svid.key`, into which the credentials are written.
    #[arg(long)]
    pub dir: PathBuf,
    /// The task that it was given.
    #[arg(long)]
    pub task: String,
    /// The resource server.
    #[arg(long)]
    pub https: SocketAddr,
}

/// The most of an agent's last words that is shown.
const MAX_WHY: u64 = 4096;

/// One line of the agent: what it is, and how its two calls went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) agent: String,
    pub(super) evidence: String,
    pub(super) token_lease: String,
    pub(super) certificate_lease: String,
    pub(super) token: u16,
    pub(super) certificate: u16,
}

/// The agent's whole life.
///
/// # Errors
/// Whatever it was refused.
pub async fn act(args: AgentArgs) -> anyhow::Result<()> {
    let file = |name: &str| args.dir.join(name);
    let tls = Tls::new(file("root.pem")).identity(file("svid.pem"), file("svid.key"));
    let broker = Broker::connect(&Endpoint::https(&args.broker, tls)?).await?;
    let me = broker.whoami().await?;
    let task = Task::attach(&broker, &args.task).await?;
    let token = task.lease(RESOURCE).action("invoice:read").ttl(Duration::from_secs(300)).token().await?;
    let certificate =
        task.lease(RESOURCE).action("invoice:read").ttl(Duration::from_secs(300)).certificate().await?;
    let secret = token.token()?;
    let pair = certificate.current()?;
    write_private(&file("token"), secret.expose())?;
    write_private(&file("task.pem"), &pair.chain_pem())?;
    write_private(&file("task.key"), pair.key_pem().expose())?;

    // The token is bound to the certificate that we came to the broker with: alone it is worth nothing.
    let read = |name: &str| std::fs::read_to_string(file(name));
    let root = read("root.pem")?;
    let mut bearer = Caller::certified(args.https, &root, &read("svid.pem")?, &read("svid.key")?).await?;
    let mut bound = Caller::certified(args.https, &root, &pair.chain_pem(), pair.key_pem().expose()).await?;
    let mut out = tokio::io::stdout();
    let mut again = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let report = Report {
            agent: me.agent.clone(),
            evidence: me.evidence.clone(),
            token_lease: token.id().to_owned(),
            certificate_lease: certificate.id().to_owned(),
            token: bearer.get("/invoices", Some(secret.expose())).await?.status,
            certificate: bound.get("/invoices", None).await?.status,
        };
        out.write_all(format!("{}\n", serde_json::to_string(&report)?).as_bytes()).await?;
        out.flush().await?;
        if again.next_line().await?.is_none() {
            // Whoever started us is gone or done; the task is not ours to end.
            task.release();
            return Ok(());
        }
    }
}

/// The agent's process, as the demo sees it.
pub(super) struct Agent {
    child: Child,
    stdin: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    dir: PathBuf,
}

impl Agent {
    pub(super) async fn start(stage: &Stage, name: &str, task: &str) -> anyhow::Result<Self> {
        let dir = stage.sandbox.dir().join(name);
        std::fs::create_dir_all(&dir)?;
        let svid = stage.sandbox.authority.svid("agent/invoice-bot")?;
        write_private(&dir.join("root.pem"), stage.sandbox.authority.certificate_pem())?;
        write_private(&dir.join("svid.pem"), &svid.chain_pem)?;
        write_private(&dir.join("svid.key"), &svid.key_pem)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("demo-agent")
            .args(["--broker", &stage.api, "--task", task])
            .args(["--https", &stage.invoices.https.to_string()])
            .arg("--dir")
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the agent's process does not start")?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = child.stdout.take().context("no standard output")?;
        Ok(Self { child, stdin, reports: BufReader::new(stdout).lines(), dir })
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// What it did lately; an error with its last words when it ended.
    pub(super) async fn report(&mut self) -> anyhow::Result<Report> {
        match self.reports.next_line().await? {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => {
                let mut why = String::new();
                if let Some(stderr) = &mut self.child.stderr {
                    stderr.take(MAX_WHY).read_to_string(&mut why).await?;
                }
                self.child.wait().await?;
                bail!("{}", why.trim())
            }
        }
    }

    /// Has it use both credentials again.
    pub(super) async fn again(&mut self) -> anyhow::Result<Report> {
        self.stdin.write_all(b"again\n").await?;
        self.report().await
    }

    /// A copy of one of its files: what somebody who got hold of its credentials has.
    pub(super) fn stolen(&self, name: &str) -> anyhow::Result<String> {
        let path = self.dir.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    }

    /// SIGKILL: it can say goodbye to nobody.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the agent's process cannot be killed")
    }
}
