//! A registered agent.

use crate::output::{Record, Style};
use serde::Serialize;
use std::collections::BTreeMap;
use taskpass_proto::v1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentView {
    id: String,
    /// Empty: nobody, and nothing is issued to it.
    owner: String,
    groups: Vec<String>,
    labels: BTreeMap<String, String>,
    suspended: bool,
    selectors: Vec<String>,
    /// `active`, `suspended`, `no_owner`.
    state: &'static str,
}

impl From<v1::Agent> for AgentView {
    fn from(agent: v1::Agent) -> Self {
        let state = match (agent.suspended, agent.owner.is_empty()) {
            (true, _) => "suspended",
            (false, true) => "no_owner",
            (false, false) => "active",
        };
        Self {
            id: agent.id,
            owner: agent.owner,
            groups: agent.groups,
            labels: agent.labels.into_iter().collect(),
            suspended: agent.suspended,
            selectors: agent.selectors,
            state,
        }
    }
}

impl Record for AgentView {
    const KIND: &'static str = "Agent";
    const COLUMNS: &'static [&'static str] = &["ID", "OWNER", "GROUPS", "STATE"];

    fn name(&self) -> String {
        self.id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        vec![
            self.id.clone(),
            or_none(self.owner.clone()),
            style.text(&or_none(self.groups.join(","))),
            self.state.replace('_', " "),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![("agent", self.row(style).join(" "))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;
    use taskpass_types::Timestamp;

    #[test]
    fn keys_are_stable() {
        insta::assert_snapshot!(keys(&AgentView::from(v1::Agent::default())), @r"
        .groups
        .id
        .labels
        .owner
        .selectors
        .state
        .suspended
        ");
    }

    #[test]
    fn the_state_says_why_nothing_is_issued() {
        let style = Style { now: Timestamp::default(), terminal: true };
        for (owner, suspended, state) in [
            ("maya", false, "active"),
            ("", false, "no owner"),
            ("maya", true, "suspended"),
            ("", true, "suspended"),
        ] {
            let agent = v1::Agent { owner: owner.to_owned(), suspended, ..Default::default() };
            let row = AgentView::from(agent).row(&style);
            assert_eq!((row.len(), row.last().unwrap().as_str()), (AgentView::COLUMNS.len(), state));
        }
    }
}
