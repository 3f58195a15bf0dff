//! Starting, showing and ending tasks.

use crate::{
    Broker, Caller, Role, StartAsk,
    approvals::Wanted,
    decide::{Decided, Failure, Question, task_facts},
};
use std::sync::Arc;
use taskpass_audit::{Action, Event};
use taskpass_lease::{End, EndTask, Event as Change, Fence, Heartbeat, Outcome, StartTask, Task};
use taskpass_policy::Verb;
use taskpass_store::{Page, TaskQuery};
use taskpass_types::{
    AgentId, CredentialKind, EndReason, Initiator, Owner, Reason, Refusal, ResourceName, Revocability, TaskId,
};

impl Broker {
    /// Declares a task for the caller or, by an orchestrator, for another agent; or hands a part of a task on.
    ///
    /// # Errors
    /// As the state machine refuses; `AGENT_WITHOUT_OWNER`, `NOT_PERMITTED`, `AUDIT_UNAVAILABLE`.
    pub async fn start_task(&self, caller: Arc<Caller>, ask: StartAsk) -> Result<Task, Refusal> {
        let declared = self.declared(&caller, &ask).await;
        let Declared { agent, owner, initiator, sensitivity, delegation } = declared.map_err(|failure| {
            self.refused(&caller, &failure.refusal, |event| {
                let event = failure.describe(event.scopes(ask.scopes.iter()));
                ask.parent.into_iter().fold(event, Event::parent)
            });
            failure.refusal
        })?;
        let request = ask.request();
        let consent = ask.consent_digest(&agent);
        let decided = delegation.as_ref().map(|delegation| &delegation.decided);
        let wanted = delegation.as_ref().map(|delegation| delegation.wanted(&caller, &agent, &ask, consent));
        let id = TaskId::new();
        let start = StartTask {
            tenant: caller.tenant.clone(),
            id,
            parent: ask.parent,
            agent: agent.clone(),
            owner: owner.clone(),
            kind: ask.kind.clone(),
            purpose: ask.purpose.clone(),
            scopes: ask.scopes.clone(),
            initiator,
            labels: ask.labels.clone(),
            sensitivity,
            ttl: ask.ttl.unwrap_or(self.parts().settings.task_ttl),
            max_ttl: decided.and_then(|decided| decided.obligations.max_ttl),
            heartbeat: ask.heartbeat,
            decision: decided.map(|decided| decided.id),
            fence: decided.map(|decided| Fence { policy_revision: decided.revision.clone() }),
            approval: wanted.as_ref().zip(decided).and_then(|(wanted, decided)| wanted.rests_on(decided)),
            request,
        };
        let describe = |event: Event| {
            let event = start.parent.into_iter().fold(event, Event::parent);
            let event = start.sensitivity.iter().fold(event, |event, text| event.sensitivity(text));
            let event = decided.into_iter().fold(event, |event, decided| decided.describe(event));
            event
                .task(id)
                .agent(&agent)
                .owner(&owner)
                .task_kind(&start.kind)
                .purpose(&start.purpose)
                .initiator(&start.initiator)
                .scopes(start.scopes.iter())
                .ttl(start.ttl)
                .request_id(&start.request.id)
                .labels(start.labels.iter())
        };
        let actor = || caller.actor(Some(&agent));
        let intent = describe(Event::intent(&caller.tenant, Action::TaskStart, actor()));
        let recorded = self.parts().audit.record(intent).await;
        recorded.inspect_err(|refusal| self.refused(&caller, refusal, describe))?;
        let started = self.parts().store.apply(Change::StartTask(Box::new(start.clone())), self.now()).await;
        let outcome = describe(Event::outcome(&caller.tenant, Action::TaskStart, actor()));
        match started.map(taskpass_store::Committed::into_outcome) {
            Ok(Outcome::Running(task) | Outcome::ReplayedTask(task)) => {
                metrics::counter!("taskpass_tasks_started_total").increment(1);
                let outcome = task.approval.into_iter().fold(outcome, Event::approval);
                self.note(outcome.task(task.id).expires_at(task.deadline));
                Ok(*task)
            }
            Ok(other) => self.failed(outcome, unexpected(&other)),
            Err(refusal) => {
                let refusal = match wanted.as_ref().zip(decided) {
                    Some((wanted, decided)) => self.ask_people(&caller, refusal, wanted, decided).await,
                    None => refusal,
                };
                self.failed(outcome, refusal)
            }
        }
    }

