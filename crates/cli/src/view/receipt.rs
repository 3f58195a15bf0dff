//! The closure receipt of a task.

use crate::output::{Record, Style, text::safe};
use serde::Serialize;
use taskpass_crypto::jws::{ClosedLease, ClosedOutcome, ClosureReceipt};
use taskpass_types::Timestamp;

/// How many leases that may still be accepted people see by name.
const SHOWN: usize = 20;

/// What it says, as it says it; checked before.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct ReceiptView<'a>(&'a ClosureReceipt);

impl<'a> ReceiptView<'a> {
    pub(crate) fn new(receipt: &'a ClosureReceipt) -> Self {
        Self(receipt)
    }

    /// Whether every lease is known to be dead, and all are listed.
    pub(crate) fn is_dead(&self) -> bool {
        let listed = u32::try_from(self.0.leases.len()).unwrap_or(u32::MAX);
        listed == self.0.leases_total && self.0.leases.iter().all(|lease| lease.outcome.is_dead())
    }

    fn counts(&self) -> String {
        let some = |outcome: &ClosedOutcome| (self.0.count(*outcome), outcome.as_str());
        let counts = ClosedOutcome::ALL.iter().map(some).filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, word)| format!("{count} {word}")).collect();
        let listed = self.0.leases.len();
        let missing = usize::try_from(self.0.leases_total).unwrap_or(usize::MAX).saturating_sub(listed);
        match (counts.is_empty(), missing) {
            (true, 0) => "none".to_owned(),
            (_, 0) => counts.join(", "),
            (_, missing) => format!("{}, and {missing} that are not listed", counts.join(", ")),
        }
    }
}

impl Record for ReceiptView<'_> {
    const KIND: &'static str = "ClosureReceipt";
    const COLUMNS: &'static [&'static str] = &["TASK", "ENDED", "LEASES"];

    fn name(&self) -> String {
        self.0.task.path.task().map(|task| task.to_string()).unwrap_or_default()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        vec![style.id(&self.name()), style.past(Some(self.0.task.ended_at)), self.counts()]
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let ClosureReceipt { task, verifiers, .. } = self.0;
        let open = self.0.leases.iter().filter(|lease| !lease.outcome.is_dead());
        let open = open.take(SHOWN).map(|lease| ("not dead", sentence(lease, style)));
        let enforcing = verifiers.iter().filter(|verifier| verifier.state == "enforces").count();
        let others = self
            .0
            .others_uncounted
            .then(|| ("not counted", "some verifiers that follow other brokers of the fleet".to_owned()));
        let until = self.0.open_until();
        [
            ("task", self.name()),
            ("agent", format!("{}, {} answers", task.agent, task.owner)),
            ("end", format!("{} {} by {}", task.reason, style.past(Some(task.ended_at)), task.by)),
            ("below", format!("{} tasks, {} leases", self.0.tasks_below, self.0.leases_total)),
            ("leases", self.counts()),
            ("verifiers", format!("{enforcing} of {} enforce it", verifiers.len())),
            ("dead by", until.map_or_else(|| "now".to_owned(), |until| until.to_string())),
            ("signed", format!("by {} at {}", self.0.iss, Timestamp::from_secs(self.0.iat))),
            ("audit", self.0.audit.clone()),
        ]
        .into_iter()
        .chain(open)
        .chain(others)
        .collect()
    }
}

fn sentence(lease: &ClosedLease, style: &Style) -> String {
    let until = lease.until.map(|until| until.to_string()).unwrap_or_default();
    let resource = safe(lease.resource.as_str());
    format!("{} ({resource}): {}, refused by {until}", style.id(&lease.id.to_string()), lease.outcome)
}
