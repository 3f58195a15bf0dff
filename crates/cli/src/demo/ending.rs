//! The four ways for a task to end, and the proof after each of them.

use super::{
    agent::{Agent, Report},
    chapter::Refused,
    millis,
    stage::Stage,
    stopwatch::Instant,
    theft::{PATIENCE, Refusal, Theft, Use, in_time},
};
use crate::sandbox::{Caller, RESOURCE};
use anyhow::{Context, bail, ensure};
use std::{io::Write, time::Duration};
use taskpass_proto::v1;

/// One way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Complete,
    Drift,
    Silence,
    TimeOut,
}

impl Ending {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Complete => "the task completes",
            Self::Drift => "a policy file is edited on disk",
            Self::Silence => "the agent's process is killed",
            Self::TimeOut => "the task times out",
        }
    }

    /// How long the task may run, and how often its agent shows life.
    fn terms(self) -> (Duration, Option<Duration>) {
        match self {
            Self::Complete | Self::Drift => (Duration::from_secs(300), None),
            Self::Silence => (Duration::from_secs(300), Some(Duration::from_secs(1))),
            Self::TimeOut => (Duration::from_secs(3), None),
        }
    }

    pub(super) async fn play(self, stage: &Stage, out: &mut dyn Write) -> anyhow::Result<Refused> {
        let task = self.start(stage, out).await?;
        let mut agent = stage.agent(&format!("agent-{self:?}").to_lowercase(), &task.id).await?;
        let used = agent.report().await?;
        shown(out, &agent, &used)?;
        ensure!((used.token, used.certificate) == (200, 200), "both credentials should have been accepted");

        let alone =
            Caller::plain(stage.invoices.http).await?.get("/invoices", Some(&agent.stolen("token")?)).await?;
        ensure!(
            alone.status == 401,
            "the token is bound to the agent's key; without it, it should be refused"
        );
        writeln!(out, "   bound      the token without the agent's key: {}", alone.status)?;

        // From here on somebody with a copy of both credentials uses them without pause.
        let [mut bearer, mut bound] = stolen(stage, &agent).await?;
        let refused = in_time(async { tokio::try_join!(bearer.until_refused(), bound.until_refused()) });
        let ((ended, agent), (token, certificate)) =
            tokio::try_join!(self.end(stage, agent, &task, out), refused)?;
        let after = |refusal: &Refusal| refusal.at.since(ended.unwrap_or(refusal.at));
        let result = Refused { token: after(&token), certificate: Some(after(&certificate)) };
        writeln!(out, "   refused    token after {}: {}", millis(after(&token)), token.why)?;
        writeln!(
            out,
            "   refused    certificate after {}: {}",
            millis(after(&certificate)),
            certificate.why
        )?;
        if let Some(mut agent) = agent {
            let late = agent.again().await?;
            ensure!((late.token, late.certificate) == (401, 401), "the agent itself should be refused too");
            writeln!(
                out,
                "   and so     the agent itself: token {}, certificate {}",
                late.token, late.certificate
            )?;
        }
        self.afterwards(stage, &task, out).await?;
        Ok(result)
    }

    async fn start(self, stage: &Stage, out: &mut dyn Write) -> anyhow::Result<v1::Task> {
        let (ttl, heartbeat) = self.terms();
        let mut task = stage
            .orchestrator
            .task("close the November invoices")
            .agent("dev/invoice-bot")
            .scope(format!("{RESOURCE}:invoice:read"))
            .ttl(ttl);
        if let Some(every) = heartbeat {
            task = task.heartbeat(every);
        }
        // The agent shows life, not the orchestrator.
        let task = task.start().await?.release();
        writeln!(
            out,
            "   started    {} for {} by {}, at most {} s",
            task.id,
            task.agent,
            task.initiator,
            ttl.as_secs()
        )?;
        Ok(task)
    }

    /// Ends the task its way. Says when it ended, and gives the agent back if it still lives.
    async fn end(
        self,
        stage: &Stage,
        agent: Agent,
        task: &v1::Task,
        out: &mut dyn Write,
    ) -> anyhow::Result<(Option<Instant>, Option<Agent>)> {
        match self {
            Self::Complete => {
                let before = Instant::now();
                stage.orchestrator.complete_task(&task.id).await?;
                writeln!(out, "   ended      the orchestrator declares it complete")?;
                Ok((Some(before), Some(agent)))
            }
            Self::TimeOut => {
                let ended = wait_for_end(stage, task).await?;
                writeln!(out, "   ended      nobody did anything: {}", reason(&ended))?;
                Ok((time(&ended), Some(agent)))
            }
            Self::Silence => {
                let (pid, killed) = (agent.pid(), Instant::now());
                agent.kill().await?;
                writeln!(out, "   killed     process {pid} with SIGKILL; it could tell nobody")?;
                let ended = wait_for_end(stage, task).await?;
                let noticed = time(&ended).map(|at| millis(at.since(killed))).unwrap_or_default();
                writeln!(
                    out,
                    "   ended      {} after {noticed}: three heartbeats of 1 s were missing",
                    reason(&ended)
                )?;
                Ok((time(&ended), None))
            }
            Self::Drift => {
                let path = stage.sandbox.policies().join("agents.cedar");
                let text = std::fs::read_to_string(&path)?;
                let edited = text.replace("\"invoice:read\"", "\"invoice:list\"");
                ensure!(edited != text, "the demo's policy has changed");
                let new = path.with_extension("new");
                std::fs::write(&new, edited)?;
                let saved = Instant::now();
                std::fs::rename(&new, &path)?;
                writeln!(out, "   edited     {}: reading invoices is no longer permitted", path.display())?;
                Ok((Some(saved), Some(agent)))
            }
        }
    }

    /// What is left to show: after a drift, why a new credential is denied too.
    async fn afterwards(self, stage: &Stage, task: &v1::Task, out: &mut dyn Write) -> anyhow::Result<()> {
        if self != Self::Drift {
            return Ok(());
        }
        let mut agent = stage.agent("agent-late", &task.id).await?;
        let Err(denial) = agent.report().await else { bail!("a new credential should have been denied") };
        let leases = stage
            .operator
            .list_leases(v1::ListLeasesRequest { task_id: task.id.clone(), ..Default::default() });
        let leases = leases.await?.leases;
        ensure!(
            leases
                .iter()
                .all(|lease| lease.end.as_ref().is_some_and(|end| end.reason() == v1::EndReason::Drifted)),
            "both leases should have ended by drift"
        );
        writeln!(out, "   and so     both leases ended by drift, and asking again is denied:")?;
        for line in denial.to_string().lines() {
            writeln!(out, "              {line}")?;
        }
        stage.operator.cancel_task(&task.id, "the demo is over").await?;
        Ok(())
    }
}