    /// Who will hold a task, who answers for that agent, and for whom it is done.
    async fn declared(&self, caller: &Caller, ask: &StartAsk) -> Result<Declared, Failure> {
        let (agent, owner) = self.holder(caller, ask)?;
        let delegation = match ask.parent {
            Some(parent) => Some(self.may_delegate(caller, parent, &agent, ask).await?),
            None => None,
        };
        let parent = delegation.as_ref().map(|delegation| &delegation.parent);
        let initiator = match (&ask.initiator, parent) {
            // Policies decide by it, so only who is trusted with it may say it: an agent would say what suits it.
            (Some(named), _) => {
                caller.require(&[Role::Orchestrator, Role::Operator])?;
                named.clone()
            }
            (None, Some(parent)) => parent.initiator.clone(),
            (None, None) => Initiator::new(caller.actor(Some(&agent)).to_string())
                .map_err(|error| Refusal::new(Reason::FieldInvalid, error.to_string()))?,
        };
        let sensitivity = match &ask.sensitivity {
            // The same holds for this.
            Some(named) => {
                caller.require(&[Role::Orchestrator, Role::Operator])?;
                Some(named.clone())
            }
            None => parent.and_then(|parent| parent.sensitivity.clone()),
        };
        Ok(Declared { agent, owner, initiator, sensitivity, delegation })
    }

    /// Who will hold a task, and who answers for that agent: oneself; another by an orchestrator; or another to whom
    /// the holder of the parent hands a part of it.
    fn holder(&self, caller: &Caller, ask: &StartAsk) -> Result<(AgentId, Owner), Refusal> {
        match &ask.agent {
            Some(id) if caller.agent() != Some(id) => {
                if ask.parent.is_none() {
                    caller.require(&[Role::Orchestrator, Role::Operator])?;
                }
                let registry = self.registry();
                let registration = registry.agent(&caller.tenant, id).ok_or_else(|| {
                    Refusal::new(Reason::AgentNotFound, format!("there is no agent `{id}`"))
                        .fix("register it under [[agents]]")
                        .with("agent", id)
                })?;
                Ok((id.clone(), registration.owned()?.clone()))
            }
            _ => {
                let (agent, _) = caller.owned_agent()?;
                let owner = caller.owner().cloned();
                owner.map(|owner| (agent.clone(), owner)).ok_or_else(|| {
                    Refusal::new(Reason::AgentWithoutOwner, format!("agent `{agent}` has no owner"))
                })
            }
        }
    }

