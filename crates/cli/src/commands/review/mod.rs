//! `taskpass review`: what was granted against what was used.
//!
//! Everything comes from the audit log and the registry; nothing changes by it.

mod activity;
mod findings;
mod suggest;

use crate::{
    args::Since,
    error::Failure,
    output::{Format, Record, Style, table, text::safe},
    session::{Outcome, Session},
    view::rfc3339,
};
use activity::Activity;
use clap::Args;
use findings::{Finding, judge};
use serde::Serialize;
use suggest::suggest;
use taskpass_audit::EntryLine;
use taskpass_client::{Broker, Error};
use taskpass_proto::v1;
use taskpass_types::Timestamp;

/// The largest page that the broker gives.
const PAGE: u32 = 1000;

/// Compare what was granted with what was used, and suggest a tighter policy
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass review
  taskpass review --since 7d -o json | jq '.item.findings[] | select(.kind == \"never_issued\")'
  taskpass review -o name > suggested.cedar        # read it, then taskpass policy diff --live DIR

What no call, task or lease in the window needed is not in the suggestion: choose a window that has seen everything,
the end of the quarter too.")]
pub(crate) struct Review {
    /// The window: a span that is looked back, or an instant
    #[arg(long, value_name = "SPAN|TIME", default_value = "30d")]
    since: Since,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewView {
    #[serde(serialize_with = "rfc3339")]
    since: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    until: Option<Timestamp>,
    /// How many entries of the audit log are in the window.
    entries: u64,
    agents: usize,
    findings: Vec<Finding>,
    /// Cedar text; empty: there was nothing to go by.
    suggestion: String,
}

impl Review {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let broker = session.broker().await?;
        let since = self.since.instant(session.now());
        let tenant = broker.whoami().await?.tenant;
        let agents = agents(&broker).await?;
        let activity = read(&broker, Activity::new(&tenant, since)).await?;
        let view = ReviewView {
            since: Some(since),
            until: Some(session.now()),
            entries: activity.entries,
            agents: agents.len(),
            findings: judge(&activity, &agents),
            suggestion: suggest(&activity),
        };
        match session.out.format {
            Format::Table => session.out.print(&view.text(&session.out.style))?,
            Format::Name => session.out.print(&view.suggestion)?,
            Format::Jsonl => view.findings.iter().try_for_each(|finding| session.out.jsonl(finding))?,
            Format::Json | Format::Yaml => session.out.one(&view)?,
        }
        session.out.hint("keep the suggestion with: taskpass review -o name > FILE, try it: taskpass policy diff --live DIR");
        Ok(crate::error::Exit::Done)
    }
}

async fn agents(broker: &Broker) -> Result<Vec<v1::Agent>, Failure> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = broker.list_agents(v1::ListAgentsRequest { page_size: PAGE, page_token }).await?;
        all.extend(page.agents);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// The whole log: what is in the window is explained by what was before it.
async fn read(broker: &Broker, mut activity: Activity) -> Result<Activity, Failure> {
    let request = v1::TailAuditRequest { from_seq: 1, last: 0, follow: false };
    let mut entries = broker.watch_audit(request).await?;
    while let Some(answer) = entries.message().await.map_err(Error::from)? {
        let line = EntryLine { seq: answer.seq, json: answer.entry };
        // An entry of a form that we do not know tells us nothing.
        if let Ok(entry) = line.entry() {
            activity.take(entry);
        }
    }
    Ok(activity)
}

impl ReviewView {
    fn text(&self, style: &Style) -> String {
        let rows = || self.findings.iter().map(|finding| finding.row(style));
        let mut text =
            if self.findings.is_empty() { String::new() } else { table(Finding::COLUMNS, rows()) + "\n" };
        text.push_str(&format!(
            "{} findings, from {} entries of the audit log and {} agents\n",
            self.findings.len(),
            self.entries,
            self.agents
        ));
        if !self.suggestion.is_empty() {
            text.push_str("\n// what was used, and no more; read it before you keep it\n");
            text.extend(self.suggestion.lines().map(|line| format!("{}\n", safe(line))));
        }
        text
    }
}

impl Record for Finding {
    const KIND: &'static str = "Finding";
    const COLUMNS: &'static [&'static str] = &["FINDING", "AGENT", "RESOURCE", "ACTIONS", "WHAT"];

    fn name(&self) -> String {
        self.agent.clone()
    }
    fn row(&self, style: &Style) -> Vec<String> {
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        vec![
            self.kind.word().to_owned(),
            self.agent.clone(),
            or_dash(self.resource.clone()),
            or_dash(style.text(&self.actions.join(","))),
            self.what.clone(),
        ]
    }
    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![("finding", self.row(style).join(" "))]
    }
}

impl Record for ReviewView {
    const KIND: &'static str = "Review";
    const COLUMNS: &'static [&'static str] = &["FINDINGS", "ENTRIES", "AGENTS"];

    fn name(&self) -> String {
        self.suggestion.clone()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        vec![self.findings.len().to_string(), self.entries.to_string(), self.agents.to_string()]
    }
    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        vec![("review", self.row(style).join(" "))]
    }
}

#[cfg(test)]
mod tests {
    use super::{
        activity::tests::{USED, activity},
        *,
    };
    use crate::view::testing::keys;

    fn view() -> ReviewView {
        let activity = activity(0, USED);
        ReviewView {
            since: None,
            until: None,
            entries: activity.entries,
            agents: 0,
            findings: judge(&activity, &[]),
            suggestion: suggest(&activity),
        }
    }

    #[test]
    fn people_get_findings_the_sum_and_a_policy_to_paste() {
        let text = view().text(&Style { now: Timestamp::default(), terminal: true });
        assert!(
            text.starts_with("FINDING       AGENT   RESOURCE  ACTIONS  WHAT\nnever issued  ci/bot"),
            "{text}"
        );
        assert!(text.contains("\n2 findings, from 6 entries of the audit log and 0 agents\n"), "{text}");
        assert!(text.contains("\npermit (\n"), "{text}");
    }

    #[test]
    fn keys_are_stable() {
        insta::assert_snapshot!(keys(&view()), @r"
        .agents
        .entries
        .findings
        .findings[].actions
        .findings[].agent
        .findings[].kind
        .findings[].resource
        .findings[].what
        .since
        .suggestion
        .until
        ");
    }
}
