//! `taskpass tool report`.

use super::call::{Call, arguments, exit, salt};
use crate::{
    error::Exit,
    output::{Record, Style},
    session::{Outcome, Session},
    view::CallView,
};
use clap::{Args, ValueEnum};
use serde::Serialize;
use taskpass_proto::v1;

/// Report how a tool call ended
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass tool report --call tc_4wz8k1 --outcome succeeded --task tk_9f2c4x --tool refund.create \\
      --resource payments-api:refund:create

A call that was never authorized is judged now; the exit code is that of `taskpass tool authorize` then.")]
pub(crate) struct Report {
    /// The id from the authorization; without it there was none
    #[arg(long = "call", value_name = "ID", conflicts_with = "arguments")]
    id: Option<String>,
    /// How it ended
    #[arg(long, value_enum)]
    outcome: OutcomeName,
    #[command(flatten)]
    call: Call,
    /// A file with the arguments of a call that was never authorized; `-`: standard input
    #[arg(long, value_name = "FILE|-")]
    arguments: Option<String>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum OutcomeName {
    /// It went wrong.
    Failed,
    /// The resource refused it.
    Refused,
    /// It was done.
    Succeeded,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportedView {
    call_id: String,
    outcome: OutcomeName,
    /// Null: it had been decided before.
    decision: Option<CallView>,
}

impl Report {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let arguments = arguments(self.arguments.as_deref())?;
        let outcome = match self.outcome {
            OutcomeName::Failed => v1::CallOutcome::Failed,
            OutcomeName::Refused => v1::CallOutcome::Refused,
            OutcomeName::Succeeded => v1::CallOutcome::Succeeded,
        };
        let call_id = self.id.unwrap_or_default();
        let request = v1::ReportToolCallRequest {
            call_id: call_id.clone(),
            call: Some(self.call.message(arguments.as_ref())),
            outcome: outcome.into(),
        };
        let answer = session.broker().await?.report_call(request).await?;
        let salt = salt(arguments.as_ref());
        let decision = answer.decision.map(|decision| CallView::new(String::new(), decision, salt));
        let reported = ReportedView { call_id, outcome: self.outcome, decision };
        session.out.one(&reported)?;
        Ok(reported.decision.as_ref().map_or(Exit::Done, exit))
    }
}

impl Record for ReportedView {
    const KIND: &'static str = "ToolReport";
    const COLUMNS: &'static [&'static str] = &["CALL", "OUTCOME"];

    fn name(&self) -> String {
        self.call_id.clone()
    }
    fn row(&self, style: &Style) -> Vec<String> {
        vec![style.id(&self.call_id), format!("{:?}", self.outcome).to_lowercase()]
    }
    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let mut details =
            vec![("call", self.call_id.clone()), ("reported", format!("{:?}", self.outcome).to_lowercase())];
        details.extend(self.decision.iter().flat_map(|decision| decision.details(style)));
        details
    }
}
