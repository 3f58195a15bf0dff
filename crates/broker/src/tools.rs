//! Tool calls: each is a decision of its own, written down as its own event.
//!
//! Invariants: a call is allowed only within what was declared, decided by the policies in force, counted in the store
//! and written down, in that order. A call outside the declared scopes is drift of behaviour: it is denied, and policy
//! says what else follows.

use crate::{
    Broker, Caller, DECIDE_ATTEMPTS, Role,
    approvals::Wanted,
    ask::Digest,
    decide::{Decided, Question, task_facts},
    drift::Trigger,
    tasks::{not_found, unexpected},
};
use std::{collections::BTreeSet, sync::Arc};
use taskpass_audit::{Action, Event};
use taskpass_lease::{CallTool, EndLease, EndTask, Event as Change, Fence, HoldTask, Lease, Outcome, Task};
use taskpass_policy::{AgentFacts, Verb};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, CallId, Consequence, CredentialKind, DecisionId, EndReason, Kind,
    LeaseId, PolicyRevision, Reason, Refusal, ResourceName, Revocability, TaskId, ToolName, Ttl,
};

/// One call of a tool.
#[derive(Clone, Debug)]
pub struct CallAsk {
    /// The lease under which it is made.
    pub lease: Option<LeaseId>,
    /// Or else the task.
    pub task: Option<TaskId>,
    /// The tool.
    pub tool: ToolName,
    /// What it acts on.
    pub resource: ResourceName,
    /// What it does there.
    pub action: ActionName,
    /// SHA-256 of its arguments and a salt that stays with the caller.
    pub arguments: Option<[u8; 32]>,
    /// The approval that the caller names.
    pub approval: Option<ApprovalId>,
}

/// How a call ended, as its caller or its resource says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It went wrong.
    Failed,
    /// The resource refused it.
    Refused,
    /// It was done.
    Succeeded,
}

impl CallOutcome {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Succeeded => "succeeded",
        }
    }
}

/// What was decided about a call. A denial is an answer.
#[derive(Clone, Debug)]
pub struct CallDecision {
    /// Its id, when it is allowed.
    pub call: Option<CallId>,
    /// The decision.
    pub decision: DecisionId,
    /// The policies that made it so.
    pub policies: Vec<String>,
    /// The policies in force.
    pub revision: PolicyRevision,
    /// Why it is allowed.
    pub why: String,
    /// Why it is denied.
    pub denial: Option<Arc<Refusal>>,
    /// What a call outside the declared scopes led to.
    pub consequence: Option<Consequence>,
}

/// A call with all that it is about.
struct Call<'a> {
    ask: &'a CallAsk,
    task: Task,
    lease: Option<Lease>,
    agent: AgentId,
    facts: AgentFacts,
    attestation_age_secs: u64,
}

