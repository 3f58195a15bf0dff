//! Approvals: asking people about one exact request, showing what waits, and taking their votes.
//!
//! Invariants: only a registered person votes, never a workload, not even one with a role; a denial waits for no audit log,
//! an approval does, for it leads to a grant.

use crate::{
    Broker, Caller, Role,
    decide::Decided,
    tasks::{own_only, unexpected},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem::{Discriminant, discriminant},
    sync::Arc,
    time::Duration,
};
use taskpass_audit::{Action, Event};
use taskpass_lease::{
    Approval, ApprovalState, ApprovalUse, CastVote, Event as Change, Fence, Outcome, Quorum, RequestApproval,
    Task, Verdict,
};
use taskpass_store::{ApprovalQuery, Page};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, Reason, Refusal, ResourceName, ToolName, Ttl, UserName,
};
use tokio::sync::watch;

/// A request that may need people's consent: what they are shown, and the digest that it is bound to.
pub(crate) struct Wanted<'a> {
    pub(crate) agent: &'a AgentId,
    pub(crate) task: &'a Task,
    pub(crate) verb: &'static str,
    pub(crate) resource: &'a ResourceName,
    pub(crate) actions: BTreeSet<ActionName>,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) to: Option<&'a AgentId>,
    pub(crate) tool: Option<&'a ToolName>,
    pub(crate) digest: [u8; 32],
    /// The approval that the caller names.
    pub(crate) named: Option<ApprovalId>,
}

impl Wanted<'_> {
    /// The approval that the request has to rest on, by what was decided.
    pub(crate) fn rests_on(&self, decided: &Decided) -> Option<ApprovalUse> {
        let required = decided.obligations.approvals.clone();
        let needed = !required.is_empty();
        needed.then_some(ApprovalUse { id: self.named, digest: self.digest, required })
    }
}

impl Broker {
    /// Makes people's consent happen: when a step refused because nobody has been asked yet, asks them. The refusal that
    /// comes back names the approval to wait for.
    pub(crate) async fn ask_people(
        &self,
        caller: &Caller,
        refusal: Refusal,
        wanted: &Wanted<'_>,
        decided: &Decided,
    ) -> Refusal {
        let asked = refusal.metadata().any(|(key, _)| key == "approval");
        if refusal.reason() != Reason::ApprovalRequired || asked {
            return refusal;
        }
        match self.request_approval(caller, wanted, decided).await {
            Ok(approval) => required(&approval),
            Err(refusal) => refusal,
        }
    }

    async fn request_approval(
        &self,
        caller: &Caller,
        wanted: &Wanted<'_>,
        decided: &Decided,
    ) -> Result<Approval, Refusal> {
        let registry = self.registry();
        let owner = match registry.agent(&caller.tenant, wanted.agent) {
            Some(registration) => registration.owned()?.clone(),
            None => wanted.task.owner.clone(),
        };
        let quorums = decided.obligations.approvals.iter().map(|(group, count)| Quorum {
            group: group.clone(),
            members: registry.members(group),
            count: *count,
        });
        let id = ApprovalId::new();
        let ask = RequestApproval {
            tenant: caller.tenant.clone(),
            id,
            digest: wanted.digest,
            agent: wanted.agent.clone(),
            owner,
            task: wanted.task.id,
            verb: wanted.verb.to_owned(),
            resource: wanted.resource.clone(),
            actions: wanted.actions.clone(),
            ttl: wanted.ttl,
            to: wanted.to.cloned(),
            tool: wanted.tool.cloned(),
            quorums: quorums.collect(),
            decision: decided.id,
            policies: decided.policies.clone(),
            fence: Fence { policy_revision: decided.revision.clone() },
        };
        let describe = |event: Event| {
            let event = decided.describe(event).task(wanted.task.id).agent(wanted.agent);
            let event =
                event.resource(wanted.resource).actions(&wanted.actions.iter().cloned().collect::<Vec<_>>());
            let event = wanted.to.iter().fold(event, |event, to| event.to(to));
            wanted.tool.iter().fold(event, |event, tool| event.tool(tool))
        };
        let actor = || caller.actor(Some(wanted.agent));
        let intent = describe(Event::intent(&caller.tenant, Action::ApprovalRequest, actor())).approval(id);
        self.parts().audit.record(intent).await?;
        let outcome = describe(Event::outcome(&caller.tenant, Action::ApprovalRequest, actor()));
        match self.parts().store.apply(Change::RequestApproval(Box::new(ask)), self.now()).await {
            Ok(committed) => match committed.into_outcome() {
                Outcome::Approval(approval) => {
                    metrics::counter!("taskpass_approvals_requested_total").increment(1);
                    self.note(outcome.approval(approval.id).expires_at(approval.expires_at));
                    Ok(*approval)
                }
                other => Err(unexpected(&other)),
            },
            Err(refusal) => self.failed(outcome.approval(id), refusal),
        }
    }

