//! `taskpass policy why`: what was decided, then and now; and what would allow it.

use crate::{
    error::{Exit, Failure},
    output::{Format, text::safe},
    session::{Outcome, Session},
    view::ExplainedView,
};
use clap::Args;
use taskpass_proto::v1;

/// Explain a decision of the past: then, now, and what would allow it
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass policy why dc_7qk2w9
  taskpass policy why dc_7qk2w9 --suggest
  taskpass policy why dc_7qk2w9 --suggest -o name > policies/suggestion.cedar    # read it before you keep it")]
pub(crate) struct Why {
    /// The decision: its id, or the first 6 characters or more after `dc_`
    decision: String,
    /// Look for the smallest permit that would allow it; with -o name only that is printed
    #[arg(long)]
    suggest: bool,
}

impl Why {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let request = v1::ExplainDecisionRequest { decision_id: self.decision, suggest: self.suggest };
        let explained = ExplainedView::from(session.broker().await?.explain(request).await?);
        let suggestion = text(&explained.suggestion);
        match (session.out.format, self.suggest) {
            (Format::Name, true) if suggestion.is_empty() => return Err(none(&explained)),
            (Format::Name, true) => session.out.print(&suggestion)?,
            (Format::Table, true) => {
                session.out.one(&explained)?;
                match suggestion.is_empty() {
                    true => session.out.warn(none(&explained).what()),
                    false => session.out.print(&format!("\n{suggestion}"))?,
                }
            }
            _ => session.out.one(&explained)?,
        }
        Ok(Exit::Done)
    }
}

/// Lines of Cedar, none of which a terminal obeys.
fn text(suggestion: &str) -> String {
    suggestion.lines().map(|line| format!("{}\n", safe(line))).collect()
}

fn none(explained: &ExplainedView) -> Failure {
    let why = match &explained.now {
        _ if !explained.no_suggestion.is_empty() => explained.no_suggestion.clone(),
        Some(now) if now.allowed => "nothing to add: it is allowed by now".to_owned(),
        Some(_) => "no permit can help".to_owned(),
        None => "no permit can be suggested: its task or agent is no longer known".to_owned(),
    };
    Failure::new(Exit::NotFound, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gets_no_suggestion_is_told_why() {
        let explained = |now: Option<bool>, no_suggestion: &str| {
            let now = now.map(|allowed| v1::DecisionReport { allowed, ..Default::default() });
            let no_suggestion = no_suggestion.to_owned();
            ExplainedView::from(v1::ExplainDecisionResponse { now, no_suggestion, ..Default::default() })
        };
        for (now, said, why) in [
            (Some(false), "no permit can help: `x` forbids it", "`x` forbids it"),
            (Some(true), "", "allowed by now"),
            (Some(false), "", "no permit can help"),
            (None, "", "no longer known"),
        ] {
            let failure = none(&explained(now, said));
            assert!(failure.what().contains(why), "{}", failure.what());
        }
    }

    #[test]
    fn a_suggestion_keeps_its_lines_and_nothing_a_terminal_obeys() {
        assert_eq!(text("permit (\n  \u{1b}[2J\n);\n"), "permit (\n  \\u{1b}[2J\n);\n");
    }
}
