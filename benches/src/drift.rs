//! A change of the policies against what is out: how long it takes to decide all of it anew while issuing goes on, and how
//! long until a saved file has ended the first lease.

use crate::{
    clock, death,
    drive::{Figures, Slot, drive},
    exchange::{IssueSlot, Kind},
    fixtures,
    process::BrokerProcess,
    suite::CONNECTIONS,
    world::{POLICIES, World},
};
use anyhow::{Context as _, ensure};
use std::time::Duration;
use taskpass_client::Broker;
use taskpass_proto::v1::credential::Form;
use tokio::task::JoinSet;

/// Callers that fill the store, and that go on while it is decided anew.
const CALLERS: usize = 64;
/// How often a change is previewed and a file is saved; the median counts.
const ROUNDS: usize = 5;
/// How long a saved file may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a preview of a change took: it decides everything that lives anew, as the change itself does.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Sweep {
    /// Leases and tasks that were decided anew.
    pub examined: u64,
    /// Seconds, from the first byte of the new policies sent to the answer, while nothing else was asked.
    pub idle_secs: f64,
    /// Seconds, while credentials were issued as fast as they could be.
    pub busy_secs: f64,
    /// Credentials issued a second meanwhile.
    pub meanwhile: f64,
}

/// Fills a broker with `leases` live leases and decides them anew.
pub async fn sweep(leases: usize) -> anyhow::Result<Sweep> {
    let world = World::new()?;
    let broker = BrokerProcess::start(&world, "sweep").await?;
    let slots = filled(&world, &broker, leases).await?;
    let operator = Broker::new(world.endpoint(&world.operator, broker.port)?.connect().await?);
    let mut idle = Vec::new();
    let mut examined = 0;
    for round in 0..ROUNDS {
        let (took, plan) = previewed(&operator, round).await?;
        ensure!(plan.affected == 0, "the change should take nothing");
        examined = plan.examined;
        idle.push(took);
    }
    let mut issuing = JoinSet::new();
    issuing.spawn(drive(slots, Duration::from_secs(5)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut busy = Vec::new();
    let (Figures { rate, .. }, _) = loop {
        busy.push(previewed(&operator, ROUNDS + busy.len()).await?.0);
        if let Some(ended) = issuing.try_join_next() {
            break ended??;
        }
    };
    broker.kill().await?;
    Ok(Sweep { examined, idle_secs: median(idle), busy_secs: median(busy), meanwhile: rate })
}

/// From a saved file to the refusal of a lease that it no longer allows, with `leases` live leases; milliseconds, the
/// median of a few rounds.
pub async fn saved_to_refused(leases: usize) -> anyhow::Result<f64> {
    let world = World::new()?;
    let broker = BrokerProcess::start(&world, "saved").await?;
    let mut slots = filled(&world, &broker, leases).await?;
    let slot = slots.first_mut().context("no caller")?;
    let verifier = death::verifier(&world, broker.port).await?;
    let file = world.path().join("policies").join("agents.cedar");
    let text = std::fs::read_to_string(&file)?;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let credential = slot.issue().await?.credential.and_then(|credential| credential.form);
        let Some(Form::Token(token)) = credential else { anyhow::bail!("no token") };
        let granted = verifier.verify_bound_token(&token, Some(&world.agent.der))?;
        let saved = clock::now();
        std::fs::write(
            &file,
            format!("{text}// {round}\nforbid (principal, action == Action::\"issue\", resource);\n"),
        )?;
        tokio::time::timeout(PATIENCE, verifier.denied(&granted)).await.context("still accepted")?;
        rounds.push(saved.elapsed().as_secs_f64() * 1e3);
        // Back, and on when it is in force.
        std::fs::write(&file, &text)?;
        let again = clock::now();
        while let Err(error) = slot.issue().await {
            ensure!(again.elapsed() < PATIENCE, "nothing is issued any more: {error}");
        }
    }
    broker.kill().await?;
    Ok(median(rounds))
}

async fn previewed(operator: &Broker, round: usize) -> anyhow::Result<(f64, taskpass_proto::v1::PolicyPlan)> {
    let mut files = fixtures::policies(POLICIES);
    files.push(("round.cedar".to_owned(), format!("// {round}\n")));
    let began = clock::now();
    let plan = operator.plan_policies(files).await?.plan;
    Ok((began.elapsed().as_secs_f64(), plan))
}

/// Callers that have issued so many credentials, which all live.
async fn filled(world: &World, broker: &BrokerProcess, leases: usize) -> anyhow::Result<Vec<IssueSlot>> {
    let endpoint = world.endpoint(&world.agent, broker.port)?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(endpoint.connect().await?);
    }
    let mut filling = JoinSet::new();
    for channel in channels.iter().cycle().take(CALLERS).cloned() {
        filling.spawn(async move {
            let mut slot = IssueSlot::new(channel, Kind::Jwt).await?;
            for _ in 0..leases.div_ceil(CALLERS) {
                slot.call().await?;
            }
            anyhow::Ok(slot)
        });
    }
    let mut slots = Vec::new();
    while let Some(slot) = filling.join_next().await {
        slots.push(slot??);
    }
    Ok(slots)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
