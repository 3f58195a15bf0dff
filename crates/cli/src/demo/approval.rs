//! A request that only a person can allow: it waits, is approved once, and is denied with a sentence.

use super::{
    chapter::Refused,
    millis,
    stage::{Party, Stage, asking},
    stopwatch::Instant,
    theft::{Theft, Use},
};
use anyhow::{Context, bail, ensure};
use std::io::Write;
use taskpass_client::{Broker, Error};
use taskpass_proto::v1;
use taskpass_types::Reason;

const REFUND: &str = "invoice:refund";

pub(super) async fn play(stage: &Stage, out: &mut dyn Write) -> anyhow::Result<Refused> {
    let task = stage.task(out, ("dev/invoice-bot", "support"), "refund invoice 7302", &[REFUND]).await?;
    let bot = stage.party("agent/invoice-bot").await?;
    let (noor, ines) = (stage.party("person/noor").await?, stage.party("person/ines").await?);

    let request = named(&task, "the refund");
    let waiting = told_to_wait(out, &bot, request.clone()).await?;
    for (who, broker) in [("the agent", &bot.broker), ("the orchestrator", &stage.orchestrator)] {
        let refusal = refused_to_vote(broker, &waiting).await?;
        writeln!(out, "   no vote    {who}: {}", refusal.message())?;
    }
    let seen = noor.broker.find_approval(&waiting).await?;
    let v1::Approval { verb, resource, actions, agent, purpose, .. } = &seen;
    writeln!(
        out,
        "   shown      to noor: {agent} to {verb} {resource} {}, \"{purpose}\"",
        actions.join(" ")
    )?;
    let granted = noor.broker.decide_approval(&waiting, true, "").await?;
    ensure!(granted.state() == v1::ApprovalState::Granted, "one approval should have been enough");
    let by = granted.votes.first().context("a granted approval has a vote")?.by.clone();
    writeln!(out, "   approved   by {by}")?;

    let (lease, token) = bot.token(request).await?;
    ensure!(lease.approval_id == waiting, "the lease should rest on the approval");
    let mut caller = bot.caller(stage).await?;
    let paid = caller.post("/refunds", Some(&token), "7302").await?;
    ensure!(paid.is_ok(), "the refund should have been accepted: {paid:?}");
    writeln!(out, "   issued     token {} to the same request", lease.id)?;
    writeln!(out, "   accepted   {} {}", paid.status, paid.text)?;

    let request = named(&task, "another refund");
    let second = told_to_wait(out, &bot, request.clone()).await?;
    ensure!(second != waiting, "an approval should be good for one use");
    let sentence = "invoice 7302 is paid back already; close the ticket";
    ines.broker.decide_approval(&second, false, sentence).await?;
    let denial = match bot.token(request).await {
        Err(denial) if denial.reason() == Some(Reason::ApprovalDenied) => denial,
        other => bail!("the second refund should have been denied: {:?}", other.err()),
    };
    ensure!(denial.message().contains(sentence), "the agent should have received the sentence");
    writeln!(out, "   denied     the agent receives: {}", denial.message())?;

    let mut thief = Theft::new(caller, Some(token), Use::Refund);
    let ending = async {
        let before = Instant::now();
        stage.orchestrator.complete_task(&task.id).await?;
        Ok(before)
    };
    let (ended, refused) = thief.during(ending).await?;
    let after = refused.at.since(ended);
    writeln!(out, "   ended      the orchestrator declares it complete")?;
    writeln!(out, "   refused    token after {}: {}", millis(after), refused.why)?;
    Ok(Refused { token: after, certificate: None })
}

/// The same request whenever it has the same name.
fn named(task: &v1::Task, name: &str) -> v1::IssueCredentialRequest {
    let request_id = format!("{}-{}", name.replace(' ', "-"), task.id);
    v1::IssueCredentialRequest { request_id, ..asking(task, REFUND) }
}

/// Asks, and gives the approval that the agent has to wait for.
async fn told_to_wait(
    out: &mut dyn Write,
    bot: &Party,
    request: v1::IssueCredentialRequest,
) -> anyhow::Result<String> {
    match bot.token(request).await {
        Err(error) if error.reason() == Some(Reason::ApprovalRequired) => {
            writeln!(out, "   asked      {}", error.message())?;
            Ok(error.metadata().get("approval").context("the refusal should name the approval")?.clone())
        }
        Err(error) => Err(error.into()),
        Ok(_) => bail!("a refund should need an approval"),
    }
}

async fn refused_to_vote(broker: &Broker, approval: &str) -> anyhow::Result<Error> {
    match broker.decide_approval(approval, true, "it looks right").await {
        Err(refusal) if refusal.reason() == Some(Reason::ApproverNotEligible) => Ok(refusal),
        Err(refusal) => Err(refusal.into()),
        Ok(_) => bail!("a workload should never be able to approve"),
    }
}
