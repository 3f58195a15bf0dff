//! Cutting a lease: it ends at a time that lies before its own end, however often it is renewed until then.
//!
//! Invariants: a cut only ever comes sooner; no renewal passes it; when it comes, the credentials that outlast it are
//! denied by one record.

use crate::{Effects, EndLease, Lease, LeaseState, Outcome, View, step};
use serde::{Deserialize, Serialize};
use taskpass_types::{EndReason, LeaseId, Refusal, TenantId, Timestamp};

/// When a lease ends although its credential lasts longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// When.
    pub at: Timestamp,
    /// Who said so, in words.
    pub by: String,
}

/// End a lease at `at` at the latest.
#[derive(Clone, Debug)]
pub struct CutLease {
    /// The tenant.
    pub tenant: TenantId,
    /// The lease.
    pub lease: LeaseId,
    /// When; now or earlier ends it at once.
    pub at: Timestamp,
    /// Who, in words.
    pub by: String,
}

pub(crate) fn cut_lease(view: View, cut: &CutLease, now: Timestamp) -> Result<Effects, Refusal> {
    let lease = view.lease.as_ref().ok_or_else(step::lease_not_found)?;
    if lease.end().is_none() && cut.at <= now {
        let end = drifted(lease, &cut.by);
        return step::end_lease(view, &end, now);
    }
    if let LeaseState::Ended(end) = &lease.state {
        return Ok(Effects { outcome: Outcome::AlreadyEnded(end.clone()), ..Effects::default() });
    }
    let mut lease = lease.clone();
    let sooner = lease.cut.as_ref().is_none_or(|earlier| cut.at < earlier.at);
    if sooner {
        lease.cut = Some(Cut { at: cut.at, by: step::bounded(&cut.by) });
    }
    Ok(Effects {
        leases: sooner.then(|| lease.clone()).into_iter().collect(),
        outcome: Outcome::LeaseCut(Box::new(lease)),
        ..Effects::default()
    })
}

/// The end that a cut leads to.
pub(crate) fn drifted(lease: &Lease, by: &str) -> EndLease {
    EndLease {
        tenant: lease.tenant.clone(),
        lease: lease.id,
        reason: EndReason::Drifted,
        by: by.to_owned(),
        hold: false,
    }
}