    /// The parent, if the caller holds it and policy lets it hand on each scope.
    async fn may_delegate(
        &self,
        caller: &Caller,
        parent: TaskId,
        to: &AgentId,
        ask: &StartAsk,
    ) -> Result<Delegation, Failure> {
        let (agent, facts) = caller.owned_agent()?;
        let parent = self.parts().store.task(&caller.tenant, parent).await?;
        let parent = parent.filter(|parent| parent.agent() == Some(agent)).ok_or_else(not_found)?;
        let (policies, registry, now) = (self.policies(), self.registry(), self.now());
        let counters = self.counters(&parent).await?;
        let (to, under) = (registry.agent_facts(&caller.tenant, to, None), task_facts(&parent, &registry));
        let mut all: Option<Decided> = None;
        for scope in &ask.scopes {
            let question = Question {
                agent: facts,
                verb: Verb::Delegate,
                task: &under,
                counters,
                resource: &scope.resource,
                actions: &[scope.action.clone()].into(),
                kind: CredentialKind::Jwt,
                revocability: Revocability::Bounded,
                ttl: ask.ttl.unwrap_or(self.parts().settings.task_ttl),
                bound: caller.identity.confirmation.is_some(),
                attestation_age: now.since(caller.identity.verified_at),
                tool: None,
                delegate_to: to.as_ref(),
                now,
            };
            let decided = question.decide(&policies, &registry).allowed()?;
            match &mut all {
                Some(all) => all.join(decided),
                None => all = Some(decided),
            }
        }
        let (Some(decided), Some(first)) = (all, ask.scopes.first()) else {
            let refusal = Refusal::new(
                Reason::FieldInvalid,
                "`scopes` is empty: a task without a scope can do nothing",
            );
            return Err(refusal.with("field", "scopes").into());
        };
        let resource = first.resource.clone();
        // People approve what they can see at a glance: actions on one resource.
        if !decided.obligations.approvals.is_empty()
            && ask.scopes.iter().any(|scope| scope.resource != resource)
        {
            let refusal = Refusal::new(
                Reason::FieldInvalid,
                "a delegation that people have to approve can be for one resource only",
            );
            let refusal = refusal.fix("delegate one task for each resource").with("field", "scopes");
            return Err(Failure { refusal, decided: Some(Box::new(decided)) });
        }
        Ok(Delegation { parent, resource, decided })
    }

    /// One task, if the caller may see it.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, also for a task that is not the caller's.
    pub async fn task(&self, caller: &Caller, id: TaskId) -> Result<Task, Refusal> {
        let task = self.parts().store.task(&caller.tenant, id).await?;
        task.filter(|task| may_see(caller, task.agent())).ok_or_else(not_found)
    }

