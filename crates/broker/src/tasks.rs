//! Starting, showing and ending tasks.

use crate::{Broker, Caller, Role, StartAsk, policy::Question};
use std::sync::Arc;
use taskpass_audit::{Action, Event};
use taskpass_lease::{EndTask, Event as Change, Heartbeat, Outcome, StartTask, Task};
use taskpass_policy::Verb;
use taskpass_store::{Page, TaskQuery};
use taskpass_types::{
    AgentId, CredentialKind, EndReason, Initiator, Owner, Reason, Refusal, Revocability, TaskId,
};

impl Broker {
    /// Declares a task for the caller or, by an orchestrator, for another agent; or hands a part of a task on.
    ///
    /// # Errors
    /// As the state machine refuses; `AGENT_WITHOUT_OWNER`, `NOT_PERMITTED`, `AUDIT_UNAVAILABLE`.
    pub async fn start_task(&self, caller: Arc<Caller>, ask: StartAsk) -> Result<Task, Refusal> {
        let declared = self.declared(&caller, &ask).await;
        let (agent, owner, initiator) = declared
            .inspect_err(|refusal| self.refused(&caller, refusal, |event| event.scopes(ask.scopes.iter())))?;
        let request = ask.request();
        let id = TaskId::new();
        let start = StartTask {
            tenant: caller.tenant.clone(),
            id,
            parent: ask.parent,
            agent: agent.clone(),
            owner: owner.clone(),
            kind: ask.kind,
            purpose: ask.purpose,
            scopes: ask.scopes,
            initiator,
            labels: ask.labels,
            ttl: ask.ttl.unwrap_or(self.parts().settings.task_ttl),
            heartbeat: ask.heartbeat,
            request,
        };
        let describe = |event: Event| {
            let event = match start.parent {
                Some(parent) => event.parent(parent),
                None => event,
            };
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
                self.note(outcome.task(task.id).expires_at(task.deadline));
                Ok(*task)
            }
            Ok(other) => self.failed(outcome, unexpected(&other)),
            Err(refusal) => self.failed(outcome, refusal),
        }
    }

    /// Who will hold a task, who answers for that agent, and for whom it is done.
    async fn declared(
        &self,
        caller: &Caller,
        ask: &StartAsk,
    ) -> Result<(AgentId, Owner, Initiator), Refusal> {
        let parent = match ask.parent {
            Some(parent) => Some(self.may_delegate(caller, parent, ask).await?),
            None => None,
        };
        let (agent, owner) = self.holder(caller, ask)?;
        let initiator = match (&ask.initiator, parent) {
            // Policies decide by it, so only who is trusted with it may say it: an agent would say what suits it.
            (Some(named), _) => {
                caller.require(&[Role::Orchestrator, Role::Operator])?;
                named.clone()
            }
            (None, Some(parent)) => parent.initiator,
            (None, None) => Initiator::new(caller.actor(Some(&agent)).to_string())
                .map_err(|error| Refusal::new(Reason::FieldInvalid, error.to_string()))?,
        };
        Ok((agent, owner, initiator))
    }

    /// Who will hold a task, and who answers for that agent: oneself; another by an orchestrator; or another to whom
    /// the holder of the parent hands a part of it.
    fn holder(&self, caller: &Caller, ask: &StartAsk) -> Result<(AgentId, Owner), Refusal> {
        match &ask.agent {
            Some(id) if caller.agent() != Some(id) => {
                if ask.parent.is_none() {
                    caller.require(&[Role::Orchestrator, Role::Operator])?;
                }
                let registration = self.parts().registry.agent(&caller.tenant, id).ok_or_else(|| {
                    Refusal::new(Reason::AgentNotRegistered, format!("there is no agent `{id}`"))
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
    async fn may_delegate(&self, caller: &Caller, parent: TaskId, ask: &StartAsk) -> Result<Task, Refusal> {
        let (agent, facts) = caller.owned_agent()?;
        let parent = self.parts().store.task(&caller.tenant, parent).await?;
        let parent = parent.filter(|parent| parent.agent() == Some(agent)).ok_or_else(not_found)?;
        for scope in &ask.scopes {
            self.decide(&Question {
                agent: facts,
                verb: Verb::Delegate,
                task: &parent,
                resource: &scope.resource,
                actions: &[scope.action.clone()].into(),
                kind: CredentialKind::Jwt,
                revocability: Revocability::Bounded,
                ttl: ask.ttl.unwrap_or(self.parts().settings.task_ttl),
                bound: caller.identity.confirmation.is_some(),
                attestation_age: self.now().since(caller.identity.verified_at),
            })?;
        }
        Ok(parent)
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
                let refusal =
                    Refusal::new(Reason::TaskEnded, format!("task `{id}` had ended before: {}", end.reason))
                        .with("task", id)
                        .with("end_reason", end.reason);
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
