//! A kill of many leases, before and after; and holds that are wider than a task.

use super::{EnforcementView, LeaseView, rfc3339, timestamp, word};
use crate::output::{Record, Style};
use serde::Serialize;
use taskpass_proto::v1::{self, wide::What};
use taskpass_types::Timestamp;

/// Something wider than a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WideView {
    /// `agent`, `owner`, `resource`, `tenant`.
    kind: &'static str,
    /// Empty: the tenant.
    name: String,
}

impl From<v1::Wide> for WideView {
    fn from(wide: v1::Wide) -> Self {
        let (kind, name) = match wide.what {
            Some(What::Agent(name)) => ("agent", name),
            Some(What::Owner(name)) => ("owner", name),
            Some(What::Resource(name)) => ("resource", name),
            Some(What::Tenant(_)) | None => ("tenant", String::new()),
        };
        Self { kind, name }
    }
}

impl WideView {
    /// For people: `agent ci/bot`, `everything`.
    pub(crate) fn words(&self) -> String {
        match self.kind {
            "tenant" => "everything".to_owned(),
            kind => format!("{kind} {}", self.name),
        }
    }
}

/// What a kill would end.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KillPlanView {
    pub(crate) plan_id: String,
    #[serde(serialize_with = "rfc3339")]
    expire_time: Option<Timestamp>,
    pub(crate) matched: u32,
    /// The newest of them; at most 256.
    pub(crate) leases: Vec<LeaseView>,
    /// Null: each is ended by itself.
    wide: Option<WideView>,
    pub(crate) needs_confirm: bool,
}

impl KillPlanView {
    pub(crate) fn new(plan: v1::PlanKillResponse, now: Timestamp) -> Self {
        Self {
            plan_id: plan.plan_id,
            expire_time: timestamp(plan.expire_time),
            matched: plan.matched,
            leases: plan.leases.into_iter().map(|lease| LeaseView::new(lease, now)).collect(),
            wide: plan.wide.map(WideView::from),
            needs_confirm: plan.needs_confirm,
        }
    }

    /// For people, in one line.
    pub(crate) fn sum(&self) -> String {
        let Self { matched, leases, .. } = self;
        let them = if *matched == 1 { "lease" } else { "leases" };
        let more = usize::try_from(*matched).unwrap_or(usize::MAX).saturating_sub(leases.len());
        let hidden = if more == 0 { String::new() } else { format!(", {more} of them not shown") };
        match &self.wide {
            None => format!("{matched} {them}{hidden}"),
            Some(wide) if wide.kind == "tenant" => {
                format!("{matched} {them}{hidden}, and whatever else there is by then")
            }
            Some(wide) => {
                format!("{matched} {them}{hidden}, and whatever else there is of {} by then", wide.words())
            }
        }
    }
}

impl Record for KillPlanView {
    const KIND: &'static str = "KillPlan";
    const COLUMNS: &'static [&'static str] = &["PLAN", "LEASES"];

    fn name(&self) -> String {
        self.plan_id.clone()
    }

    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.plan_id.clone(), self.matched.to_string()]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![
            ("plan", self.plan_id.clone()),
            ("leases", self.sum()),
            ("good for", style.left(self.expire_time)),
        ]
    }
}

/// What a kill did.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KilledView {
    pub(crate) killed: u32,
    ended_before: u32,
    /// The newest of them; at most 256.
    leases: Vec<LeaseView>,
    /// Null: each was ended by itself.
    wide: Option<WideView>,
    /// `held`, `reissue_ok`, `quarantined`.
    after: String,
    /// Null without a quarantine.
    #[serde(serialize_with = "rfc3339")]
    held_until: Option<Timestamp>,
    /// Null: not waited for, or nothing ended.
    pub(crate) enforcement: Option<EnforcementView>,
    pub(crate) failures: Vec<FailureView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureView {
    lease_id: String,
    reason: String,
    message: String,
}

impl KilledView {
    pub(crate) fn new(answer: v1::KillLeasesResponse, now: Timestamp) -> Self {
        let failure = |failure: v1::KillFailure| {
            let v1::KillFailure { lease_id, reason, message } = failure;
            FailureView { lease_id, reason, message }
        };
        Self {
            after: word(answer.after().as_str_name(), "AFTER_KILL_"),
            killed: answer.killed,
            ended_before: answer.ended_before,
            leases: answer.leases.into_iter().map(|lease| LeaseView::new(lease, now)).collect(),
            wide: answer.wide.map(WideView::from),
            held_until: timestamp(answer.held_until),
            enforcement: answer.enforcement.map(EnforcementView::from),
            failures: answer.failures.into_iter().map(failure).collect(),
        }
    }

    fn hold(&self, style: &Style) -> String {
        let whom = self.wide.as_ref().map(WideView::words);
        match self.after.as_str() {
            "held" => whom.unwrap_or_else(|| "each agent + its task + its resource".to_owned()),
            "quarantined" => {
                let whom = whom.unwrap_or_else(|| "all that these agents do".to_owned());
                let left = style.left(self.held_until);
                if style.terminal { format!("{whom}, for {left}") } else { format!("{whom}, until {left}") }
            }
            _ => "none, agents may ask again".to_owned(),
        }
    }
}