fn shown(out: &mut dyn Write, agent: &Agent, used: &Report) -> std::io::Result<()> {
    writeln!(out, "   attested   {} as {}, process {}", used.agent, used.evidence, agent.pid())?;
    writeln!(out, "   issued     token {}, certificate {}", used.token_lease, used.certificate_lease)?;
    writeln!(out, "   accepted   token {}, certificate {}", used.token, used.certificate)
}

async fn wait_for_end(stage: &Stage, task: &v1::Task) -> anyhow::Result<v1::Task> {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let seen = stage.operator.find_task(&task.id).await?;
            if seen.end.is_some() {
                return anyhow::Ok(seen);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.context("the task should have ended by now")?
}

fn reason(task: &v1::Task) -> String {
    let reason = task.end.as_ref().map(|end| end.reason().as_str_name()).unwrap_or("still running");
    reason.trim_start_matches("END_REASON_").to_lowercase().replace('_', " ")
}

fn time(task: &v1::Task) -> Option<Instant> {
    task.end.as_ref()?.time.as_ref().map(Instant::from_wire)
}

/// Copies of both credentials, and of the keys that they are bound to.
async fn stolen(stage: &Stage, agent: &Agent) -> anyhow::Result<[Theft; 2]> {
    let connect = async |name: &str| -> anyhow::Result<Caller> {
        let (chain, key) = (agent.stolen(&format!("{name}.pem"))?, agent.stolen(&format!("{name}.key"))?);
        let root = stage.sandbox.authority.certificate_pem();
        Caller::certified(stage.invoices.https, root, &chain, &key).await
    };
    let token = Some(agent.stolen("token")?);
    Ok([
        Theft::new(connect("svid").await?, token, Use::Read),
        Theft::new(connect("task").await?, None, Use::Read),
    ])
}