    /// One approval, if the caller may see it.
    ///
    /// # Errors
    /// `APPROVAL_NOT_FOUND`, also for one that the caller may not see.
    pub async fn approval(&self, caller: &Caller, id: ApprovalId) -> Result<Approval, Refusal> {
        let approval = self.parts().store.approval(&caller.tenant, id).await?;
        approval.filter(|approval| may_see(caller, approval)).ok_or_else(not_found)
    }

    /// A page of the approvals that the caller may see, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn approvals(
        &self,
        caller: &Caller,
        query: ApprovalQuery,
    ) -> Result<Page<Approval, ApprovalId>, Refusal> {
        // A person sees what is theirs to judge, so no filter of the store says it.
        let agent = match &caller.user {
            Some(_) => query.agent.clone(),
            None => own_only(caller, query.agent.clone())?,
        };
        let query = ApprovalQuery { tenant: caller.tenant.clone(), agent, ..query };
        let mut page = self.parts().store.approvals(&query).await?;
        page.items.retain(|approval| may_see(caller, approval));
        Ok(page)
    }

    /// A person's vote. The agent receives `why`.
    ///
    /// # Errors
    /// `APPROVER_NOT_ELIGIBLE`, also for every workload; `APPROVAL_NOT_FOUND`, `APPROVAL_SETTLED`, `APPROVAL_EXPIRED`.
    pub async fn decide_approval(
        &self,
        caller: Arc<Caller>,
        id: ApprovalId,
        verdict: Verdict,
        why: &str,
    ) -> Result<Approval, Refusal> {
        let decided = self.decide_unaudited(&caller, id, verdict, why).await;
        decided.inspect_err(|refusal| self.refused(&caller, refusal, |event| event.approval(id)))
    }

    async fn decide_unaudited(
        &self,
        caller: &Caller,
        id: ApprovalId,
        verdict: Verdict,
        why: &str,
    ) -> Result<Approval, Refusal> {
        let person = person(caller)?;
        let approval = self.approval(caller, id).await?;
        if verdict == Verdict::Deny && why.trim().is_empty() {
            return Err(Refusal::new(Reason::FieldInvalid, "`reason` is empty, and the agent receives it")
                .fix("say in a sentence what the agent should do instead")
                .with("field", "reason"));
        }
        let describe = |event: Event| {
            let word = match verdict {
                Verdict::Approve => "approve",
                Verdict::Deny => "deny",
            };
            let said = if why.is_empty() { word.to_owned() } else { format!("{word}: {why}") };
            event.approval(id).agent(&approval.agent).task(approval.task).purpose(&said)
        };
        let actor = || caller.actor(None);
        let intent = describe(Event::intent(&caller.tenant, Action::ApprovalDecide, actor()));
        match verdict {
            Verdict::Approve => drop(self.parts().audit.record(intent).await?),
            Verdict::Deny => self.note(intent),
        }
        let vote = CastVote {
            tenant: caller.tenant.clone(),
            approval: id,
            by: person.clone(),
            verdict,
            why: why.to_owned(),
        };
        let voted = self.parts().store.apply(Change::Vote(Box::new(vote)), self.now()).await;
        let outcome = describe(Event::outcome(&caller.tenant, Action::ApprovalDecide, actor()));
        match voted.map(taskpass_store::Committed::into_outcome) {
            Ok(Outcome::Approval(approval)) => {
                metrics::counter!("taskpass_approvals_voted_total").increment(1);
                self.note(outcome);
                Ok(*approval)
            }
            Ok(other) => self.failed(outcome, unexpected(&other)),
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    /// Follows one approval, or all that the caller may see.
    ///
    /// # Errors
    /// `APPROVAL_NOT_FOUND`; `NOT_PERMITTED` for who can see none.
    pub async fn watch_approvals(
        &self,
        caller: Arc<Caller>,
        only: Option<ApprovalId>,
    ) -> Result<ApprovalFeed, Refusal> {
        // Before the first look, so that no change falls between.
        let changed = self.parts().store.approval_changed();
        match only {
            Some(id) => drop(self.approval(&caller, id).await?),
            None if caller.user.is_some() => {}
            None => drop(own_only(&caller, None)?),
        }
        Ok(ApprovalFeed {
            broker: self.clone(),
            caller,
            only,
            changed,
            seen: None,
            waiting: VecDeque::new(),
            done: false,
        })
    }
}

/// What a reader knows of an approval: how many voted, and where it stands.
type Seen = (usize, Discriminant<ApprovalState>);

/// Approvals as they change. It keeps what was last said of each that can still change, and reads the rest from the store.
pub struct ApprovalFeed {
    broker: Broker,
    caller: Arc<Caller>,
    only: Option<ApprovalId>,
    changed: watch::Receiver<u64>,
    /// `None`: nothing was said yet.
    seen: Option<BTreeMap<ApprovalId, Seen>>,
    waiting: VecDeque<Approval>,
    done: bool,
}

/// How many of the newest approvals a feed looks at.
const LOOK: usize = 1_000;
/// Another broker's changes are seen at the latest after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl ApprovalFeed {
    /// The next change; `None`: the approval that is followed is settled, and there will be no other.
    ///
    /// # Errors
    /// When the store does not answer; the feed ends then.
    pub async fn next(&mut self) -> Result<Option<Approval>, Refusal> {
        loop {
            if let Some(approval) = self.waiting.pop_front() {
                self.done = self.only.is_some() && !approval.is_pending();
                return Ok(Some(approval));
            }
            if self.done {
                return Ok(None);
            }
            if self.seen.is_some() {
                // Whether something changed or the time is up: the look says what is new.
                drop(tokio::time::timeout(LOOK_AGAIN, self.changed.changed()).await);
            }
            self.changed.mark_unchanged();
            self.look().await?;
        }
    }

    async fn look(&mut self) -> Result<(), Refusal> {
        let found = match self.only {
            Some(id) => vec![self.broker.approval(&self.caller, id).await?],
            None => {
                let query = ApprovalQuery { limit: LOOK, ..ApprovalQuery::default() };
                self.broker.approvals(&self.caller, query).await?.items
            }
        };
        let before = self.seen.take();
        let mut seen = BTreeMap::new();
        for approval in found.into_iter().rev() {
            let now = (approval.votes.len(), discriminant(&approval.state));
            let news = match &before {
                // At the beginning: what waits, and whatever was asked for by name.
                None => self.only.is_some() || approval.is_pending(),
                Some(before) => before.get(&approval.id) != Some(&now),
            };
            seen.insert(approval.id, now);
            if news {
                self.waiting.push_back(approval);
            }
        }
        self.seen = Some(seen);
        Ok(())
    }
}

