//! Changes of the policies: looked at, confirmed, made.

use super::check;
use crate::{
    error::{Exit, Failure},
    output::{Format, Record, Style, table, text::safe},
    session::{Outcome, Session},
    view::{PlanItemView, PlanView},
};
use serde::Serialize;
use std::path::Path;
use taskpass_client::Broker;
use taskpass_policy::{Policies, Report};
use taskpass_proto::v1;
use taskpass_types::Reason;

/// Reads a directory as the broker would. `None`: it would not take it, and what is wrong was shown.
pub(super) fn load(session: &Session, dir: &Path) -> Result<Option<Policies>, Failure> {
    match Policies::load_dir(dir) {
        Ok(policies) => Ok(Some(policies)),
        Err(error) => {
            check::show(session, &Report::of(Err(error)))?;
            Ok(None)
        }
    }
}

/// What another set would change.
pub(super) async fn preview(broker: &Broker, policies: &Policies) -> Result<PlanView, Failure> {
    Ok(PlanView::from(broker.plan_policies(policies.sources()).await?))
}

/// What would be lost, for people or programs.
pub(super) fn show(session: &Session, plan: &PlanView) -> Result<(), Failure> {
    match session.out.format {
        Format::Table => session.out.print(&text(plan, &session.out.style))?,
        Format::Jsonl => plan.items.iter().try_for_each(|item| session.out.jsonl(item))?,
        Format::Json | Format::Name | Format::Yaml => session.out.one(plan)?,
    }
    Ok(())
}

fn text(plan: &PlanView, style: &Style) -> String {
    let mut text = String::new();
    for warning in &plan.warnings {
        text.push_str(&format!("warn   {}\n", safe(warning)));
    }
    if !plan.items.is_empty() {
        text.push_str(&table(PlanItemView::COLUMNS, plan.items.iter().map(|item| item.row(style))));
    }
    text.push_str(&format!("{}\n", plan.sum()));
    text
}

/// What a change came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppliedView {
    revision: String,
    affected: u64,
    plan_id: String,
}

/// Shows a plan, asks when it would take something, and puts it in force.
pub(super) async fn confirm(
    session: &Session,
    broker: &Broker,
    plan: &PlanView,
    reason: &str,
    yes: bool,
) -> Outcome {
    if plan.is_in_force() {
        session.out.say(&format!("{} is in force already", plan.to_revision));
        return Ok(Exit::Done);
    }
    if session.out.format == Format::Table {
        show(session, plan)?;
    }
    if plan.affected > 0 && !yes {
        may(session, plan)?;
    }
    apply(session, broker, &plan.id, reason).await
}

/// Asks whoever is there. Nobody there is a no.
fn may(session: &Session, plan: &PlanView) -> Result<(), Failure> {
    let refused = |what: &str| {
        Failure::usage(what)
            .why(plan.sum())
            .fix("add --yes")
            .fix(format!("or within ten minutes: taskpass policy apply --plan {} --reason \"…\"", plan.id))
            .id("plan", &plan.id)
    };
    if !session.out.can_ask() {
        return Err(refused("the change would take something from what lives, and nobody can be asked"));
    }
    match session.out.ask(&format!("put {} in force?", plan.to_revision))? {
        true => Ok(()),
        false => Err(refused("nothing was changed")),
    }
}

/// Puts exactly what was previewed in force.
pub(super) async fn apply(session: &Session, broker: &Broker, plan: &str, reason: &str) -> Outcome {
    let v1::ApplyPoliciesResponse { revision, affected } =
        broker.apply_policies(plan, reason).await.map_err(|error| {
            let outdated = error.reason() == Some(Reason::PolicyChanged);
            let failure = Failure::from(error);
            // Asking the same again is no use: the preview is of another state.
            if outdated { failure.exits(Exit::Conflict) } else { failure }
        })?;
    session.out.one(&AppliedView { revision, affected, plan_id: plan.to_owned() })?;
    session.out.hint("taskpass policy history    go back: taskpass policy rollback REVISION --reason \"…\"");
    Ok(Exit::Done)
}

impl Record for AppliedView {
    const KIND: &'static str = "PolicyChange";
    const COLUMNS: &'static [&'static str] = &["REVISION", "AFFECTED"];

    fn name(&self) -> String {
        self.revision.clone()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.revision.clone(), self.affected.to_string()]
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        let took = match self.affected {
            0 => "nothing from what lives".to_owned(),
            affected => format!("something from {affected} tasks and leases, as previewed"),
        };
        vec![("in force", self.revision.clone()), ("takes", took)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskpass_client::Plan;
    use taskpass_types::Timestamp;

    #[test]
    fn people_see_warnings_what_would_be_lost_and_the_sum() {
        let mut plan = Plan::default();
        plan.plan.warnings = vec!["a.cedar:1:1: never \u{1b}[2Jmatches".into()];
        plan.plan.affected = 1;
        plan.plan.agents = vec!["ci/bot".into()];
        plan.items = vec![v1::PlanItem { id: "ls_1".into(), agent: "ci/bot".into(), ..Default::default() }];
        let style = Style { now: Timestamp::default(), terminal: false };
        let text = text(&PlanView::from(plan), &style);
        assert!(text.starts_with("warn   a.cedar:1:1: never \\u{1b}[2Jmatches\nID    AGENT"), "{text}");
        assert!(text.ends_with("examined 0, 1 would lose something, of 1 agents\n"), "{text}");
    }
}
