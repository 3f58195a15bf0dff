//! Children: the broker and the echo, each in a process of its own, ended by dropping them.

use crate::{clock, world::World};
use anyhow::{Context as _, bail};
use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use taskpass_client::Broker;
use tokio::process::{Child, Command};

/// How long a child may take until it serves.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked whether it does.
const GLANCE: Duration = Duration::from_millis(1);

/// A broker that serves.
pub struct BrokerProcess {
    child: Child,
    /// Where its API is.
    pub port: u16,
    /// Where lists and metrics are.
    pub http: u16,
    /// From the start of the process to its first answer.
    pub took: Duration,
}

impl BrokerProcess {
    /// Starts the release binary with its data in `name` and waits for its first answer.
    pub async fn start(world: &World, name: &str) -> anyhow::Result<Self> {
        let (port, http) = (free_port()?, free_port()?);
        let config = world.configure(name, port, http)?;
        let binary = binary()?;
        let log = fs::File::create(world.path().join(format!("{name}.log")))?;
        let mut command = Command::new(&binary);
        command.arg("serve").arg("--config").arg(&config).env("RUST_LOG", "warn").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = clock::now();
        let mut child = command.spawn().with_context(|| format!("cannot start `{}`", binary.display()))?;
        let endpoint = world.endpoint(&world.agent, port)?;
        loop {
            if let Ok(broker) = Broker::connect(&endpoint).await {
                broker.whoami().await?;
                return Ok(Self { child, port, http, took: began.elapsed() });
            }
            if let Some(status) = child.try_wait()? {
                bail!("the broker ended with {status}: {}", log_of(world, name));
            }
            if began.elapsed() > PATIENCE {
                bail!("the broker does not serve: {}", log_of(world, name));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Its memory in kilobytes (`VmRSS`).
    pub fn resident_kb(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("the broker has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// The processor time that it has used, by all its threads, to a hundredth of a second.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let pid = self.child.id().context("the broker has ended")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // After the name in brackets come the state and ten more fields; then user and system time in ticks.
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(Duration::from_millis(ticks.sum::<Result<u64, _>>()? * 10))
    }

    /// Ends it, at once.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The echo, served by this same binary.
pub struct EchoProcess {
    _child: Child,
    /// Where it is.
    pub port: u16,
}

impl EchoProcess {
    /// Starts it and waits until it accepts.
    pub async fn start(world: &World) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("echo-server").arg(world.path()).arg(port.to_string()).kill_on_drop(true);
        let child = command.stdin(Stdio::null()).spawn()?;
        let began = clock::now();
        let endpoint = world.endpoint(&world.agent, port)?;
        while let Err(error) = endpoint.connect().await {
            if began.elapsed() > PATIENCE {
                return Err(error).context("the echo does not serve");
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(Self { _child: child, port })
    }
}

/// `taskpass` beside this binary, or where `TASKPASS_BINARY` says.
fn binary() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("TASKPASS_BINARY").map(PathBuf::from);
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("taskpass"));
    let path = named.map_or_else(beside, Ok)?;
    if !path.is_file() {
        bail!("there is no `{}`; build it: cargo build --release -p taskpass-cli", path.display());
    }
    Ok(path)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn log_of(world: &World, name: &str) -> String {
    let path: &Path = &world.path().join(format!("{name}.log"));
    fs::read_to_string(path).unwrap_or_default().chars().take(2000).collect()
}
