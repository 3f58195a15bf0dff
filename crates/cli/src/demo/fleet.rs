//! Two brokers on one ledger, and one of them is killed in the middle of a task: the other one goes on with it, and ends
//! what both have issued.
//!
//! The second broker is a process of its own, so that it can die of SIGKILL. It lives no longer than the demo: its
//! standard input ends with whoever started it.

use super::{
    chapter::Refused,
    millis,
    stage::{Party, Stage, asking},
    stopwatch::Instant,
    theft::{Theft, Use, in_time},
};
use crate::{
    compose::Server,
    config::Config,
    sandbox::{Caller, RESOURCE},
};
use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use std::{io::Write, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};
use taskpass_proto::v1;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
};

const READ: &str = "invoice:read";

/// What the names of the second broker's files begin with.
const SECOND: &str = "second-";

/// The agent may take this long to turn to another broker, and twice more.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What the second broker's process is told.
#[derive(Clone, Debug, clap::Args)]
pub struct BrokerArgs {
    /// Its configuration.
    #[arg(long)]
    pub config: PathBuf,
}

/// The one line of the second broker: where it is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reached {
    api: SocketAddr,
    http: SocketAddr,
}

/// The second broker's whole life: it says where it is, and serves until its standard input ends.
///
/// # Errors
/// Why it does not start.
pub async fn serve(args: BrokerArgs) -> anyhow::Result<()> {
    let server = Server::start(&Config::load(&args.config)?).await?;
    let api = server.addresses.api.context("it does not listen for TLS")?;
    let reached = serde_json::to_string(&Reached { api, http: server.addresses.http })?;
    let mut out = tokio::io::stdout();
    out.write_all(format!("{reached}\n").as_bytes()).await?;
    out.flush().await?;
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    server.stop().await;
    Ok(())
}

/// The second broker's process, as the demo sees it.
struct Second {
    child: Child,
    _stdin: ChildStdin,
    reached: Reached,
}

impl Second {
    async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let config = stage.beside(SECOND)?.file.context("the configuration is in a file")?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("demo-broker")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the second broker's process does not start")?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let line = in_time(async { Ok(BufReader::new(stdout).lines().next_line().await?) }).await?;
        // Why not is on standard error, which is that of the demo.
        let line = line.context("the second broker does not serve")?;
        Ok(Self { child, _stdin: stdin, reached: serde_json::from_str(&line)? })
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    fn api(&self) -> String {
        format!("https://{}", self.reached.api)
    }

    /// SIGKILL: what it was about to do is not done.
    async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the second broker's process cannot be killed")
    }
}

/// A token, and a connection to the resource server on which it is good.
struct Held {
    lease: v1::Lease,
    token: String,
    caller: Caller,
}

impl Held {
    async fn take(stage: &Stage, bot: &Party, task: &v1::Task) -> anyhow::Result<Self> {
        let (lease, token) = bot.token(asking(task, READ)).await?;
        Ok(Self { lease, token, caller: bot.caller(stage).await? })
    }

    async fn accepted(&mut self) -> anyhow::Result<u16> {
        let answer = self.caller.get("/invoices", Some(&self.token)).await?;
        ensure!(answer.is_ok(), "{} should have been accepted: {answer:?}", self.lease.id);
        Ok(answer.status)
    }
}

pub(super) async fn play(stage: &Stage, out: &mut dyn Write) -> anyhow::Result<Refused> {
    let second = Second::start(stage).await?;
    let pid = second.pid();
    writeln!(out, "   joined     process {pid} at {}: a second broker on the same ledger", second.api())?;
    let keys = published(second.reached.http).await?;
    ensure!(keys == published(stage.http()).await?, "both brokers should publish the same keys");
    writeln!(out, "   agreed     both publish the same keys")?;

    let bot = stage.party_at(&second.api(), "agent/invoice-bot").await?;
    let task = bot.broker.task("close the December invoices").scope(format!("{RESOURCE}:{READ}"));
    let task = task.ttl(Duration::from_secs(300)).heartbeat(HEARTBEAT).start().await?.release();
    let v1::Task { id, agent, initiator, .. } = &task;
    writeln!(out, "   started    {id} for {agent} by {initiator}, at the second broker")?;
    let mut early = Held::take(stage, &bot, &task).await?;
    writeln!(out, "   issued     token {} by the second broker", early.lease.id)?;
    let status = early.accepted().await?;
    writeln!(out, "   accepted   {status}, by the resource server, which follows the first broker")?;

    let (killed, dead) = (Instant::now(), bot.broker.clone());
    second.kill().await?;
    writeln!(out, "   killed     process {pid} with SIGKILL, in the middle of the task")?;
    let bot = bot.turn(stage).await?;
    bot.broker.heartbeat(&task.id).await?;
    let alive = millis(Instant::now().since(killed));
    writeln!(out, "   goes on    the first broker takes the task's next heartbeat, {alive} after the kill")?;
    let mut late = Held::take(stage, &bot, &task).await?;
    writeln!(out, "   issued     token {} for the same task by the first broker", late.lease.id)?;
    let Err(silent) = dead.heartbeat(&task.id).await else { bail!("a dead broker should not answer") };
    writeln!(out, "   silent     the second broker: {}", silent.message())?;
    let (old, new) = (early.accepted().await?, late.accepted().await?);
    writeln!(out, "   accepted   token of the dead broker {old}, of the living {new}")?;
    end(stage, out, &bot, &task, [early, late]).await
}

/// Completes the task at the broker that is left, which ends what both have issued.
async fn end(
    stage: &Stage,
    out: &mut dyn Write,
    bot: &Party,
    task: &v1::Task,
    held: [Held; 2],
) -> anyhow::Result<Refused> {
    let leases = held.each_ref().map(|held| held.lease.id.clone());
    let [mut early, mut late] =
        held.map(|Held { token, caller, .. }| Theft::new(caller, Some(token), Use::Read));
    let ending = async {
        let before = Instant::now();
        bot.broker.complete_task(&task.id).await?;
        anyhow::Ok(before)
    };
    let refused = in_time(async { tokio::try_join!(early.until_refused(), late.until_refused()) });
    let (ended, (early, late)) = tokio::try_join!(ending, refused)?;
    writeln!(out, "   ended      the agent declares it complete, at the first broker")?;
    for (whose, refusal) in [("dead", &early), ("living", &late)] {
        let after = millis(refusal.at.since(ended));
        writeln!(out, "   refused    token of the {whose} broker after {after}: {}", refusal.why)?;
    }
    for lease in leases {
        let end = stage.operator.find_lease(&lease).await?.end.context("the lease should have ended")?;
        ensure!(end.reason() == v1::EndReason::Completed, "{lease} should have ended with its task");
    }
    let log = stage.sandbox.dir().join(format!("{SECOND}data/audit"));
    let records = taskpass_audit::verify_dir(&log, None)?.records;
    writeln!(out, "   and so     what the dead broker wrote down: {records} records, chain intact")?;
    Ok(Refused { token: early.at.max(late.at).since(ended), certificate: None })
}

/// The keys that a broker publishes.
async fn published(http: SocketAddr) -> anyhow::Result<String> {
    let answer = Caller::plain(http).await?.get("/.well-known/jwks.json", None).await?;
    ensure!(answer.is_ok(), "a broker should publish its keys: {answer:?}");
    Ok(answer.text)
}
