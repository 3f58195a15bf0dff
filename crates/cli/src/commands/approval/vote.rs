//! Votes on one or several approvals.

use crate::{
    output::{Record, Style},
    session::{Outcome, Session},
    view::ApprovalView,
};
use serde::Serialize;

/// What a vote came to.
#[derive(Serialize)]
struct VotedView {
    approval: ApprovalView,
}

/// Votes on each; some may fail.
pub(super) async fn cast(session: &Session, ids: &[String], approve: bool, reason: &str) -> Outcome {
    let broker = session.broker().await?;
    let (mut voted, mut failed) = (Vec::new(), Vec::new());
    for id in ids {
        match broker.decide_approval(id, approve, reason).await {
            Ok(approval) => voted.push(VotedView { approval: ApprovalView::new(approval, session.now()) }),
            Err(error) => failed.push(error.into()),
        }
    }
    match (voted.as_slice(), ids) {
        ([one], [_]) => session.out.one(one)?,
        ([], [_]) => {}
        (all, _) => session.out.list(all, "")?,
    }
    session.finish(voted.len(), &failed)
}

impl VotedView {
    /// Where it stands now.
    fn stands(&self) -> String {
        match (self.approval.state.as_str(), self.approval.missing()) {
            ("pending", missing) if !missing.is_empty() => format!("pending, needs {missing} more"),
            ("granted", _) => "granted: the agent may make exactly this request, once".to_owned(),
            (state, _) => state.to_owned(),
        }
    }
}

impl Record for VotedView {
    const KIND: &'static str = "ApprovalVote";
    const COLUMNS: &'static [&'static str] = &["APPROVAL", "VOTE", "STATE"];

    fn name(&self) -> String {
        self.approval.id.clone()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![style.id(&self.approval.id), self.approval.last_vote(), self.stands()]
    }

    fn details(&self, _: &Style) -> Vec<(&'static str, String)> {
        vec![
            ("approval", self.approval.id.clone()),
            ("wants", self.approval.wants()),
            ("vote", self.approval.last_vote()),
            ("state", self.stands()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::approval;
    use taskpass_proto::v1::{Approval, ApprovalState};
    use taskpass_types::Timestamp;

    #[test]
    fn it_is_said_what_is_still_missing() {
        let voted =
            |approval: Approval| VotedView { approval: ApprovalView::new(approval, Timestamp::default()) };
        assert_eq!(voted(approval()).stands(), "pending, needs 1 of `finance` and 1 of `security` more");
        let granted = voted(Approval { state: ApprovalState::Granted.into(), ..approval() });
        assert!(granted.stands().contains("once"), "{}", granted.stands());
        let style = Style { now: Timestamp::default(), terminal: true };
        assert_eq!(granted.row(&style).len(), VotedView::COLUMNS.len());
        assert_eq!(granted.row(&style)[1], "approved by maya");
    }
}
