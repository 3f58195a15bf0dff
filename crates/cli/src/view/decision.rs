//! Decisions in words: simulated, explained, replayed, and those about tool calls.

use super::{rfc3339, timestamp, word};
use crate::output::{Record, Style};
use serde::Serialize;
use taskpass_proto::v1;
use taskpass_types::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionView {
    pub(crate) allowed: bool,
    policies: Vec<String>,
    policy_revision: String,
    why: String,
    fix: String,
    obligations: Vec<String>,
}

impl From<v1::DecisionReport> for DecisionView {
    fn from(report: v1::DecisionReport) -> Self {
        Self {
            allowed: report.allowed,
            policies: report.policies,
            policy_revision: report.policy_revision,
            why: report.why,
            fix: report.fix,
            obligations: report.obligations,
        }
    }
}

/// The word for it.
pub(crate) fn effect(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

impl DecisionView {
    /// In one line, for people.
    pub(crate) fn sentence(&self) -> String {
        let mut sentence = format!("{} under {}", effect(self.allowed), self.policy_revision);
        for (word, text) in [
            (" by ", self.policies.join(", ")),
            ("; ", self.obligations.join(", ")),
            (": ", self.why.clone()),
        ] {
            if !text.is_empty() {
                sentence.push_str(word);
                sentence.push_str(&text);
            }
        }
        sentence
    }
}

impl Record for DecisionView {
    const KIND: &'static str = "Decision";
    const COLUMNS: &'static [&'static str] = &["DECISION", "POLICIES", "WHY"];

    fn name(&self) -> String {
        effect(self.allowed).to_owned()
    }

    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.name(), self.policies.join(", "), self.why.clone()]
    }

    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        vec![
            ("decision", self.name()),
            ("why", self.why.clone()),
            ("policies", self.policies.join(", ")),
            ("obliges", self.obligations.join(", ")),
            ("fix", self.fix.clone()),
            ("revision", self.policy_revision.clone()),
        ]
    }
}

/// A past decision, as it was and as it would be.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainedView {
    decision_id: String,
    seq: u64,
    #[serde(serialize_with = "rfc3339")]
    time: Option<Timestamp>,
    agent: String,
    verb: String,
    resource: String,
    actions: Vec<String>,
    task_id: String,
    lease_id: String,
    then: Option<DecisionView>,
    /// Null: that cannot be said.
    pub(crate) now: Option<DecisionView>,
    /// Cedar text; empty: none was asked for, or none can help.
    pub(crate) suggestion: String,
    /// Why there is none; empty: nobody asked.
    pub(crate) no_suggestion: String,
}

impl From<v1::ExplainDecisionResponse> for ExplainedView {
    fn from(answer: v1::ExplainDecisionResponse) -> Self {
        Self {
            decision_id: answer.decision_id,
            seq: answer.seq,
            time: timestamp(answer.time),
            agent: answer.agent,
            verb: answer.verb,
            resource: answer.resource,
            actions: answer.actions,
            task_id: answer.task_id,
            lease_id: answer.lease_id,
            then: answer.then.map(DecisionView::from),
            now: answer.now.map(DecisionView::from),
            suggestion: answer.suggestion,
            no_suggestion: answer.no_suggestion,
        }
    }
}

impl Record for ExplainedView {
    const KIND: &'static str = "Explanation";
    const COLUMNS: &'static [&'static str] = &["DECISION", "AGENT", "WANTED", "THEN", "NOW"];

    fn name(&self) -> String {
        self.decision_id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        let effect = |decision: &Option<DecisionView>| {
            decision.as_ref().map_or("unknown", |decision| effect(decision.allowed)).to_owned()
        };
        vec![
            style.id(&self.decision_id),
            self.agent.clone(),
            format!("{} {} {}", self.verb, self.resource, self.actions.join(",")),
            effect(&self.then),
            effect(&self.now),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let unknown = "nobody can say: its task or agent is no longer known";
        let told = |decision: &Option<DecisionView>| {
            decision.as_ref().map_or_else(|| unknown.to_owned(), DecisionView::sentence)
        };
        let fix = self.now.as_ref().filter(|now| !now.allowed).map_or(String::new(), |now| now.fix.clone());
        vec![
            ("decision", format!("{}, {}, entry {}", self.decision_id, style.past(self.time), self.seq)),
            ("agent", self.agent.clone()),
            ("wanted", format!("{} {} {}", self.verb, self.resource, self.actions.join(" "))),
            ("task", self.task_id.clone()),
            ("lease", self.lease_id.clone()),
            ("then", told(&self.then)),
            ("now", told(&self.now)),
            ("fix", fix),
        ]
    }
}

/// A past decision that comes out differently.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplayChangeView {
    decision_id: String,
    seq: u64,
    #[serde(serialize_with = "rfc3339")]
    time: Option<Timestamp>,
    agent: String,
    verb: String,
    resource: String,
    actions: Vec<String>,
    was_allowed: bool,
    now_allowed: bool,
    why: String,
}

impl From<v1::ReplayChange> for ReplayChangeView {
    fn from(change: v1::ReplayChange) -> Self {
        Self {
            decision_id: change.decision_id,
            seq: change.seq,
            time: timestamp(change.time),
            agent: change.agent,
            verb: change.verb,
            resource: change.resource,
            actions: change.actions,
            was_allowed: change.was_allowed,
            now_allowed: change.now_allowed,
            why: change.why,
        }
    }
}

