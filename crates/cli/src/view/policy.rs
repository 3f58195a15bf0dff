//! Plans of a change of policies, and the sets that were in force.

use super::{rfc3339, timestamp, word};
use crate::output::{Record, Style};
use serde::Serialize;
use taskpass_client::Plan;
use taskpass_proto::v1;
use taskpass_types::Timestamp;

/// A previewed change.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanView {
    pub(crate) id: String,
    pub(crate) from_revision: String,
    pub(crate) to_revision: String,
    policies: u32,
    examined: u64,
    pub(crate) affected: u64,
    agents: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) items: Vec<PlanItemView>,
}

/// A live task or lease that would lose something.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanItemView {
    id: String,
    agent: String,
    task_id: String,
    resource: String,
    actions: Vec<String>,
    why: String,
    rule: String,
    /// `report`, `shorten`, `grace`, `revoke`.
    action: String,
    /// Null: it does not end by it.
    #[serde(serialize_with = "rfc3339")]
    end_time: Option<Timestamp>,
    /// The rule only watches.
    shadow: bool,
}

impl From<Plan> for PlanView {
    fn from(Plan { plan, items }: Plan) -> Self {
        Self {
            id: plan.id,
            from_revision: plan.from_revision,
            to_revision: plan.to_revision,
            policies: plan.policies,
            examined: plan.examined,
            affected: plan.affected,
            agents: plan.agents,
            warnings: plan.warnings,
            items: items.into_iter().map(PlanItemView::from).collect(),
        }
    }
}

impl From<v1::PlanItem> for PlanItemView {
    fn from(item: v1::PlanItem) -> Self {
        Self {
            action: word(item.action().as_str_name(), "DRIFT_ACTION_"),
            id: item.id,
            agent: item.agent,
            task_id: item.task_id,
            resource: item.resource,
            actions: item.actions,
            why: item.why,
            rule: item.rule,
            end_time: timestamp(item.end_time),
            shadow: item.shadow,
        }
    }
}

impl PlanView {
    /// Whether the policies of the plan are those in force.
    pub(crate) fn is_in_force(&self) -> bool {
        self.from_revision == self.to_revision
    }

    /// The sum, in one line.
    pub(crate) fn sum(&self) -> String {
        let Self { examined, affected, agents, .. } = self;
        match affected {
            0 => format!("examined {examined}, none would lose anything"),
            _ => format!("examined {examined}, {affected} would lose something, of {} agents", agents.len()),
        }
    }
}

impl Record for PlanView {
    const KIND: &'static str = "PolicyPlan";
    const COLUMNS: &'static [&'static str] = &["PLAN", "FROM", "TO", "EXAMINED", "AFFECTED"];

    fn name(&self) -> String {
        self.id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![
            style.id(&self.id),
            self.from_revision.clone(),
            self.to_revision.clone(),
            self.examined.to_string(),
            self.affected.to_string(),
        ]
    }

    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        vec![("plan", self.id.clone()), ("effect", self.sum())]
    }
}

impl Record for PlanItemView {
    const KIND: &'static str = "PolicyPlanItem";
    const COLUMNS: &'static [&'static str] = &["ID", "AGENT", "RESOURCE", "ACTIONS", "THEN", "ENDS", "WHY"];

    fn name(&self) -> String {
        self.id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        let shadow = if self.shadow { " (shadow)" } else { "" };
        let ends = match (self.end_time, self.action.as_str()) {
            _ if self.shadow => "-".to_owned(),
            (_, "revoke") => "at once".to_owned(),
            (at, _) => style.left(at),
        };
        vec![
            style.id(&self.id),
            self.agent.clone(),
            self.resource.clone(),
            style.text(&self.actions.join(",")),
            format!("{}{shadow}", self.action),
            ends,
            style.sentence(&self.why),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![("item", self.row(style).join(" "))]
    }
}

/// A set that was in force.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicySetView {
    number: u64,
    revision: String,
    #[serde(serialize_with = "rfc3339")]
    time: Option<Timestamp>,
    by: String,
    /// `files`, `applied`, `rolled_back`.
    origin: String,
    bytes: u64,
}

impl From<v1::PolicySet> for PolicySetView {
    fn from(set: v1::PolicySet) -> Self {
        Self {
            number: set.number,
            revision: set.revision,
            time: timestamp(set.time),
            by: set.by,
            origin: set.origin,
            bytes: set.bytes,
        }
    }
}

impl Record for PolicySetView {
    const KIND: &'static str = "PolicySet";
    const COLUMNS: &'static [&'static str] = &["NUMBER", "REVISION", "SINCE", "BY", "HOW", "BYTES"];

    fn name(&self) -> String {
        self.revision.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![
            self.number.to_string(),
            self.revision.clone(),
            style.past(self.time),
            self.by.clone(),
            self.origin.replace('_', " "),
            self.bytes.to_string(),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![("set", self.row(style).join(" "))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;

    const STYLE: Style = Style { now: Timestamp::from_secs(100), terminal: true };

    #[test]
    fn keys_are_stable() {
        let plan = Plan { items: vec![v1::PlanItem::default()], ..Plan::default() };
        insta::assert_snapshot!(keys(&PlanView::from(plan)), @r"
        .affected
        .agents
        .examined
        .fromRevision
        .id
        .items
        .items[].action
        .items[].actions
        .items[].agent
        .items[].endTime
        .items[].id
        .items[].resource
        .items[].rule
        .items[].shadow
        .items[].taskId
        .items[].why
        .policies
        .toRevision
        .warnings
        ");
        insta::assert_snapshot!(keys(&PolicySetView::from(v1::PolicySet::default())), @r"
        .by
        .bytes
        .number
        .origin
        .revision
        .time
        ");
    }

    #[test]
    fn what_follows_and_when_is_told() {
        let at = Some(prost_types::Timestamp { seconds: 130, nanos: 0 });
        for (action, end_time, shadow, then, ends) in [
            (v1::DriftAction::Revoke, at, false, "revoke", "at once"),
            (v1::DriftAction::Grace, at, false, "grace", "30s"),
            (v1::DriftAction::Report, None, false, "report", "-"),
            (v1::DriftAction::Revoke, None, true, "revoke (shadow)", "-"),
            (v1::DriftAction::Grace, at, true, "grace (shadow)", "-"),
        ] {
            let item = v1::PlanItem { action: action.into(), end_time, shadow, ..Default::default() };
            let row = PlanItemView::from(item).row(&STYLE);
            assert_eq!(row.len(), PlanItemView::COLUMNS.len());
            assert_eq!((row[4].as_str(), row[5].as_str()), (then, ends));
        }
    }

    #[test]
    fn the_sum_counts() {
        let mut plan = Plan::default();
        plan.plan.examined = 12;
        assert_eq!(PlanView::from(plan.clone()).sum(), "examined 12, none would lose anything");
        plan.plan.affected = 3;
        plan.plan.agents = vec!["ci/bot".into()];
        assert_eq!(PlanView::from(plan).sum(), "examined 12, 3 would lose something, of 1 agents");
    }
}
