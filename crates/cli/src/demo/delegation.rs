//! An agent hands a part of its task on. What it hands on carries the whole chain, and dies with any part of it.

use super::{
    chapter::Refused,
    millis,
    stage::{Party, Stage, asking},
    stopwatch::Instant,
    theft::{Theft, Use},
};
use crate::sandbox::RESOURCE;
use anyhow::{bail, ensure};
use std::io::Write;
use taskpass_client::Task;
use taskpass_crypto::jws::inspect_unverified;
use taskpass_proto::v1;

const READ: &str = "invoice:read";
const WRITER: &str = "dev/report-writer";

pub(super) async fn play(stage: &Stage, out: &mut dyn Write) -> anyhow::Result<Refused> {
    let purpose = "report the invoices of two months";
    let root = stage.task(out, ("dev/invoice-bot", "report"), purpose, &[READ]).await?;
    let (bot, writer) = (stage.party("agent/invoice-bot").await?, stage.party("agent/report-writer").await?);

    // Two halves. The bot keeps one and hands its reading on; the other it hands on whole.
    let november = hand_on(&bot, &root, "November", "dev/invoice-bot").await?;
    let below = hand_on(&bot, &november, "read November", WRITER).await?;
    let beside = hand_on(&bot, &root, "December", WRITER).await?;
    writeln!(out, "   handed on  {} and, below {}, {} to {WRITER}", beside.id, november.id, below.id)?;
    let wider = bot.broker.task("write, too").parent(&root.id).agent(WRITER);
    match wider.scope(format!("{RESOURCE}:{READ}")).scope(format!("{RESOURCE}:invoice:write")).start().await {
        Err(refusal) => writeln!(out, "   no wider   {}", refusal.message())?,
        Ok(_) => bail!("a wider task than the parent's should have been refused"),
    }

    let (_, dying) = writer.token(asking(&below, READ)).await?;
    let (_, living) = writer.token(asking(&beside, READ)).await?;
    let grant = inspect_unverified(&dying)?.unverified_grant?;
    let agents = grant.agents.iter().map(ToString::to_string).collect::<Vec<_>>();
    let path = grant.task_path.iter().map(|id| id.to_string()).collect::<Vec<_>>();
    ensure!(path == below.path && path.len() == 3, "the token should carry the whole path");
    ensure!(agents == ["dev/invoice-bot", "dev/invoice-bot", WRITER], "the token should carry the chain");
    writeln!(out, "   carries    {}", agents.join(" > "))?;
    let mut caller = writer.caller(stage).await?;
    for token in [&dying, &living] {
        let answer = caller.get("/invoices", Some(token)).await?;
        ensure!(answer.is_ok(), "what was handed on should work: {answer:?}");
    }
    writeln!(out, "   accepted   both tokens of {WRITER}")?;

    let mut thief = Theft::new(writer.caller(stage).await?, Some(dying), Use::Read);
    let ending = async {
        let before = Instant::now();
        bot.broker.complete_task(&november.id).await?;
        Ok(before)
    };
    let (ended, refused) = thief.during(ending).await?;
    let after = refused.at.since(ended);
    writeln!(out, "   ended      the agent declares {} complete, by one write", november.id)?;
    writeln!(out, "   refused    token after {}: {}", millis(after), refused.why)?;
    let other = caller.get("/invoices", Some(&living)).await?;
    ensure!(other.is_ok(), "the other half should go on: {other:?}");
    writeln!(out, "   and so     the token of the other half: {}", other.status)?;
    stage.orchestrator.complete_task(&root.id).await?;
    Ok(Refused { token: after, certificate: None })
}

async fn hand_on(from: &Party, parent: &v1::Task, purpose: &str, to: &str) -> anyhow::Result<v1::Task> {
    let parent = Task::attach(&from.broker, &parent.id).await?;
    let child = parent.delegate(purpose).agent(to).scope(format!("{RESOURCE}:{READ}"));
    Ok(child.start().await?.release())
}
