//! Single tool calls: one that was declared is allowed and written down; one that was not ends the lease.

use super::{
    chapter::Refused,
    millis,
    stage::{Party, Stage, asking},
    stopwatch::Instant,
    theft::{Theft, Use},
};
use crate::sandbox::RESOURCE;
use anyhow::{Context, bail, ensure};
use std::io::Write;
use taskpass_audit::{Entry, read_dir};
use taskpass_client::Arguments;
use taskpass_proto::v1;
use taskpass_types::Reason;

/// More than a demo writes.
const ENTRIES: usize = 10_000;

pub(super) async fn play(stage: &Stage, out: &mut dyn Write) -> anyhow::Result<Refused> {
    let purpose = "list the open invoices";
    let task = stage.task(out, ("dev/invoice-bot", "report"), purpose, &["invoice:read"]).await?;
    let bot = stage.party("agent/invoice-bot").await?;
    let (lease, token) = bot.token(asking(&task, "invoice:read")).await?;
    writeln!(out, "   issued     token {}", lease.id)?;

    let allowed = call(&bot, &lease, "invoice.list", "invoice:read").await?;
    let decision = allowed.decision.context("an answer has a decision")?;
    ensure!(decision.allowed, "the call should have been allowed: {}", decision.why);
    let entry = written(stage, &allowed.call_id)?;
    writeln!(out, "   allowed    {} of invoice.list, by {}", allowed.call_id, decision.policies.join(" "))?;
    writeln!(out, "   written    entry {}: {} {}", entry.seq, entry.code, entry.action)?;

    let mut thief = Theft::new(bot.caller(stage).await?, Some(token), Use::Read);
    let calling = async {
        let before = Instant::now();
        Ok((before, call(&bot, &lease, "refund.create", "invoice:refund").await?))
    };
    let ((called, denied), refused) = thief.during(calling).await?;
    let decision = denied.decision.context("an answer has a decision")?;
    ensure!(!decision.allowed, "a call outside the declared scopes should have been denied");
    ensure!(decision.consequence() == v1::Consequence::Kill, "policy should have ended the lease");
    writeln!(out, "   denied     refund.create: {}", decision.why)?;
    let after = refused.at.since(called);
    writeln!(out, "   refused    token after {}: {}", millis(after), refused.why)?;

    let ended = stage.operator.find_lease(&lease.id).await?.end.context("the lease should have ended")?;
    ensure!(ended.reason() == v1::EndReason::Drifted, "the lease should have ended by drift: {ended:?}");
    match bot.token(asking(&task, "invoice:read")).await {
        Err(held) if held.reason() == Some(Reason::HeldAfterKill) => {
            writeln!(out, "   and so     asking again: {}", held.message())?;
        }
        other => bail!("the agent should be held off: {:?}", other.err()),
    }
    stage.orchestrator.cancel_task(&task.id, "the agent did what it had not declared").await?;
    Ok(Refused { token: after, certificate: None })
}

async fn call(
    bot: &Party,
    lease: &v1::Lease,
    tool: &str,
    action: &str,
) -> anyhow::Result<v1::AuthorizeToolCallResponse> {
    let arguments = Arguments::new(br#"{"invoice":"7302"}"#)?;
    let call = v1::ToolCall {
        lease_id: lease.id.clone(),
        tool: tool.to_owned(),
        resource: RESOURCE.to_owned(),
        action: action.to_owned(),
        arguments_digest: arguments.digest().to_vec().into(),
        ..Default::default()
    };
    let request = v1::AuthorizeToolCallRequest { call: Some(call), ..Default::default() };
    Ok(bot.broker.authorize_call(request).await?)
}

/// The entry of the audit log that announced the call; it was there before the answer.
fn written(stage: &Stage, call: &str) -> anyhow::Result<Entry> {
    for line in read_dir(&stage.sandbox.dir().join("data/audit"), 1, ENTRIES)? {
        let entry = line.entry()?;
        if entry.call.as_deref() == Some(call) {
            return Ok(entry);
        }
    }
    bail!("the call should be in the audit log")
}
