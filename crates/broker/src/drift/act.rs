//! What follows from findings: reported, cut, or ended, each written down before and after.

use super::{ACTOR, Finding, Subject, rule::Then};
use crate::{
    Broker,
    leases::lease_ended_before,
    tasks::{task_ended_before, unexpected},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use taskpass_audit::{Action, Event};
use taskpass_lease::{CutLease, End, EndLease, EndTask, Event as Change, Outcome};
use taskpass_types::{EndReason, Refusal};

/// How many are under way at once, so that they share commits.
const AT_ONCE: usize = 64;

impl Broker {
    /// Does what the rules of `findings` say. Says how many ended or were given an earlier end.
    ///
    /// # Errors
    /// When the store does not answer; what is left is found again by the next sweep.
    pub(crate) async fn follow_findings(&self, findings: Vec<Finding>) -> Result<usize, Refusal> {
        let acting = stream::iter(findings).map(|finding| async move { self.follow_finding(&finding).await });
        acting
            .buffer_unordered(AT_ONCE)
            .try_fold(0, |sum, acted| async move { Ok(sum + usize::from(acted)) })
            .await
    }

    async fn follow_finding(&self, finding: &Finding) -> Result<bool, Refusal> {
        let detected = describe(Event::outcome(&finding.tenant, Action::DriftDetect, ACTOR), finding);
        let acts = !finding.rule.shadow && finding.ends_at.is_some();
        self.note(if finding.rule.shadow { detected.shadow() } else { detected });
        metrics::counter!("taskpass_drift_total", "when" => finding.rule.when.as_str()).increment(1);
        let (true, Some(at)) = (acts, finding.ends_at) else { return Ok(false) };
        let by = format!("{ACTOR} {}", finding.rule.id);
        let (tenant, reason) = (finding.tenant.clone(), EndReason::Drifted);
        let (change, action) = match (finding.subject, finding.rule.then) {
            (Subject::Task(task), _) => {
                (Change::EndTask(EndTask { tenant, task, reason, by }), Action::TaskEnd)
            }
            (Subject::Lease(lease), Then::Revoke) => {
                (Change::EndLease(EndLease { tenant, lease, reason, by, hold: false }), Action::LeaseEnd)
            }
            (Subject::Lease(lease), _) => {
                (Change::CutLease(CutLease { tenant, lease, at, by }), Action::LeaseCut)
            }
        };
        let describe = |event: Event| describe(event, finding).reason(reason);
        self.note(describe(Event::intent(&finding.tenant, action, ACTOR)));
        let outcome = describe(Event::outcome(&finding.tenant, action, ACTOR));
        match self.parts().store.apply(change, self.now()).await.map(taskpass_store::Committed::into_outcome)
        {
            Ok(Outcome::LeaseEnded(ended)) => {
                metrics::counter!("taskpass_leases_drifted_total").increment(1);
                self.note(ended.deny.iter().fold(outcome, |event, deny| event.epoch(deny.epoch)));
                Ok(true)
            }
            Ok(Outcome::TaskEnded(ended)) => {
                metrics::counter!("taskpass_tasks_ended_total", "reason" => reason.as_str()).increment(1);
                self.note(ended.deny.iter().fold(outcome, |event, deny| event.epoch(deny.epoch)));
                Ok(true)
            }
            Ok(Outcome::LeaseCut(lease)) => {
                let at = lease.cut.as_ref().map_or(at, |cut| cut.at);
                self.note(outcome.expires_at(at));
                Ok(true)
            }
            // It had ended meanwhile, which is all that was wanted.
            Ok(Outcome::AlreadyEnded(end)) => {
                self.note(outcome.refusal(&ended_before(finding.subject, &end)));
                Ok(false)
            }
            Ok(other) => self.failed(outcome, unexpected(&other)),
            Err(refusal) => self.failed(outcome, refusal),
        }
    }
}

fn ended_before(subject: Subject, end: &End) -> Refusal {
    match subject {
        Subject::Lease(id) => lease_ended_before(id, end),
        Subject::Task(id) => task_ended_before(id, end),
    }
}

fn describe(event: Event, finding: &Finding) -> Event {
    let event = event.agent(&finding.agent).task(finding.task).rule(&finding.rule.id).purpose(&finding.why);
    let event = finding.resource.iter().fold(event, |event, resource| event.resource(resource));
    match finding.subject {
        Subject::Lease(lease) => event.lease(lease).actions(&finding.actions),
        Subject::Task(_) => event,
    }
}