impl Record for KilledView {
    const KIND: &'static str = "Kill";
    const COLUMNS: &'static [&'static str] = &["KILLED", "HOLD"];

    fn name(&self) -> String {
        self.leases.iter().map(|lease| lease.id.as_str()).collect::<Vec<_>>().join("\n")
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![self.killed.to_string(), self.hold(style)]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let before = match self.ended_before {
            0 => String::new(),
            count => format!(" ({count} had ended before)"),
        };
        let how = match &self.wide {
            None => String::new(),
            Some(wide) => format!(", by one record for {}", wide.words()),
        };
        let killed = [("killed", format!("{}{before}{how}", self.killed)), ("hold", self.hold(style))];
        let failed = self.failures.iter().map(|FailureView { lease_id, reason, message }| {
            ("failed", format!("{}: {message} [{reason}]", style.id(lease_id)))
        });
        let enforced = self.enforcement.iter().flat_map(|enforcement| enforcement.details(style));
        killed.into_iter().chain(failed).chain(enforced).collect()
    }
}

/// A hold wider than a task.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WideHoldView {
    wide: Option<WideView>,
    #[serde(serialize_with = "rfc3339")]
    create_time: Option<Timestamp>,
    by: String,
    /// Null: until it is lifted.
    #[serde(serialize_with = "rfc3339")]
    expire_time: Option<Timestamp>,
}

impl From<v1::WideHold> for WideHoldView {
    fn from(hold: v1::WideHold) -> Self {
        Self {
            wide: hold.wide.map(WideView::from),
            create_time: timestamp(hold.create_time),
            by: hold.by,
            expire_time: timestamp(hold.expire_time),
        }
    }
}

impl Record for WideHoldView {
    const KIND: &'static str = "Hold";
    const COLUMNS: &'static [&'static str] = &["HELD", "BY", "SINCE", "ENDS"];

    fn name(&self) -> String {
        self.wide.as_ref().map(WideView::words).unwrap_or_default()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        let ends = match self.expire_time {
            None => "when it is lifted".to_owned(),
            until => style.left(until),
        };
        vec![self.name(), self.by.clone(), style.past(self.create_time), ends]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        ["held", "by", "since", "ends"].into_iter().zip(self.row(style)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;

    fn agent() -> Option<v1::Wide> {
        Some(v1::Wide { what: Some(What::Agent("ci/bot".to_owned())) })
    }

    #[test]
    fn people_see_what_ended_what_is_held_and_what_failed() {
        let style = Style { now: Timestamp::from_secs(100), terminal: false };
        let failure = v1::KillFailure {
            lease_id: "ls_1".into(),
            reason: "STORE_CORRUPT".into(),
            message: "a stored lease cannot be read".into(),
        };
        let killed = |wide, after: v1::AfterKill| {
            let answer = v1::KillLeasesResponse {
                killed: 3,
                ended_before: 1,
                wide,
                after: after.into(),
                held_until: Some(prost_types::Timestamp { seconds: 3700, nanos: 0 }),
                failures: vec![failure.clone()],
                ..Default::default()
            };
            let details = KilledView::new(answer, style.now).details(&style);
            details.iter().map(|(what, how)| format!("{what}: {how}")).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(killed(None, v1::AfterKill::Held), @r"
        killed: 3 (1 had ended before)
        hold: each agent + its task + its resource
        failed: ls_1: a stored lease cannot be read [STORE_CORRUPT]
        ");
        insta::assert_snapshot!(killed(agent(), v1::AfterKill::Quarantined), @r"
        killed: 3 (1 had ended before), by one record for agent ci/bot
        hold: agent ci/bot, until 1970-01-01T01:01:40.000Z
        failed: ls_1: a stored lease cannot be read [STORE_CORRUPT]
        ");
    }

    #[test]
    fn keys_are_stable() {
        let now = Timestamp::default();
        let plan = v1::PlanKillResponse { wide: agent(), ..Default::default() };
        insta::assert_snapshot!(keys(&KillPlanView::new(plan, now)), @r"
        .expireTime
        .leases
        .matched
        .needsConfirm
        .planId
        .wide
        .wide.kind
        .wide.name
        ");
        let failures = vec![v1::KillFailure::default()];
        let killed = v1::KillLeasesResponse { wide: agent(), failures, ..Default::default() };
        insta::assert_snapshot!(keys(&KilledView::new(killed, now)), @r"
        .after
        .endedBefore
        .enforcement
        .failures
        .failures[].leaseId
        .failures[].message
        .failures[].reason
        .heldUntil
        .killed
        .leases
        .wide
        .wide.kind
        .wide.name
        ");
        let hold = v1::WideHold { wide: agent(), ..Default::default() };
        insta::assert_snapshot!(keys(&WideHoldView::from(hold)), @r"
        .by
        .createTime
        .expireTime
        .wide
        .wide.kind
        .wide.name
        ");
    }
}
