//! `taskpass approval watch`.
//!
//! Invariant: time that runs out ends with the code for what is pending, never with that for a denial.

use crate::{
    error::{Exit, Failure},
    output::{Format, Style, text::safe},
    session::{Outcome, Session},
    span::Span,
    view::ApprovalView,
};
use clap::Args;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use taskpass_client::{Broker, Error};
use taskpass_types::Reason;
use tokio::time::{sleep, timeout};

/// How long after a broken connection it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Follow approvals as they change; one, until it is settled
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass approval watch
  taskpass approval watch ap_31c7q0 --timeout 10m
  taskpass approval watch -o jsonl | jq 'select(.type == \"ADDED\").object.id'

With an id the exit code is 0 when it is granted or used, 3 when it is denied, 8 when nobody decided in time.")]
pub(crate) struct Watch {
    /// Only this one: its id, or the first 6 characters or more after `ap_`
    #[arg(default_value = "", hide_default_value = true)]
    id: String,
    /// Stop then
    #[arg(long, value_name = "SPAN")]
    timeout: Option<Span>,
}

/// A line for programs.
#[derive(Serialize)]
struct Change<'a> {
    r#type: &'static str,
    object: &'a ApprovalView,
}

/// What was told already, so that a new connection does not tell it again.
#[derive(Default)]
struct Told {
    seen: BTreeMap<String, (String, usize)>,
    last: Option<ApprovalView>,
}

impl Watch {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        if self.id.is_empty() && session.out.format.is_document() {
            return Err(Failure::usage("one document cannot be followed").fix("use -o jsonl"));
        }
        let broker = session.broker().await?;
        let mut told = Told::default();
        let settled = match self.timeout {
            None => Some(self.follow(&broker, session, &mut told).await?),
            Some(span) => timeout(span.as_duration(), self.follow(&broker, session, &mut told))
                .await
                .ok()
                .transpose()?,
        };
        if let Some(last) = told.last.as_ref().filter(|_| session.out.format.is_document()) {
            session.out.one(last)?;
        }
        match (settled, self.id.is_empty()) {
            (Some(approval), _) => end(&approval),
            (None, true) => Ok(Exit::Done),
            (None, false) => Err(undecided(told.last.as_ref(), &self.id)),
        }
    }

    /// Tells every change; ends when the one that is followed is settled.
    async fn follow(
        &self,
        broker: &Broker,
        session: &Session,
        told: &mut Told,
    ) -> Result<ApprovalView, Failure> {
        loop {
            match self.once(broker, session, told).await {
                Ok(Some(settled)) => return Ok(settled),
                Ok(None) => {}
                Err(Interrupted::Client(error)) if error.is_retryable() => {
                    tracing::debug!(%error, "watching again");
                }
                Err(Interrupted::Client(error)) => return Err(error.into()),
                Err(Interrupted::Output(failure)) => return Err(failure),
            }
            sleep(PAUSE).await;
        }
    }

    /// One connection. `None`: it ended before anything was settled.
    async fn once(
        &self,
        broker: &Broker,
        session: &Session,
        told: &mut Told,
    ) -> Result<Option<ApprovalView>, Interrupted> {
        let mut stream = broker.watch_approvals(&self.id).await.map_err(Interrupted::Client)?;
        loop {
            let next = stream.message().await.map_err(|status| Interrupted::Client(Error::from(status)))?;
            let Some(approval) = next else { return Ok(None) };
            let Some(approval) = approval.approval else { continue };
            let view = ApprovalView::new(approval, session.now());
            if let Some(kind) = told.news(&view) {
                tell(session, kind, &view).map_err(Interrupted::Output)?;
            }
            told.last = Some(view.clone());
            if !self.id.is_empty() && view.state != "pending" {
                return Ok(Some(view));
            }
        }
    }
}

enum Interrupted {
    Client(Error),
    Output(Failure),
}

impl Told {
    /// What kind of news it is; `None`: none.
    fn news(&mut self, approval: &ApprovalView) -> Option<&'static str> {
        let now = (approval.state.clone(), approval.vote_count());
        match self.seen.insert(approval.id.clone(), now.clone()) {
            None => Some("ADDED"),
            Some(before) => (before != now).then_some("MODIFIED"),
        }
    }
}

