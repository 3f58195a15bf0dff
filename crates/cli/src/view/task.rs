//! A task.

use super::{End, end::state, rfc3339, timestamp, ttl_seconds};
use crate::output::{Record, Style};
use serde::Serialize;
use std::collections::BTreeMap;
use taskpass_proto::v1;
use taskpass_types::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskView {
    pub(crate) id: String,
    tenant: String,
    path: Vec<String>,
    agent: String,
    owner: String,
    /// `running`, or how it ended.
    state: String,
    kind: String,
    purpose: String,
    pub(crate) scopes: Vec<String>,
    initiator: String,
    labels: BTreeMap<String, String>,
    #[serde(serialize_with = "rfc3339")]
    create_time: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub(crate) deadline: Option<Timestamp>,
    ttl_seconds: u64,
    /// Null: it need not show life.
    heartbeat_seconds: Option<u64>,
    pub(crate) live_below: u32,
    issued: u32,
    /// Empty: nobody said.
    sensitivity: String,
    tool_calls: u32,
    /// Null while it runs.
    pub(crate) end: Option<End>,
}

impl TaskView {
    pub(crate) fn new(task: v1::Task, now: Timestamp) -> Self {
        let deadline = timestamp(task.deadline);
        let end = task.end.map(End::from);
        Self {
            id: task.id,
            tenant: task.tenant,
            path: task.path,
            agent: task.agent,
            owner: task.owner,
            state: state("running", end.as_ref()),
            kind: task.kind,
            purpose: task.purpose,
            scopes: task.scopes,
            initiator: task.initiator,
            labels: task.labels.into_iter().collect(),
            create_time: timestamp(task.create_time),
            deadline,
            ttl_seconds: if end.is_some() { 0 } else { ttl_seconds(deadline, now) },
            heartbeat_seconds: task.heartbeat_interval.and_then(|span| u64::try_from(span.seconds).ok()),
            live_below: task.live_below,
            issued: task.issued,
            sensitivity: task.sensitivity,
            tool_calls: task.tool_calls,
            end,
        }
    }
}

impl Record for TaskView {
    const KIND: &'static str = "Task";
    const COLUMNS: &'static [&'static str] = &["TASK", "AGENT", "KIND", "PURPOSE", "LIVE", "ENDS", "STATE"];

    fn name(&self) -> String {
        self.id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![
            style.id(&self.id),
            self.agent.clone(),
            self.kind.clone(),
            style.text(&self.purpose),
            self.live_below.to_string(),
            if self.end.is_some() { "-".to_owned() } else { style.left(self.deadline) },
            self.state.clone(),
        ]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        let parents = self.path.len().saturating_sub(1);
        vec![
            ("task", self.id.clone()),
            ("state", self.state.clone()),
            ("agent", self.agent.clone()),
            ("owner", self.owner.clone()),
            ("kind", self.kind.clone()),
            ("purpose", self.purpose.clone()),
            ("scopes", self.scopes.join(" ")),
            ("started", format!("{} by {}", style.past(self.create_time), self.initiator)),
            ("deadline", style.left(self.deadline)),
            ("heartbeat", self.heartbeat_seconds.map_or_else(String::new, |secs| format!("every {secs}s"))),
            ("leases", format!("{} live, {} issued", self.live_below, self.issued)),
            ("tool calls", if self.tool_calls == 0 { String::new() } else { self.tool_calls.to_string() }),
            ("sensitivity", self.sensitivity.clone()),
            ("labels", labels.join(" ")),
            ("below", self.path.iter().take(parents).cloned().collect::<Vec<_>>().join(" ")),
            ("end", self.end.as_ref().map_or_else(String::new, |end| end.sentence(style))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;

    fn task() -> v1::Task {
        v1::Task {
            id: "tk_1".into(),
            purpose: "close\u{1b}[2J".into(),
            path: vec!["tk_0".into(), "tk_1".into()],
            labels: [("team".to_owned(), "finance".to_owned())].into(),
            deadline: Some(prost_types::Timestamp { seconds: 160, nanos: 0 }),
            end: Some(v1::End { reason: v1::EndReason::TimedOut.into(), epoch: 7, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn keys_are_stable() {
        insta::assert_snapshot!(keys(&TaskView::new(task(), Timestamp::default())), @r"
        .agent
        .createTime
        .deadline
        .end
        .end.by
        .end.epoch
        .end.reason
        .end.time
        .heartbeatSeconds
        .id
        .initiator
        .issued
        .kind
        .labels
        .labels.team
        .liveBelow
        .owner
        .path
        .purpose
        .scopes
        .sensitivity
        .state
        .tenant
        .toolCalls
        .ttlSeconds
        ");
    }

    #[test]
    fn state_is_a_word_and_time_left_is_a_number() {
        let now = Timestamp::from_secs(100);
        let ended = TaskView::new(task(), now);
        assert_eq!((ended.state.as_str(), ended.ttl_seconds), ("timed_out", 0));
        let running = TaskView::new(v1::Task { end: None, ..task() }, now);
        assert_eq!((running.state.as_str(), running.ttl_seconds), ("running", 60));
    }

    #[test]
    fn a_row_has_a_cell_for_every_column() {
        let style = Style { now: Timestamp::default(), terminal: true };
        assert_eq!(TaskView::new(task(), style.now).row(&style).len(), TaskView::COLUMNS.len());
    }
}