impl Broker {
    /// Decides a call before it is made.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `LEASE_NOT_FOUND`, `NOT_PERMITTED`; when a dependency does not answer.
    pub async fn authorize_call(&self, caller: Arc<Caller>, ask: CallAsk) -> Result<CallDecision, Refusal> {
        let call = self.call(&caller, &ask).await.inspect_err(|refusal| {
            self.refused(&caller, refusal, |event| describe_ask(event, &ask));
        })?;
        if let Err(outside) = call.within() {
            return Ok(self.outside(&caller, &call, Action::CallAuthorize, outside).await);
        }
        let mut attempt = 1;
        loop {
            let decided = self.decide_call(&call).await?;
            let mut answer = CallDecision::of(&decided);
            let decided = match decided.allowed() {
                Ok(decided) => decided,
                Err(failure) => {
                    let actor = caller.actor(Some(&call.agent));
                    let event = call.describe(Event::outcome(&caller.tenant, Action::CallAuthorize, actor));
                    self.note(failure.describe(event).refusal(&failure.refusal));
                    answer.denial = Some(Arc::new(failure.refusal));
                    return Ok(answer);
                }
            };
            let id = CallId::new();
            match self.allow_call(&caller, &call, id, &decided).await {
                Ok(()) => {
                    answer.call = Some(id);
                    return Ok(answer);
                }
                Err(refusal) if refusal.reason() == Reason::PolicyChanged && attempt < DECIDE_ATTEMPTS => {
                    attempt += 1;
                    self.policies_changed_from(&answer.revision).await;
                }
                Err(refusal) if is_answer(&refusal) => {
                    answer.denial = Some(Arc::new(refusal));
                    return Ok(answer);
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Takes down how a call ended, and judges it once more: what was never authorized is found so, whatever id it names.
    /// Says what is to be said about it, which is nothing about an authorized call that would be allowed again.
    ///
    /// # Errors
    /// As [`Broker::authorize_call`].
    pub async fn report_call(
        &self,
        caller: Arc<Caller>,
        id: Option<CallId>,
        ask: CallAsk,
        outcome: CallOutcome,
    ) -> Result<Option<CallDecision>, Refusal> {
        let call = self.call(&caller, &ask).await.inspect_err(|refusal| {
            self.refused(&caller, refusal, |event| describe_ask(event, &ask));
        })?;
        if let Err(outside) = call.within() {
            return Ok(Some(self.outside(&caller, &call, Action::CallReport, outside).await));
        }
        let decided = self.decide_call(&call).await?;
        let mut answer = CallDecision::of(&decided);
        let event = Event::outcome(&caller.tenant, Action::CallReport, caller.actor(Some(&call.agent)));
        let event = decided.describe(call.describe(event)).purpose(outcome.as_str());
        let event = id.into_iter().fold(event, Event::call);
        match decided.allowed() {
            Ok(_) => {
                self.note(event);
                Ok(id.is_none().then_some(answer))
            }
            Err(failure) => {
                self.note(event.refusal(&failure.refusal));
                answer.denial = Some(Arc::new(failure.refusal));
                Ok(Some(answer))
            }
        }
    }

    /// Who calls, under what. An agent calls under its own; a resource server speaks of the lease that it was shown.
    async fn call<'a>(&self, caller: &Caller, ask: &'a CallAsk) -> Result<Call<'a>, Refusal> {
        let store = &self.parts().store;
        let lease = match ask.lease {
            Some(id) => Some(store.lease(&caller.tenant, id).await?.ok_or_else(lease_not_found)?),
            None => None,
        };
        let task = lease.as_ref().and_then(Lease::task).or(ask.task).ok_or_else(|| {
            Refusal::new(Reason::FieldInvalid, "neither `lease_id` nor `task_id` says what the call is under")
                .fix("name the lease whose credential the call is made with, or the task")
                .with("field", "lease_id")
        })?;
        let task = store.task(&caller.tenant, task).await?.ok_or_else(not_found)?;
        let holder = task.agent().ok_or_else(not_found)?.clone();
        if caller.agent() == Some(&holder) {
            let (agent, facts) = caller.owned_agent()?;
            let age = self.now().since(caller.identity.verified_at).as_secs();
            let (agent, facts) = (agent.clone(), facts.clone());
            return Ok(Call { ask, task, lease, agent, facts, attestation_age_secs: age });
        }
        let Some(shown) = lease.as_ref().filter(|_| caller.has(Role::Verifier)) else {
            return Err(if ask.lease.is_some() { lease_not_found() } else { not_found() });
        };
        let registry = self.registry();
        registry.agent(&caller.tenant, &holder).ok_or_else(lease_not_found)?.owned()?;
        let facts = registry.agent_facts(&caller.tenant, &holder, Some(&shown.attested));
        let facts = facts.ok_or_else(lease_not_found)?;
        let age = u64::from(shown.attestation_age_secs);
        Ok(Call { ask, task, lease, agent: holder, facts, attestation_age_secs: age })
    }

    async fn decide_call(&self, call: &Call<'_>) -> Result<Decided, Refusal> {
        let counters = self.counters(&call.task).await?;
        Ok(call.question(self, counters).decide(&self.policies(), &self.registry()))
    }

    /// Durable audit, then the durable count.
    async fn allow_call(
        &self,
        caller: &Caller,
        call: &Call<'_>,
        id: CallId,
        decided: &Decided,
    ) -> Result<(), Refusal> {
        let actor = || caller.actor(Some(&call.agent));
        let describe = |event: Event| decided.describe(call.describe(event)).call(id);
        self.parts()
            .audit
            .record(describe(Event::intent(&caller.tenant, Action::CallAuthorize, actor())))
            .await
            .inspect_err(|refusal| self.refused(caller, refusal, describe))?;
        let wanted = call.wanted();
        let change = CallTool {
            tenant: caller.tenant.clone(),
            id,
            task: call.task.id,
            lease: call.ask.lease,
            agent: call.agent.clone(),
            resource: call.ask.resource.clone(),
            action: call.ask.action.clone(),
            obligations: decided.obligations.clone(),
            fence: Fence { policy_revision: decided.revision.clone() },
            approval: wanted.rests_on(decided),
        };
        let outcome = describe(Event::outcome(&caller.tenant, Action::CallAuthorize, actor()));
        match self.parts().store.apply(Change::CallTool(Box::new(change)), self.now()).await {
            Ok(committed) => match committed.into_outcome() {
                Outcome::CallAllowed { approval, .. } => {
                    metrics::counter!("taskpass_calls_allowed_total").increment(1);
                    self.note(approval.into_iter().fold(outcome, Event::approval));
                    Ok(())
                }
                other => self.failed(outcome, unexpected(&other)),
            },
            Err(refusal) => {
                let refusal = self.ask_people(caller, refusal, &wanted, decided).await;
                self.failed(outcome, refusal)
            }
        }
    }

    /// A call outside what was declared: denied, written down, and followed by what policy says.
    async fn outside(
        &self,
        caller: &Caller,
        call: &Call<'_>,
        action: Action,
        outside: Refusal,
    ) -> CallDecision {
        let counters = self.counters(&call.task).await.unwrap_or_default();
        let decided = call.question(self, counters).decide(&self.policies(), &self.registry());
        let rule = self.drift_rule(Trigger::Behaviour, &call.agent, &call.ask.resource);
        let consequence = decided.obligations.outside_scope.unwrap_or(rule.then.consequence());
        let event = Event::outcome(&caller.tenant, action, caller.actor(Some(&call.agent)));
        self.note(decided.describe(call.describe(event)).consequence(consequence).refusal(&outside));
        metrics::counter!("taskpass_calls_outside_scope_total", "consequence" => consequence.as_str())
            .increment(1);
        let detected = Event::outcome(&caller.tenant, Action::DriftDetect, super::drift::ACTOR);
        let detected = call.describe(detected).rule(&rule.id).consequence(consequence).decision(decided.id);
        if rule.shadow {
            self.note(detected.shadow());
        } else {
            self.note(detected);
            self.follow(caller, call, consequence).await;
        }
        let mut answer = CallDecision::of(&decided);
        answer.consequence = Some(consequence);
        answer.denial = Some(Arc::new(outside.with("decision", decided.id)));
        answer
    }

    /// Holds or kills. What fails here is in the log and denies the call all the same.
    async fn follow(&self, caller: &Caller, call: &Call<'_>, consequence: Consequence) {
        let (tenant, by) = (caller.tenant.clone(), super::drift::ACTOR.to_string());
        let (change, action) = match (consequence, &call.lease) {
            (Consequence::Report, _) => return,
            (Consequence::Hold, lease) => {
                // What is not declared cannot be asked for anyway; the hold is on what the call came with.
                let resource = lease.as_ref().map_or_else(
                    || call.task.scopes.iter().next().map(|scope| scope.resource.clone()),
                    |lease| Some(lease.resource.clone()),
                );
                let resource = resource.unwrap_or_else(|| call.ask.resource.clone());
                let (task, lease) = (call.task.id, lease.as_ref().map(|lease| lease.id));
                let hold = HoldTask { tenant, agent: call.agent.clone(), task, resource, by, lease };
                (Change::HoldTask(hold), Action::HoldSet)
            }
            (Consequence::Kill, Some(lease)) => {
                let (lease, reason) = (lease.id, EndReason::Drifted);
                (Change::EndLease(EndLease { tenant, lease, reason, by, hold: true }), Action::LeaseEnd)
            }
            (Consequence::Kill, None) => {
                let (task, reason) = (call.task.id, EndReason::Drifted);
                (Change::EndTask(EndTask { tenant, task, reason, by }), Action::TaskEnd)
            }
        };
        let describe = |event: Event| call.describe(event).reason(EndReason::Drifted);
        self.note(describe(Event::intent(&caller.tenant, action, super::drift::ACTOR)));
        let outcome = describe(Event::outcome(&caller.tenant, action, super::drift::ACTOR));
        match self.parts().store.apply(change, self.now()).await {
            Ok(_) => self.note(outcome),
            Err(refusal) => self.note(outcome.refusal(&refusal)),
        }
    }
}

impl Call<'_> {
    /// Whether the call is within what the task, and the lease if it names one, were declared for.
    fn within(&self) -> Result<(), Refusal> {
        let actions: BTreeSet<_> = [self.ask.action.clone()].into();
        self.task.covers(&self.ask.resource, &actions)?;
        match &self.lease {
            Some(lease) => lease.covers(&self.ask.resource, &self.ask.action),
            None => Ok(()),
        }
    }

    fn question<'b>(&'b self, broker: &Broker, counters: taskpass_types::Counters) -> CallQuestion<'b> {
        CallQuestion { call: self, counters, now: broker.now(), actions: [self.ask.action.clone()].into() }
    }

    fn wanted(&self) -> Wanted<'_> {
        let mut digest = Digest::new("call_tool");
        digest.field(&self.task.id.to_string()).field(self.agent.as_str());
        digest.field(&self.ask.lease.map(|id| id.to_string()).unwrap_or_default());
        digest
            .field(self.ask.tool.as_str())
            .field(self.ask.resource.as_str())
            .field(self.ask.action.as_str());
        digest.bytes(self.ask.arguments.as_ref().map_or(&[], |arguments| arguments.as_slice()));
        Wanted {
            agent: &self.agent,
            task: &self.task,
            verb: Verb::CallTool.as_str(),
            resource: &self.ask.resource,
            actions: [self.ask.action.clone()].into(),
            ttl: None,
            to: None,
            tool: Some(&self.ask.tool),
            digest: digest.finish_bytes(),
            named: self.ask.approval,
        }
    }

    fn describe(&self, event: Event) -> Event {
        describe_ask(event.agent(&self.agent).task(self.task.id), self.ask)
    }
}

