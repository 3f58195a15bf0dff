//! What the load generator can be asked for.

use crate::{
    channels, death,
    drive::{Figures, Slot, drive},
    echo,
    exchange::Kind,
    fleet,
    process::{BrokerProcess, EchoProcess},
    report::{Report, Target},
    suite::{self, Plan, Run},
    verifiers,
    world::World,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Puts load on a Taskpass broker of its own over mTLS on the loopback.
#[derive(Debug, Parser)]
pub struct Load {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures how long after an end each channel tells of it.
    Channels {
        /// Ends for each.
        #[arg(long, default_value_t = 200)]
        rounds: usize,
        /// Where to write one JSON object a line.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Serves the bare echo; started by this program itself.
    #[command(hide = true)]
    EchoServer { dir: PathBuf, port: u16 },
    /// Measures a ledger in Redis beside the embedded store.
    Fleet {
        /// Leases of a full ledger.
        #[arg(long, default_value_t = 1_000_000)]
        leases: usize,
        /// Seconds of one round.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// Where to write one JSON object a line.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Measures one thing.
    Run(One),
    /// Measures everything, each beside what limits it.
    Suite {
        /// Seconds of one round.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// Rounds of each.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Where to write one JSON object a line.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Measures fifty and a thousand verifiers on one broker, and what one costs.
    Verifiers {
        /// Tasks that are ended with each number of verifiers.
        #[arg(long, default_value_t = 500)]
        rounds: usize,
        /// Seconds for which an idle verifier is watched.
        #[arg(long, default_value_t = 20)]
        idle: u64,
        /// Where to write one JSON object a line.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct One {
    /// What to call.
    #[arg(long, value_enum, default_value_t = What::IssueJwt)]
    what: What,
    /// Calls in flight, on up to four connections.
    #[arg(short = 'n', long, default_value_t = 64)]
    in_flight: usize,
    /// For how long; for `complete`, hundreds of rounds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// From the end of a task to the refusal at a verifier.
    Complete,
    /// The bare echo.
    Echo,
    /// A change of the policies against a hundred thousand live leases.
    Drift,
    /// Tokens.
    IssueJwt,
    /// Certificates.
    IssueX509,
}

impl Load {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Channels { rounds, out } => {
                channels::run(rounds, &mut Report::new(out.as_deref())?).await
            }
            Command::EchoServer { dir, port } => echo::serve(&dir, port).await,
            Command::Fleet { leases, seconds, out } => {
                fleet::run(leases, Duration::from_secs(seconds), &mut Report::new(out.as_deref())?).await
            }
            Command::Run(one) => one.run().await,
            Command::Suite { seconds, rounds, out } => {
                let plan = Plan { span: Duration::from_secs(seconds), rounds };
                suite::run(plan, &mut Report::new(out.as_deref())?).await
            }
            Command::Verifiers { rounds, idle, out } => {
                let mut report = Report::new(out.as_deref())?;
                verifiers::run(rounds, Duration::from_secs(idle), &mut report).await
            }
        }
    }
}

impl One {
    async fn run(self) -> anyhow::Result<()> {
        if let What::Drift = self.what {
            return suite::drift(&mut Report::new(None)?).await;
        }
        let world = World::new()?;
        let broker = BrokerProcess::start(&world, "broker").await?;
        let echo = EchoProcess::start(&world).await?;
        let plan = Plan { span: Duration::from_secs(self.seconds), rounds: 1 };
        let run = Run { world: &world, broker: &broker, echo: &echo, plan };
        let mut report = Report::new(None)?;
        let before = broker.processor_time()?;
        match self.what {
            What::Complete => {
                let rounds = usize::try_from(self.seconds)?.saturating_mul(100);
                let death = death::measure(&world, broker.port, rounds).await?;
                show(&mut report, "from the call", &death.from_call)?;
                show(&mut report, "from the answer", &death.from_answer)?;
            }
            What::Drift => {}
            What::Echo => {
                let sizes = run.issuers(Kind::Jwt, 1).await?.remove(0).sizes().await?;
                self.drive(run.echoers(sizes, self.in_flight).await?, &mut report).await?;
            }
            What::IssueJwt => self.drive(run.issuers(Kind::Jwt, self.in_flight).await?, &mut report).await?,
            What::IssueX509 => {
                self.drive(run.issuers(Kind::X509, self.in_flight).await?, &mut report).await?
            }
        }
        let used = broker.processor_time()?.saturating_sub(before).as_secs_f64();
        report.add("broker", Target::noted("broker, processor seconds", used), &())
    }

    async fn drive<S: Slot>(&self, slots: Vec<S>, report: &mut Report) -> anyhow::Result<()> {
        let (figures, _) = drive(slots, Duration::from_secs(self.seconds)).await?;
        show(report, "load", &figures)
    }
}

fn show(report: &mut Report, name: &str, figures: &Figures) -> anyhow::Result<()> {
    let Figures { rate, calls, p50, p90, p99, max } = *figures;
    for (what, value) in [
        ("calls", calls as f64),
        ("a second", rate),
        ("p50 ms", p50),
        ("p90 ms", p90),
        ("p99 ms", p99),
        ("max ms", max),
    ] {
        report.add(name, Target::noted(&format!("{name}, {what}"), value), &())?;
    }
    Ok(())
}
