//! Using an approval: in the same step as what it permits, so that it permits one thing once.

use crate::{Approval, ApprovalState, View};
use std::{collections::BTreeMap, fmt::Display};
use taskpass_types::{AgentId, ApprovalId, GroupName, Reason, Refusal, Timestamp};

/// Which approval a request rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalUse {
    /// The approval, if the caller names one; else the newest of this agent for `digest`.
    pub id: Option<ApprovalId>,
    /// SHA-256 of exactly what is asked for.
    pub digest: [u8; 32],
    /// Who has to have approved: groups, and how many of each.
    pub required: BTreeMap<GroupName, u8>,
}

/// The approval that `by` uses up, marked as used; `None` when none is needed.
pub(crate) fn consent(
    view: &View,
    agent: &AgentId,
    obliged: &BTreeMap<GroupName, u8>,
    asked: Option<&ApprovalUse>,
    by: impl Display,
    now: Timestamp,
) -> Result<Option<Approval>, Refusal> {
    if obliged.is_empty() && asked.is_none_or(|asked| asked.required.is_empty()) {
        return Ok(None);
    }
    let Some(asked) = asked else { return Err(approval_required(None)) };
    let approval = match (&view.approval, asked.id) {
        (Some(found), _) if found.agent == *agent && found.digest == asked.digest => found,
        (Some(found), Some(_)) if found.agent == *agent => return Err(mismatch(found)),
        (_, Some(_)) => return Err(approval_not_found()),
        (_, None) => return Err(approval_required(None)),
    };
    let named = asked.id.is_some();
    let covers = approval.covers(obliged) && approval.covers(&asked.required);
    match &approval.state {
        // Who does not name one asks anew: what is over stands in nobody's way.
        _ if approval.has_expired(now) && named => Err(approval_expired(approval)),
        _ if approval.has_expired(now) => Err(approval_required(None)),
        ApprovalState::Denied { .. } if named || now < approval.expires_at => Err(approval_denied(approval)),
        ApprovalState::Pending if covers => Err(approval_required(Some(approval))),
        ApprovalState::Granted { .. } if covers => Ok(Some(Approval {
            state: ApprovalState::Used { at: now, by: by.to_string() },
            ..approval.clone()
        })),
        _ => Err(approval_required(None)),
    }
}

pub(crate) fn approval_not_found() -> Refusal {
    Refusal::new(Reason::ApprovalNotFound, "there is no such approval, or it is not yours")
        .fix("list what waits with `taskpass approval list`")
}

/// `pending` names the one that waits already.
pub(crate) fn approval_required(pending: Option<&Approval>) -> Refusal {
    match pending {
        None => Refusal::new(Reason::ApprovalRequired, "people have to approve this first")
            .fix("ask for approval, wait for it, then ask for the same again"),
        Some(approval) => Refusal::new(
            Reason::ApprovalRequired,
            format!("people have to approve this first; `{}` waits for them", approval.id),
        )
        .fix(format!("wait for it, then ask for the same again: taskpass approval watch {}", approval.id))
        .with("approval", approval.id)
        .with("expires_at", approval.expires_at),
    }
}

pub(crate) fn approval_denied(approval: &Approval) -> Refusal {
    let said = match &approval.state {
        ApprovalState::Denied { by, why, .. } if why.is_empty() => format!("`{by}` denied this"),
        ApprovalState::Denied { by, why, .. } => format!("`{by}` denied this: {why}"),
        _ => "this was denied".to_owned(),
    };
    Refusal::new(Reason::ApprovalDenied, said)
        .fix("ask for something else, or talk to whoever denied it")
        .with("approval", approval.id)
}

pub(crate) fn approval_expired(approval: &Approval) -> Refusal {
    let id = approval.id;
    Refusal::new(Reason::ApprovalExpired, format!("approval `{id}` expired; that is no denial"))
        .fix("ask for approval again")
        .with("approval", id)
        .with("expired_at", approval.expires_at)
}

fn mismatch(approval: &Approval) -> Refusal {
    let id = approval.id;
    Refusal::new(Reason::ApprovalMismatch, format!("approval `{id}` is for another request than this one"))
        .fix("ask for exactly what was approved, or ask for approval of this")
        .with("approval", id)
}
