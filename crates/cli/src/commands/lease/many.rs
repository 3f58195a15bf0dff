//! Killing whatever a selector means: shown first, asked for, then done.

use crate::{
    args::{Pair, Verifiers, proto_span},
    error::{Exit, Failure},
    output::{Format, Record, table},
    session::{Outcome, Session},
    span::Span,
    view::{KillPlanView, KilledView, LeaseView},
};
use clap::Args;
use taskpass_client::Broker;
use taskpass_proto::v1::{self, kill_leases_request::What};

/// Which leases. Those that match all of what is said.
#[derive(Args, Debug, Default)]
pub(super) struct Selector {
    /// All that this agent holds or has handed on
    #[arg(long, value_name = "AGENT", default_value = "", hide_default_value = true)]
    agent: String,
    /// All that this person answers for
    #[arg(long, value_name = "OWNER", default_value = "", hide_default_value = true)]
    owner: String,
    /// All for this resource
    #[arg(long, value_name = "RESOURCE", default_value = "", hide_default_value = true)]
    resource: String,
    /// All directly under this task
    #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
    task: String,
    /// All under this task and those below it
    #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
    tree: String,
    /// All that this policy allowed
    #[arg(long, value_name = "POLICY", default_value = "", hide_default_value = true)]
    policy: String,
    /// All that were first issued at least so long ago
    #[arg(long, value_name = "SPAN")]
    older_than: Option<Span>,
    /// All whose task has this label; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<Pair>,
    /// All that there is
    #[arg(long)]
    all: bool,
}

impl Selector {
    pub(super) fn is_empty(&self) -> bool {
        let words = [&self.agent, &self.owner, &self.resource, &self.task, &self.tree, &self.policy];
        words.iter().all(|word| word.is_empty())
            && self.older_than.is_none()
            && self.label.is_empty()
            && !self.all
    }

    fn message(&self) -> Result<v1::KillSelector, Failure> {
        Ok(v1::KillSelector {
            agent: self.agent.clone(),
            owner: self.owner.clone(),
            resource: self.resource.clone(),
            task_id: self.task.clone(),
            tree_id: self.tree.clone(),
            policy: self.policy.clone(),
            older_than: self.older_than.map(proto_span).transpose()?,
            labels: self.label.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect(),
            all: self.all,
        })
    }
}

/// Looking at a kill before it is done, and doing exactly that.
#[derive(Args, Debug, Default)]
pub(super) struct Care {
    /// Only show what would end, and give it a plan
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// End exactly what that plan showed, within ten minutes of it
    #[arg(long, value_name = "ID", conflicts_with = "dry_run")]
    plan: Option<String>,
    /// Do nothing if more leases than this match by now
    #[arg(long, value_name = "COUNT")]
    expect: Option<u32>,
    /// For all, or more than 50: the tenant's name
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    confirm: String,
}

impl Care {
    pub(super) fn is_about_many(&self) -> bool {
        self.dry_run || self.plan.is_some() || self.expect.is_some() || !self.confirm.is_empty()
    }

    pub(super) fn plans(&self) -> bool {
        self.plan.is_some()
    }
}

/// A kill of what a selector means.
pub(super) struct Many<'a> {
    pub(super) selector: &'a Selector,
    pub(super) care: &'a Care,
    pub(super) reason: Option<&'a str>,
    pub(super) reissue_ok: bool,
    pub(super) quarantine: Option<Span>,
    pub(super) yes: bool,
    pub(super) verifiers: Verifiers,
}

impl Many<'_> {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let reason = self.reason.unwrap_or_default();
        if !self.care.dry_run && reason.is_empty() {
            return Err(Failure::usage("killing several leases needs a reason").fix("add --reason TEXT"));
        }
        let broker = session.broker().await?;
        let mut confirm = self.care.confirm.clone();
        let what = match &self.care.plan {
            Some(plan) => What::PlanId(plan.clone()),
            None => {
                let selector = self.selector.message()?;
                if self.care.dry_run || !self.yes {
                    let plan = KillPlanView::new(broker.plan_kill(selector.clone()).await?, session.now());
                    if self.care.dry_run {
                        return self.show(session, &plan);
                    }
                    confirm = self.may(session, &broker, &plan, confirm).await?;
                }
                What::Selector(selector)
            }
        };
        let request = v1::KillLeasesRequest {
            what: Some(what),
            reason: reason.to_owned(),
            expect: self.care.expect.unwrap_or_default(),
            confirm,
            reissue_ok: self.reissue_ok,
            quarantine: self.quarantine.map(proto_span).transpose()?,
            wait: self.verifiers.wait(),
        };
        let killed = KilledView::new(broker.kill_leases(request).await?, session.now());
        session.out.one(&killed)?;
        session.out.hint("taskpass hold list    taskpass lease list");
        Ok(match killed.failures.is_empty() {
            true => self.verifiers.exit([&killed.enforcement]),
            false => Exit::Partly,
        })
    }

    fn show(&self, session: &Session, plan: &KillPlanView) -> Outcome {
        match session.out.format {
            Format::Table => {
                session.out.print(&preview(session, plan))?;
                let confirm = if plan.needs_confirm { " --confirm TENANT" } else { "" };
                session
                    .out
                    .hint(&format!("taskpass lease kill --plan {} --reason \"…\"{confirm}", plan.plan_id));
            }
            Format::Name => session.out.print(&format!("{}\n", plan.plan_id))?,
            Format::Jsonl => plan.leases.iter().try_for_each(|lease| session.out.jsonl(lease))?,
            Format::Json | Format::Yaml => session.out.one(plan)?,
        }
        Ok(Exit::Done)
    }

    /// Asks whoever is there. Nobody there is a no.
    async fn may(
        &self,
        session: &Session,
        broker: &Broker,
        plan: &KillPlanView,
        confirm: String,
    ) -> Result<String, Failure> {
        let refused = |what: &str| {
            Failure::usage(what)
                .why(plan.sum())
                .fix(if plan.needs_confirm { "add --yes --confirm TENANT" } else { "add --yes" })
                .id("plan", &plan.plan_id)
        };
        if !session.out.can_ask() {
            return Err(refused("leases would be killed, and nobody can be asked"));
        }
        session.out.print(&preview(session, plan))?;
        if !plan.needs_confirm || !confirm.is_empty() {
            return match session.out.ask("kill them?")? {
                true => Ok(confirm),
                false => Err(refused("nothing was killed")),
            };
        }
        let tenant = broker.whoami().await?.tenant;
        match session.out.ask_for("All of that?", &tenant)? {
            true => Ok(tenant),
            false => Err(refused("nothing was killed")),
        }
    }
}

fn preview(session: &Session, plan: &KillPlanView) -> String {
    let style = &session.out.style;
    let mut text = String::new();
    if !plan.leases.is_empty() {
        text.push_str(&table(LeaseView::COLUMNS, plan.leases.iter().map(|lease| lease.row(style))));
    }
    text.push_str(&format!("{}\n", plan.sum()));
    text
}
