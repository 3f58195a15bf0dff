//! Everything in one run: each figure beside what limits it.

use crate::{
    death, drift,
    drive::{Figures, Slot, drive},
    echo::{EchoSlot, Sizes},
    exchange::{IssueSlot, Kind},
    offline,
    process::{BrokerProcess, EchoProcess},
    report::{Report, Target},
    startup,
    world::World,
};
use std::time::Duration;
use tonic::transport::Channel;

/// Connections of every round.
pub const CONNECTIONS: usize = 4;
/// Callers, for tokens.
const LEVELS: [usize; 4] = [1, 16, 64, 128];
/// Callers, for everything else.
const LEVEL: usize = 64;
/// Tasks ended, idle and under load each.
const DEATHS: usize = 500;

/// Live leases that are decided anew.
const LIVE: usize = 100_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long one round takes.
    pub span: Duration,
    /// Rounds of each, echo and exchange in turns.
    pub rounds: usize,
}

/// An exchange and the echo of the same rounds.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Compared {
    /// Callers in all.
    pub in_flight: usize,
    /// The echo; the round with the median rate.
    pub echo: Figures,
    /// The exchange; the round with the median rate.
    pub exchange: Figures,
    /// The median over the rounds of exchange rate by echo rate.
    pub share: f64,
}

/// Runs everything and says what came out.
pub async fn run(plan: Plan, report: &mut Report) -> anyhow::Result<()> {
    let world = World::new()?;
    let started = startup::measure(&world).await?;
    report.add("start", Target::below("start, empty data, ms", started.fresh_ms, 500.0), &started)?;
    report.add("start", Target::below("start after SIGKILL, ms", started.again_ms, 500.0), &started)?;
    let idle = started.idle_kb as f64 / 1000.0;
    report.add("memory", Target::below("resident when idle, MB", idle, 60.0), &started)?;

    let broker = BrokerProcess::start(&world, "broker").await?;
    let echo = EchoProcess::start(&world).await?;
    let run = Run { world: &world, broker: &broker, echo: &echo, plan };
    let offline =
        offline::measure(&world, broker.port, &mut run.issuers(Kind::Jwt, 1).await?.remove(0)).await?;
    report.add(
        "verify",
        Target::below("full check / bare verify", offline.full / offline.bare, 1.15),
        &offline,
    )?;

    let mut half = 0.0;
    for in_flight in LEVELS {
        let compared = run.compare(Kind::Jwt, in_flight).await?;
        let name = format!("token / echo, {in_flight} in flight");
        report.add("jwt", Target::above(&name, compared.share, 0.25), &compared)?;
        if in_flight == LEVEL {
            half = compared.exchange.rate / 2.0;
            report.add(
                "jwt",
                Target::below("token, 64 in flight, p99 ms", compared.exchange.p99, 20.0),
                &compared,
            )?;
        }
    }
    let compared = run.compare(Kind::X509, LEVEL).await?;
    report.add("x509", Target::above("certificate / echo, 64 in flight", compared.share, 0.18), &compared)?;

    let idle = death::measure(&world, broker.port, DEATHS).await?;
    report.add("death", Target::below("end to refusal, idle, p99 ms", idle.from_call.p99, 5.0), &idle)?;
    let slots = run.issuers(Kind::Jwt, LEVEL).await?;
    let busy = death::measure_under_load(&world, broker.port, DEATHS, slots, half).await?;
    report.add(
        "death",
        Target::below("end to refusal, half load, p99 ms", busy.from_call.p99, 5.0),
        &busy,
    )?;
    report.add(
        "memory",
        Target::noted("resident after the run, MB", broker.resident_kb()? as f64 / 1000.0),
        &(),
    )?;
    broker.kill().await?;
    drift(report).await
}

/// A change of the policies against what is out.
pub async fn drift(report: &mut Report) -> anyhow::Result<()> {
    let sweep = drift::sweep(LIVE).await?;
    let name = format!("{LIVE} leases decided anew, s");
    report.add("drift", Target::below(&name, sweep.idle_secs, 2.0), &sweep)?;
    report.add("drift", Target::below("the same while issuing, s", sweep.busy_secs, 2.0), &sweep)?;
    let saved = drift::saved_to_refused(1_000).await?;
    report.add("drift", Target::below("file saved to first refusal, ms", saved, 1000.0), &())
}

/// What all comparisons of one run share.
pub struct Run<'a> {
    /// The files.
    pub world: &'a World,
    /// The broker.
    pub broker: &'a BrokerProcess,
    /// The echo.
    pub echo: &'a EchoProcess,
    /// How much.
    pub plan: Plan,
}

impl Run<'_> {
    /// Callers of the broker, each with a task.
    pub async fn issuers(&self, kind: Kind, count: usize) -> anyhow::Result<Vec<IssueSlot>> {
        let mut slots = Vec::new();
        for channel in self.spread(self.broker.port, count).await? {
            slots.push(IssueSlot::new(channel, kind).await?);
        }
        Ok(slots)
    }

    /// Callers of the echo.
    pub async fn echoers(&self, sizes: Sizes, count: usize) -> anyhow::Result<Vec<EchoSlot>> {
        let channels = self.spread(self.echo.port, count).await?;
        channels.into_iter().map(|channel| EchoSlot::new(channel, sizes)).collect()
    }

    /// Exchange and echo in turns, so that both see the same machine.
    pub async fn compare(&self, kind: Kind, in_flight: usize) -> anyhow::Result<Compared> {
        let mut issuers = self.issuers(kind, in_flight).await?;
        let Some(first) = issuers.first_mut() else { return Ok(Compared::default()) };
        let sizes = first.sizes().await?;
        let mut echoers = self.echoers(sizes, in_flight).await?;
        let mut rounds = Vec::new();
        for _ in 0..self.plan.rounds {
            let echo = self.round(&mut echoers).await?;
            let exchange = self.round(&mut issuers).await?;
            rounds.push((echo, exchange));
        }
        Ok(Compared {
            in_flight,
            echo: median(rounds.iter().map(|(echo, _)| *echo), |figures| figures.rate),
            exchange: median(rounds.iter().map(|(_, exchange)| *exchange), |figures| figures.rate),
            share: median(rounds.iter().map(|(echo, exchange)| exchange.rate / echo.rate), |share| *share),
        })
    }

    async fn round<S: Slot>(&self, slots: &mut Vec<S>) -> anyhow::Result<Figures> {
        let (figures, back) = drive(std::mem::take(slots), self.plan.span).await?;
        *slots = back;
        Ok(figures)
    }

    /// `count` callers' channels over as many connections as there may be.
    async fn spread(&self, port: u16, count: usize) -> anyhow::Result<Vec<Channel>> {
        let endpoint = self.world.endpoint(&self.world.agent, port)?;
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS.min(count) {
            channels.push(endpoint.connect().await?);
        }
        Ok(channels.iter().cycle().take(count).cloned().collect())
    }
}

fn median<T: Copy + Default>(items: impl Iterator<Item = T>, by: impl Fn(&T) -> f64) -> T {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable_by(|a, b| by(a).total_cmp(&by(b)));
    items.get(items.len() / 2).copied().unwrap_or_default()
}