/// The person that a caller is.
fn person(caller: &Caller) -> Result<&UserName, Refusal> {
    if let Some(agent) = caller.agent() {
        return Err(Refusal::new(
            Reason::ApproverNotEligible,
            format!("`{agent}` is a workload, and workloads can never approve"),
        )
        .fix("approve as a person, with evidence that no agent is registered for"));
    }
    caller.user.as_ref().ok_or_else(|| {
        Refusal::new(Reason::ApproverNotEligible, "only a registered person can approve")
            .fix("register the person under [[users]], in the group that has to approve")
    })
}

fn may_see(caller: &Caller, approval: &Approval) -> bool {
    let own = caller.agent().is_some() && caller.agent() == Some(&approval.agent);
    let theirs = caller
        .user
        .as_ref()
        .is_some_and(|user| approval.quorums.iter().any(|quorum| quorum.members.contains(user)));
    own || theirs || caller.require(&[Role::Operator, Role::Orchestrator]).is_ok()
}

fn not_found() -> Refusal {
    Refusal::new(Reason::ApprovalNotFound, "there is no such approval, or it is not yours to see")
        .fix("list those that wait with `taskpass approval list`")
}

/// What an agent hears that has to wait.
fn required(approval: &Approval) -> Refusal {
    let quorums = approval.quorums.iter().map(|quorum| format!("{} of `{}`", quorum.count, quorum.group));
    let quorums = quorums.collect::<Vec<_>>().join(" and ");
    Refusal::new(
        Reason::ApprovalRequired,
        format!("{quorums} have to approve this first; `{}` waits for them", approval.id),
    )
    .fix(format!("wait for it, then ask for the same again: taskpass approval watch {}", approval.id))
    .with("approval", approval.id)
    .with("expires_at", approval.expires_at)
}