impl Record for ReplayChangeView {
    const KIND: &'static str = "ReplayChange";
    const COLUMNS: &'static [&'static str] =
        &["DECISION", "WHEN", "AGENT", "VERB", "RESOURCE", "ACTIONS", "THEN", "NOW", "WHY"];

    fn name(&self) -> String {
        self.decision_id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![
            style.id(&self.decision_id),
            style.past(self.time),
            self.agent.clone(),
            self.verb.clone(),
            self.resource.clone(),
            self.actions.join(","),
            effect(self.was_allowed).to_owned(),
            effect(self.now_allowed).to_owned(),
            style.sentence(&self.why),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![("decision", self.row(style).join(" "))]
    }
}

/// What was decided about a tool call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallView {
    /// For the report; empty when it is denied.
    call_id: String,
    pub(crate) allowed: bool,
    decision_id: String,
    policies: Vec<String>,
    policy_revision: String,
    why: String,
    fix: String,
    /// The stable code of a denial.
    pub(crate) reason: String,
    approval_id: String,
    /// What a call outside the declared scopes led to; null: it was within.
    consequence: Option<String>,
    /// What proves the arguments later, in hexadecimal digits; empty: there were none.
    arguments_salt: String,
}

impl CallView {
    pub(crate) fn new(call_id: String, decision: v1::ToolDecision, arguments_salt: String) -> Self {
        let consequence = match decision.consequence() {
            v1::Consequence::Unspecified => None,
            other => Some(word(other.as_str_name(), "CONSEQUENCE_")),
        };
        Self {
            call_id,
            allowed: decision.allowed,
            decision_id: decision.decision_id,
            policies: decision.policies,
            policy_revision: decision.policy_revision,
            why: decision.why,
            fix: decision.fix,
            reason: decision.reason,
            approval_id: decision.approval_id,
            consequence,
            arguments_salt,
        }
    }
}

impl Record for CallView {
    const KIND: &'static str = "ToolDecision";
    const COLUMNS: &'static [&'static str] = &["CALL", "DECISION", "WHY"];

    fn name(&self) -> String {
        self.call_id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![style.id(&self.call_id), effect(self.allowed).to_owned(), self.why.clone()]
    }

    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        vec![
            ("call", self.call_id.clone()),
            ("decision", format!("{} {}", effect(self.allowed), self.decision_id)),
            ("code", self.reason.clone()),
            ("why", self.why.clone()),
            ("policies", self.policies.join(", ")),
            ("led to", self.consequence.clone().unwrap_or_default()),
            ("fix", self.fix.clone()),
            ("approval", self.approval_id.clone()),
            ("salt", self.arguments_salt.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;

    const STYLE: Style = Style { now: Timestamp::from_secs(100), terminal: true };

    fn report() -> v1::DecisionReport {
        v1::DecisionReport {
            policies: vec!["a.cedar:1 \"a\"".into()],
            policy_revision: "5d3ec6f9f21b".into(),
            why: "forbidden".into(),
            fix: "ask for less".into(),
            ..Default::default()
        }
    }

    #[test]
    fn keys_are_stable() {
        let explained = v1::ExplainDecisionResponse { then: Some(report()), ..Default::default() };
        insta::assert_snapshot!(keys(&ExplainedView::from(explained)), @r"
        .actions
        .agent
        .decisionId
        .leaseId
        .noSuggestion
        .now
        .resource
        .seq
        .suggestion
        .taskId
        .then
        .then.allowed
        .then.fix
        .then.obligations
        .then.policies
        .then.policyRevision
        .then.why
        .time
        .verb
        ");
        insta::assert_snapshot!(keys(&ReplayChangeView::from(v1::ReplayChange::default())), @r"
        .actions
        .agent
        .decisionId
        .nowAllowed
        .resource
        .seq
        .time
        .verb
        .wasAllowed
        .why
        ");
        let call = CallView::new(String::new(), v1::ToolDecision::default(), String::new());
        insta::assert_snapshot!(keys(&call), @r"
        .allowed
        .approvalId
        .argumentsSalt
        .callId
        .consequence
        .decisionId
        .fix
        .policies
        .policyRevision
        .reason
        .why
        ");
    }

    #[test]
    fn a_decision_is_one_sentence() {
        let denied = DecisionView::from(report());
        assert_eq!(denied.sentence(), "deny under 5d3ec6f9f21b by a.cedar:1 \"a\": forbidden");
        let bare = v1::DecisionReport { policy_revision: "r".into(), allowed: true, ..Default::default() };
        assert_eq!(DecisionView::from(bare).sentence(), "allow under r");
    }

    #[test]
    fn rows_have_a_cell_for_every_column() {
        let change = ReplayChangeView::from(v1::ReplayChange::default());
        assert_eq!(change.row(&STYLE).len(), ReplayChangeView::COLUMNS.len());
        let explained = ExplainedView::from(v1::ExplainDecisionResponse::default());
        assert_eq!(explained.row(&STYLE).len(), ExplainedView::COLUMNS.len());
    }

    #[test]
    fn what_a_call_led_to_is_a_word_or_nothing() {
        let call = |consequence: v1::Consequence| {
            let decision = v1::ToolDecision { consequence: consequence.into(), ..Default::default() };
            CallView::new(String::new(), decision, String::new()).consequence
        };
        assert_eq!(call(v1::Consequence::Unspecified), None);
        assert_eq!(call(v1::Consequence::Kill).as_deref(), Some("kill"));
    }
}
