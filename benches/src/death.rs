//! The other road: from the call that ends a task to the refusal at a verifier that is connected.

use crate::{
    clock,
    drive::{Figures, Slot},
    exchange::{IssueSlot, Kind},
    world::{RESOURCE, World},
};
use anyhow::{Context as _, ensure};
use std::time::Duration;
use taskpass_client::Broker;
use taskpass_proto::v1::credential::Form;
use taskpass_verify::{Rejected, Verifier};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// How long after the answer a verifier may still accept before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it took, over all rounds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Death {
    /// From the call of `CompleteTask` to the refusal.
    pub from_call: Figures,
    /// From its answer to the refusal; zero where the verifier knew sooner than the caller.
    pub from_answer: Figures,
}

/// A verifier that follows the feed of the broker on `port`, ready.
pub async fn verifier(world: &World, port: u16) -> anyhow::Result<Verifier> {
    let channel = world.endpoint(&world.verifier, port)?.connect().await?;
    let verifier = Verifier::builder(channel).audience(RESOURCE).start()?;
    tokio::time::timeout(PATIENCE, verifier.ready()).await.context("the feed does not begin")?;
    Ok(verifier)
}

/// Ends `rounds` tasks one after the other, each with a token that the verifier has just accepted.
pub async fn measure(world: &World, port: u16, rounds: usize) -> anyhow::Result<Death> {
    let verifier = verifier(world, port).await?;
    let channel = world.endpoint(&world.agent, port)?.connect().await?;
    let broker = Broker::new(channel.clone());
    let (mut from_call, mut from_answer) = (Vec::new(), Vec::new());
    let began = clock::now();
    for _ in 0..rounds {
        let mut slot = IssueSlot::new(channel.clone(), Kind::Jwt).await?;
        let credential = slot.issue().await?.credential.and_then(|credential| credential.form);
        let Some(Form::Token(token)) = credential else { anyhow::bail!("no token") };
        let granted = verifier.verify_bound_token(&token, Some(&world.agent.der))?;
        // The verifier waits by itself, as a service does: the thread of the measurement is woken later than the workers.
        let (service, leaf, mut waiting) = (verifier.clone(), world.agent.der.clone(), JoinSet::new());
        waiting.spawn(async move {
            service.denied(&granted).await;
            let refused = service.verify_bound_token(&token, Some(&leaf));
            ensure!(matches!(refused, Err(Rejected::Denied(_))), "not denied: {refused:?}");
            anyhow::Ok(clock::now())
        });
        let called = clock::now();
        let complete = async {
            broker.complete_task(slot.task()).await?;
            anyhow::Ok(clock::now())
        };
        let refused = async { waiting.join_next().await.context("nobody waits")?? };
        let both = async { tokio::try_join!(complete, refused) };
        let (answered, refused) = tokio::time::timeout(PATIENCE, both).await.context("still accepted")??;
        from_call.push(refused - called);
        from_answer.push(refused.saturating_duration_since(answered));
    }
    let span = began.elapsed();
    Ok(Death { from_call: Figures::of(from_call, span), from_answer: Figures::of(from_answer, span) })
}

/// As [`measure`], while `slots` issue `rate` credentials a second in all.
pub async fn measure_under_load(
    world: &World,
    port: u16,
    rounds: usize,
    slots: Vec<IssueSlot>,
    rate: f64,
) -> anyhow::Result<Death> {
    let period = Duration::from_secs_f64(slots.len() as f64 / rate.max(1.0));
    let mut load = JoinSet::new();
    for slot in slots {
        load.spawn(paced(slot, period));
    }
    let death = measure(world, port, rounds).await;
    if let Some(ended) = load.try_join_next() {
        ended?.context("the load did not last")?;
    }
    load.shutdown().await;
    death
}

async fn paced(mut slot: IssueSlot, period: Duration) -> anyhow::Result<()> {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        slot.call().await?;
    }
}
