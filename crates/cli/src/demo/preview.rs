//! A change of the policies that is looked at before it is made: what it would take, and then exactly that.

use super::{
    chapter::Refused,
    millis,
    stage::{Party, Stage, asking},
    stopwatch::Instant,
    theft::{Theft, Use, in_time},
};
use anyhow::{Context, ensure};
use std::{collections::BTreeSet, io::Write};
use taskpass_proto::v1;

const READ: &str = "invoice:read";

/// The change.
const STRICTER: &str = r#"
@id("no-browsing")
@description("invoices are read for a task that needs them")
forbid (principal, action, resource)
when { context.task.kind == "browse" };
"#;

/// A live lease with its token.
struct Live {
    lease: v1::Lease,
    token: String,
}

pub(super) async fn play(stage: &Stage, out: &mut dyn Write) -> anyhow::Result<Refused> {
    let (bot, writer) = (stage.party("agent/invoice-bot").await?, stage.party("agent/report-writer").await?);
    let (mut browsing, mut working, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
    for (agent, party) in [("dev/invoice-bot", &bot), ("dev/report-writer", &writer)] {
        for (kind, purpose, list) in
            [("browse", "look around", &mut browsing), ("report", "report the totals", &mut working)]
        {
            let task = stage.task(out, (agent, kind), purpose, &[READ]).await?;
            list.push((party, live(party, &task).await?));
            tasks.push(task);
        }
    }

    let mut files = files(stage)?;
    files.push(("no-browsing.cedar".to_owned(), STRICTER.to_owned()));
    let planned = stage.operator.plan_policies(files).await?;
    let plan = planned.plan;
    writeln!(
        out,
        "   previewed  no-browsing.cedar would take {} of {} that live",
        plan.affected, plan.examined
    )?;
    for item in &planned.items {
        writeln!(out, "              {} of {}, by {}: {}", item.id, item.agent, item.rule, item.why)?;
    }
    let previewed: BTreeSet<_> = planned.items.iter().map(|item| item.id.as_str()).collect();
    let expected: BTreeSet<_> = browsing.iter().map(|(_, live)| live.lease.id.as_str()).collect();
    ensure!(previewed == expected, "the preview should name the leases under `browse`, and no others");

    let mut thieves = Vec::new();
    for (party, live) in &browsing {
        thieves.push(Theft::new(party.caller(stage).await?, Some(live.token.clone()), Use::Read));
    }
    let [first, second] = thieves.as_mut_slice() else { anyhow::bail!("there should be two") };
    let applying = async {
        let before = Instant::now();
        let applied = stage.operator.apply_policies(&plan.id, "browsing is over").await?;
        anyhow::Ok((before, applied))
    };
    let refused = in_time(async { tokio::try_join!(first.until_refused(), second.until_refused()) });
    let ((saved, applied), (one, other)) = tokio::try_join!(applying, refused)?;
    ensure!(applied.affected == plan.affected, "what is applied should be what was previewed");
    writeln!(out, "   applied    revision {}, over the operator's connection", applied.revision)?;
    let last = if one.at > other.at { one } else { other };
    let after = last.at.since(saved);
    writeln!(out, "   refused    both tokens after {}: {}", millis(after), last.why)?;

    let mut statuses = Vec::new();
    for (party, Live { lease, token }) in &working {
        let answer = party.caller(stage).await?.get("/invoices", Some(token)).await?;
        let seen = stage.operator.find_lease(&lease.id).await?;
        ensure!(answer.is_ok() && seen.end.is_none(), "{} should live on: {answer:?}", lease.id);
        statuses.push(answer.status.to_string());
    }
    writeln!(out, "   and so     the two others: {}", statuses.join(", "))?;
    for task in tasks {
        stage.orchestrator.complete_task(&task.id).await?;
    }
    Ok(Refused { token: after, certificate: None })
}

async fn live(party: &Party, task: &v1::Task) -> anyhow::Result<Live> {
    let (lease, token) = party.token(asking(task, READ)).await?;
    Ok(Live { lease, token })
}

/// The policy files as they are.
fn files(stage: &Stage) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(stage.sandbox.policies())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a policy file has a name")?;
        files.push((name.to_owned(), std::fs::read_to_string(&path)?));
    }
    files.sort_unstable();
    Ok(files)
}
