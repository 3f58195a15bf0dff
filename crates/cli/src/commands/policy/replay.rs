//! `taskpass policy replay`: past decisions, asked again.

use super::plan;
use crate::{
    args::{Since, proto_time},
    error::{Exit, Failure},
    output::{Format, Record, Style, table},
    session::{Outcome, Session},
    view::ReplayChangeView,
};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taskpass_client::{Broker, Error};
use taskpass_proto::v1::{self, replay_decisions_response::Part};

/// Decide past requests anew, and show those that come out differently
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy replay policies/ --since 7d
  taskpass policy replay --plan pl_5xd3k9
  taskpass policy replay --since 24h        # under the policies in force

Exit code 10 when something is newly denied or newly allowed.")]
pub(crate) struct Replay {
    /// Under the policies of this directory; else of --plan, or those in force
    #[arg(conflicts_with = "plan")]
    dir: Option<PathBuf>,
    /// Under the policies of a change that `policy diff` showed
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Decisions since then: a span that is looked back, or an instant
    #[arg(long, value_name = "SPAN|TIME")]
    since: Option<Since>,
    /// How many decisions at most; 10000 when not said
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    limit: u32,
}

/// What a replay came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayView {
    changes: Vec<ReplayChangeView>,
    replayed: u64,
    newly_denied: u64,
    newly_allowed: u64,
    /// Those of which nobody knows any more what they were about.
    passed_over: u64,
}

impl Replay {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let (broker, plan_id) = match &self.dir {
            None => (session.broker().await?, self.plan.unwrap_or_default()),
            Some(dir) => {
                let Some(policies) = plan::load(session, dir)? else { return Ok(Exit::Found) };
                let broker = session.broker().await?;
                let plan = plan::preview(&broker, &policies).await?;
                (broker, plan.id)
            }
        };
        let since = self.since.map(|since| proto_time(since.instant(session.now())));
        let request = v1::ReplayDecisionsRequest { plan_id, since, limit: self.limit };
        let replay = collect(session, &broker, request).await?;
        match session.out.format {
            Format::Jsonl => session.out.say(&replay.sum()),
            Format::Table => session.out.print(&replay.text(&session.out.style))?,
            Format::Name => session.out.list(&replay.changes, "")?,
            Format::Json | Format::Yaml => session.out.one(&replay)?,
        }
        Ok(if replay.newly_denied + replay.newly_allowed > 0 { Exit::Found } else { Exit::Done })
    }
}

/// Lines for programs come at once.
async fn collect(
    session: &Session,
    broker: &Broker,
    request: v1::ReplayDecisionsRequest,
) -> Result<ReplayView, Failure> {
    let mut stream = broker.replay(request).await?;
    let mut changes = Vec::new();
    while let Some(answer) = stream.message().await.map_err(Error::from)? {
        match answer.part {
            Some(Part::Change(change)) => {
                let change = ReplayChangeView::from(change);
                if session.out.format == Format::Jsonl {
                    session.out.jsonl(&change)?;
                } else {
                    changes.push(change);
                }
            }
            Some(Part::Sum(sum)) => return Ok(ReplayView::new(changes, sum)),
            None => {}
        }
    }
    Err(Failure::new(Exit::Unavailable, "the broker stopped before all was replayed").fix("ask again"))
}

impl ReplayView {
    fn new(changes: Vec<ReplayChangeView>, sum: v1::ReplaySum) -> Self {
        let v1::ReplaySum { replayed, newly_denied, newly_allowed, passed_over } = sum;
        Self { changes, replayed, newly_denied, newly_allowed, passed_over }
    }

    fn sum(&self) -> String {
        let Self { replayed, newly_denied, newly_allowed, passed_over, .. } = self;
        let same = replayed.saturating_sub(newly_denied + newly_allowed);
        let over = match passed_over {
            0 => String::new(),
            over => format!(" · {over} passed over, for what they were about is no longer known"),
        };
        format!(
            "{replayed} past decisions: {same} same · {newly_denied} newly denied · {newly_allowed} newly allowed{over}"
        )
    }

    fn text(&self, style: &Style) -> String {
        let rows = || self.changes.iter().map(|change| change.row(style));
        let rows =
            if self.changes.is_empty() { String::new() } else { table(ReplayChangeView::COLUMNS, rows()) };
        format!("{rows}{}\n", self.sum())
    }
}

impl Record for ReplayView {
    const KIND: &'static str = "PolicyReplay";
    const COLUMNS: &'static [&'static str] = &["REPLAYED", "DENIED", "ALLOWED"];

    fn name(&self) -> String {
        self.replayed.to_string()
    }
    fn row(&self, _: &Style) -> Vec<String> {
        [self.replayed, self.newly_denied, self.newly_allowed].map(|count| count.to_string()).to_vec()
    }
    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        vec![("sum", self.sum())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::keys;

    #[test]
    fn the_sum_adds_up_and_keys_are_stable() {
        let sum = v1::ReplaySum { replayed: 18_402, newly_denied: 26, newly_allowed: 5, passed_over: 0 };
        let replay = ReplayView::new(Vec::new(), sum);
        assert_eq!(replay.sum(), "18402 past decisions: 18371 same · 26 newly denied · 5 newly allowed");
        let over = ReplayView::new(Vec::new(), v1::ReplaySum { passed_over: 2, ..sum });
        assert!(over.sum().contains("2 passed over"), "{}", over.sum());
        insta::assert_snapshot!(keys(&replay), @r"
        .changes
        .newlyAllowed
        .newlyDenied
        .passedOver
        .replayed
        ");
    }
}