fn tell(session: &Session, kind: &'static str, approval: &ApprovalView) -> Result<(), Failure> {
    match session.out.format {
        Format::Json | Format::Yaml => {}
        Format::Jsonl => session.out.jsonl(&Change { r#type: kind, object: approval })?,
        Format::Name => session.out.print(&format!("{}\n", safe(&approval.id)))?,
        Format::Table => {
            let style = Style { now: session.now(), ..session.out.style };
            session.out.print(&format!("{}\n", safe(&line(approval, &style))))?;
        }
    }
    Ok(())
}

/// One change on one line: when, where it stands, who wants what, and what was said last.
fn line(approval: &ApprovalView, style: &Style) -> String {
    let now = style.now.to_string();
    let time = if style.terminal { now.get(11..19).unwrap_or(&now) } else { &now };
    let said = match approval.last_vote() {
        vote if vote.is_empty() => approval.claim(),
        vote => vote,
    };
    format!(
        "{time}  {:<7}  {}  {}  {}  {said}",
        approval.state,
        style.id(&approval.id),
        approval.agent(),
        approval.wants()
    )
}

/// How the one that was followed ended.
fn end(approval: &ApprovalView) -> Outcome {
    let id = &approval.id;
    match approval.state.as_str() {
        "denied" => {
            let (by, why) = approval.denial().unwrap_or(("somebody", ""));
            Err(Failure::new(Exit::Denied, format!("{by} denied `{id}`: {why}"))
                .reason(Reason::ApprovalDenied)
                .id("approval", id))
        }
        "expired" => Err(Failure::new(Exit::Pending, format!("nobody decided `{id}` in time"))
            .reason(Reason::ApprovalExpired)
            .why("that is no denial")
            .fix("ask again: the same request makes a new approval")
            .id("approval", id)),
        _ => Ok(Exit::Done),
    }
}

fn undecided(last: Option<&ApprovalView>, asked: &str) -> Failure {
    let id = last.map_or(asked, |last| &last.id);
    let missing = last.map(ApprovalView::missing).filter(|missing| !missing.is_empty());
    let failure =
        Failure::new(Exit::Pending, format!("`{id}` is still pending")).reason(Reason::ApprovalRequired);
    let failure =
        missing.into_iter().fold(failure, |failure, missing| failure.why(format!("needs {missing}")));
    failure.fix(format!("go on waiting: taskpass approval watch {id}")).id("approval", id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::approval;
    use taskpass_proto::v1::{Approval, ApprovalState, Vote};
    use taskpass_types::Timestamp;

    fn view(state: ApprovalState) -> ApprovalView {
        ApprovalView::new(Approval { state: state.into(), ..approval() }, Timestamp::from_secs(100))
    }

    #[test]
    fn every_end_has_its_code() {
        for (state, code) in [
            (ApprovalState::Granted, 0),
            (ApprovalState::Used, 0),
            (ApprovalState::Denied, 3),
            (ApprovalState::Expired, 8),
        ] {
            let ended = end(&view(state)).unwrap_or_else(|failure| failure.exit());
            assert_eq!(ended.code(), code, "{state:?}");
        }
        assert_eq!(undecided(None, "ap_31c7q0").exit().code(), 8);
    }

    #[test]
    fn the_sentence_of_who_denied_reaches_whoever_waits() {
        let mut denied = approval();
        denied.state = ApprovalState::Denied.into();
        let reason = "use the ledger tool instead".to_owned();
        denied.votes.push(Vote { by: "noor".into(), reason, ..Default::default() });
        let failure = end(&ApprovalView::new(denied, Timestamp::default())).unwrap_err();
        assert!(failure.what().contains("noor denied `ap_0123"), "{}", failure.what());
        assert!(failure.what().contains("use the ledger tool instead"), "{}", failure.what());
    }

    #[test]
    fn a_change_is_told_once_however_often_the_connection_breaks() {
        let mut told = Told::default();
        assert_eq!(told.news(&view(ApprovalState::Pending)), Some("ADDED"));
        assert_eq!(told.news(&view(ApprovalState::Pending)), None);
        assert_eq!(told.news(&view(ApprovalState::Granted)), Some("MODIFIED"));
    }

    #[test]
    fn a_line_has_the_newest_word() {
        let style = Style { now: Timestamp::from_secs(100), terminal: true };
        assert_eq!(
            line(&view(ApprovalState::Pending), &style),
            "00:01:40  pending  ap_01234567  support/triage  payments-api refund:create  approved by maya"
        );
        let silent = Approval { votes: Vec::new(), ..approval() };
        let line = line(&ApprovalView::new(silent, style.now), &style);
        assert!(line.contains("\"order 7291"), "{line}");
    }
}