    /// A page of the tasks that the caller may see.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn tasks(&self, caller: &Caller, query: TaskQuery) -> Result<Page<Task, TaskId>, Refusal> {
        let agent = own_only(caller, query.agent)?;
        let query = TaskQuery { tenant: caller.tenant.clone(), agent, ..query };
        self.parts().store.tasks(&query).await
    }

    /// The holder shows life.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_ENDED`.
    pub async fn heartbeat(&self, caller: Arc<Caller>, id: TaskId) -> Result<Task, Refusal> {
        self.task(&caller, id).await?;
        let beat = Change::Heartbeat(Heartbeat { tenant: caller.tenant.clone(), task: id });
        match self.parts().store.apply(beat, self.now()).await?.into_outcome() {
            Outcome::Running(task) => Ok(*task),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends a task, and everything below it by the same one write. Waits for no audit: revoking never does.
    ///
    /// Repeating is harmless. An agent that declares done what has ended otherwise is told so.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`; `TASK_ENDED` for completing what timed out, fell silent or was called off.
    pub async fn end_task(
        &self,
        caller: Arc<Caller>,
        id: TaskId,
        reason: EndReason,
        why: &str,
    ) -> Result<Task, Refusal> {
        let task = self.task(&caller, id).await.inspect_err(|refusal| {
            self.refused(&caller, refusal, |event| event.task(id).reason(reason));
        })?;
        let actor = caller.actor(task.agent());
        let describe = |event: Event| {
            let event = event.task(id).reason(reason);
            if why.is_empty() { event } else { event.purpose(why) }
        };
        self.note(describe(Event::intent(&caller.tenant, Action::TaskEnd, actor.clone())));
        let end = EndTask { tenant: caller.tenant.clone(), task: id, reason, by: actor.to_string() };
        let outcome = describe(Event::outcome(&caller.tenant, Action::TaskEnd, actor));
        match self.parts().store.apply(Change::EndTask(end), self.now()).await.map(|done| done.into_outcome())
        {
            Ok(Outcome::TaskEnded(ended)) => {
                metrics::counter!("taskpass_tasks_ended_total", "reason" => reason.as_str()).increment(1);
                self.note(ended.deny.iter().fold(outcome, |event, deny| event.epoch(deny.epoch)));
                Ok(ended.record)
            }
            Ok(Outcome::AlreadyEnded(end)) => {
                let refusal = task_ended_before(id, &end);
                self.note(outcome.refusal(&refusal));
                if end.reason == reason || reason != EndReason::Completed {
                    return self.task(&caller, id).await;
                }
                Err(refusal)
            }
            Ok(other) => self.failed(outcome, unexpected(&other)),
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    /// Writes down that what an intent announced was not done, and says so.
    pub(crate) fn failed<T>(&self, outcome: Event, refusal: Refusal) -> Result<T, Refusal> {
        self.note(outcome.refusal(&refusal));
        Err(refusal)
    }

    /// Writes down that a known caller was refused.
    pub fn refused(&self, caller: &Caller, refusal: &Refusal, details: impl FnOnce(Event) -> Event) {
        metrics::counter!("taskpass_refused_total", "reason" => refusal.reason().code()).increment(1);
        let event = Event::outcome(&caller.tenant, Action::RequestRefuse, caller.actor(caller.agent()));
        self.note(details(event).refusal(refusal));
    }
}

/// A task as it was asked for, with who and what it will be.
struct Declared {
    agent: AgentId,
    owner: Owner,
    initiator: Initiator,
    sensitivity: Option<String>,
    delegation: Option<Delegation>,
}

/// A part of `parent` may be handed on.
struct Delegation {
    parent: Task,
    /// The one that people are asked about, if they are.
    resource: ResourceName,
    decided: Decided,
}

impl Delegation {
    /// What people would be asked about it.
    fn wanted<'a>(
        &'a self,
        caller: &'a Caller,
        to: &'a AgentId,
        ask: &'a StartAsk,
        digest: [u8; 32],
    ) -> Wanted<'a> {
        Wanted {
            agent: caller.agent().unwrap_or(to),
            task: &self.parent,
            verb: Verb::Delegate.as_str(),
            resource: &self.resource,
            actions: ask.scopes.iter().map(|scope| scope.action.clone()).collect(),
            ttl: ask.ttl,
            to: Some(to),
            tool: None,
            digest,
            named: ask.approval,
        }
    }
}

/// Why an intent to end a task had no effect.
pub(crate) fn task_ended_before(id: TaskId, end: &End) -> Refusal {
    Refusal::new(Reason::TaskEnded, format!("task `{id}` had ended before: {}", end.reason))
        .with("task", id)
        .with("end_reason", end.reason)
}

/// Whether a caller may see what `holder` holds: its own, or all with a role that watches over others.
pub(crate) fn may_see(caller: &Caller, holder: Option<&AgentId>) -> bool {
    caller.require(&[Role::Operator, Role::Orchestrator]).is_ok()
        || (caller.agent().is_some() && caller.agent() == holder)
}

/// The agent filter of a list: whatever is asked for, an agent without a role sees its own.
pub(crate) fn own_only(caller: &Caller, asked: Option<AgentId>) -> Result<Option<AgentId>, Refusal> {
    if caller.require(&[Role::Operator, Role::Orchestrator]).is_ok() {
        return Ok(asked);
    }
    match caller.agent() {
        Some(own) => Ok(Some(own.clone())),
        None => Err(Refusal::new(
            Reason::NotPermitted,
            "this needs to be an agent, an orchestrator or an operator",
        )),
    }
}

pub(crate) fn not_found() -> Refusal {
    Refusal::new(Reason::TaskNotFound, "there is no such task, or it is not yours")
        .fix("list your tasks with `taskpass task list`")
}

pub(crate) fn unexpected(outcome: &Outcome) -> Refusal {
    Refusal::new(Reason::Internal, "the store answered something else than was asked")
        .because(format!("{outcome:?}").chars().take(200).collect::<String>())
}