/// The question that a call puts; it owns what the question borrows.
struct CallQuestion<'a> {
    call: &'a Call<'a>,
    counters: taskpass_types::Counters,
    actions: BTreeSet<ActionName>,
    now: taskpass_types::Timestamp,
}

impl CallQuestion<'_> {
    fn decide(&self, policies: &taskpass_policy::Policies, registry: &crate::registry::Registry) -> Decided {
        let Call { ask, task, lease, facts, attestation_age_secs, .. } = self.call;
        let under = task_facts(task, registry);
        let question = Question {
            agent: facts,
            verb: Verb::CallTool,
            task: &under,
            counters: self.counters,
            resource: &ask.resource,
            actions: &self.actions,
            kind: lease.as_ref().map_or(CredentialKind::Jwt, |lease| lease.kind),
            revocability: lease.as_ref().map_or(Revocability::Bounded, |lease| lease.revocability),
            ttl: lease
                .as_ref()
                .map_or_else(|| Ttl::nearest(task.deadline.since(self.now)), |lease| lease.requested_ttl),
            bound: lease.as_ref().is_some_and(|lease| lease.confirmation.is_some()),
            attestation_age: std::time::Duration::from_secs(*attestation_age_secs),
            tool: Some(&ask.tool),
            delegate_to: None,
            now: self.now,
        };
        question.decide(policies, registry)
    }
}

impl CallDecision {
    fn of(decided: &Decided) -> Self {
        Self {
            call: None,
            decision: decided.id,
            policies: decided.policies.clone(),
            revision: decided.revision.clone(),
            why: decided.why.clone(),
            denial: None,
            consequence: None,
        }
    }
}

fn describe_ask(event: Event, ask: &CallAsk) -> Event {
    let event = event.tool(&ask.tool).resource(&ask.resource).actions(std::slice::from_ref(&ask.action));
    let event = ask.arguments.into_iter().fold(event, Event::arguments);
    let event = ask.task.into_iter().fold(event, Event::task);
    ask.lease.into_iter().fold(event, Event::lease)
}

/// What says something about the call, rather than about us.
fn is_answer(refusal: &Refusal) -> bool {
    matches!(refusal.kind(), Kind::Denied | Kind::Ended | Kind::Exhausted | Kind::Pending | Kind::Conflict)
}

fn lease_not_found() -> Refusal {
    Refusal::new(Reason::LeaseNotFound, "there is no such lease, or it is not yours")
        .fix("list your leases with `taskpass lease list`")
}
