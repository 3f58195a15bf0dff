//! The exchange: an attested identity and a declared task for a credential. The order of its steps is invariant I1.

use crate::{
    Broker, Caller, DECIDE_ATTEMPTS, IssueAsk, RenewAsk,
    approvals::Wanted,
    ask::fresh_request_id,
    decide::{Decided, Failure, Question, obligations, task_facts},
    leases::lease_ended_before,
    tasks::{not_found, unexpected},
};
use std::{collections::BTreeSet, sync::Arc};
use taskpass_audit::{Action, Actor, Event};
use taskpass_issue::{Credential, Form, Issuer, Material};
use taskpass_lease::{EndLease, Event as Change, Fence, Lease, Outcome, PlanLease, RenewLease, Task};
use taskpass_policy::Verb;
use taskpass_store::{Committed, Prepared};
use taskpass_types::{
    AgentId, Confirmation, CredentialKind, EndReason, Kind, LeaseId, Reason, Refusal, SpiffeId, TaskId,
};

/// What an exchange gives.
#[derive(Clone)]
pub struct Issued {
    /// The record.
    pub lease: Lease,
    /// What the caller presents. It is not kept.
    pub credential: Credential,
}

impl Broker {
    /// Issues a credential.
    ///
    /// # Errors
    /// Whatever any step refuses; nothing was handed out then.
    pub async fn issue(&self, caller: Arc<Caller>, ask: IssueAsk) -> Result<Issued, Refusal> {
        let issued = self.issue_unaudited(&caller, &ask).await;
        issued.map_err(|failure| {
            self.refused(&caller, &failure.refusal, |event| {
                let actions: Vec<_> = ask.actions.iter().cloned().collect();
                let event =
                    event.task(ask.task).resource(&ask.resource).actions(&actions).kind(ask.form.kind());
                let event = ask.ttl.into_iter().fold(event, Event::ttl);
                failure.describe(event).attested(caller.attested())
            });
            failure.refusal
        })
    }

    /// Renews a lease: the caller is attested and the request decided as if it were new.
    ///
    /// # Errors
    /// As [`Broker::issue`]; `LEASE_ENDED` for what has ended, which never comes back.
    pub async fn renew(&self, caller: Arc<Caller>, ask: RenewAsk) -> Result<Issued, Refusal> {
        let renewed = self.renew_unaudited(&caller, &ask).await;
        renewed.map_err(|failure| {
            self.refused(&caller, &failure.refusal, |event| {
                failure.describe(event.lease(ask.lease)).attested(caller.attested())
            });
            failure.refusal
        })
    }

    async fn issue_unaudited(&self, caller: &Caller, ask: &IssueAsk) -> Result<Issued, Failure> {
        let (agent, facts) = caller.owned_agent()?;
        let issuer = self.issuer_of(ask.form.kind())?;
        let material = issuer.accept(ask.form.clone())?;
        let task = self.own_task(caller, agent, ask.task).await?;
        // What was not declared is not worth a decision.
        task.covers(&ask.resource, &ask.actions)?;
        let confirmation = confirmation(caller, &material, &ask.form);
        let (now, under) = (self.now(), task_facts(&task, &self.registry()));
        let question = Question {
            agent: facts,
            verb: Verb::Issue,
            task: &under,
            counters: self.counters(&task).await?,
            resource: &ask.resource,
            actions: &ask.actions,
            kind: issuer.kind(),
            revocability: issuer.revocability(),
            ttl: ask.ttl.unwrap_or_else(|| self.default_ttl(issuer.kind())),
            bound: confirmation.is_some(),
            attestation_age: now.since(caller.identity.verified_at),
            tool: None,
            delegate_to: None,
            now,
        };
        let wanted = Wanted {
            agent,
            task: &task,
            verb: Verb::Issue.as_str(),
            resource: &ask.resource,
            actions: ask.actions.clone(),
            ttl: Some(question.ttl),
            to: None,
            tool: None,
            digest: ask.consent_digest(agent, question.ttl, confirmation.as_ref()),
            named: ask.approval,
        };
        let subject = self.subject(agent, ask.task)?;
        let request = ask.request();
        let plan = |decided: &Decided| {
            let key_generation = issuer.key_generation();
            let status = match issuer.kind() {
                CredentialKind::Jwt => self.status_place(key_generation)?,
                CredentialKind::X509 => None,
            };
            Ok(Change::PlanLease(Box::new(PlanLease {
                tenant: caller.tenant.clone(),
                id: LeaseId::new(),
                task: ask.task,
                agent: agent.clone(),
                subject: subject.clone(),
                resource: ask.resource.clone(),
                actions: ask.actions.clone(),
                kind: issuer.kind(),
                revocability: issuer.revocability(),
                confirmation: confirmation.clone(),
                ttl: question.ttl,
                obligations: decided.obligations.clone(),
                attested: caller.attested(),
                attestation_age_secs: decided.inputs.attestation_age_secs,
                counters: decided.inputs.counters,
                approval: wanted.rests_on(decided),
                evidence_expires_at: caller.identity.expires_at,
                decision: decided.id,
                policies: decided.policies.clone(),
                fence: Fence { policy_revision: decided.revision.clone() },
                key_generation,
                status,
                request: request.clone(),
            })))
        };
        let (prepared, decided) = match self.plan(&question, plan).await {
            Err(Failure { refusal, decided: Some(decided) }) => {
                let refusal = self.ask_people(caller, refusal, &wanted, &decided).await;
                return Err(Failure { refusal, decided: Some(decided) });
            }
            planned => planned?,
        };
        Ok(self.sign(caller, Action::LeaseIssue, &*issuer, prepared, &material, &decided).await?)
    }

    async fn renew_unaudited(&self, caller: &Caller, ask: &RenewAsk) -> Result<Issued, Failure> {
        let (agent, facts) = caller.owned_agent()?;
        let lease = self.own_lease(caller, agent, ask.lease).await?;
        let issuer = self.issuer_of(lease.kind)?;
        let material = issuer.accept(ask.form.clone())?;
        let task = self.own_task(caller, agent, lease.task().ok_or_else(not_found)?).await?;
        let confirmation = confirmation(caller, &material, &ask.form);
        let actions: BTreeSet<_> = lease.actions.iter().cloned().collect();
        let (now, under) = (self.now(), task_facts(&task, &self.registry()));
        let question = Question {
            agent: facts,
            verb: Verb::Renew,
            task: &under,
            counters: self.counters(&task).await?,
            resource: &lease.resource,
            actions: &actions,
            kind: lease.kind,
            revocability: lease.revocability,
            ttl: ask.ttl.unwrap_or(lease.requested_ttl),
            bound: confirmation.is_some(),
            attestation_age: now.since(caller.identity.verified_at),
            tool: None,
            delegate_to: None,
            now,
        };
        let request = ask.request.clone().unwrap_or_else(fresh_request_id);
        let renew = |decided: &Decided| {
            Ok(Change::RenewLease(Box::new(RenewLease {
                tenant: caller.tenant.clone(),
                lease: ask.lease,
                agent: agent.clone(),
                confirmation: confirmation.clone(),
                ttl: question.ttl,
                obligations: decided.obligations.clone(),
                attested: caller.attested(),
                attestation_age_secs: decided.inputs.attestation_age_secs,
                counters: decided.inputs.counters,
                evidence_expires_at: caller.identity.expires_at,
                decision: decided.id,
                policies: decided.policies.clone(),
                fence: Fence { policy_revision: decided.revision.clone() },
                key_generation: issuer.key_generation(),
                request: request.clone(),
            })))
        };
        let (prepared, decided) = self.plan(&question, renew).await?;
        Ok(self.sign(caller, Action::LeaseRenew, &*issuer, prepared, &material, &decided).await?)
    }

    /// Decides and writes the durable intent; anew when the policies changed in between.
    async fn plan(
        &self,
        question: &Question<'_>,
        change: impl Fn(&Decided) -> Result<Change, Refusal>,
    ) -> Result<(Prepared, Decided), Failure> {
        self.follow_keys().await?;
        let mut attempt = 1;
        loop {
            let decided = question.decide(&self.policies(), &self.registry()).allowed()?;
            match self.parts().store.apply(change(&decided)?, self.now()).await {
                Ok(committed) => return Ok((prepared(committed)?, decided)),
                Err(refusal) if refusal.reason() == Reason::PolicyChanged && attempt < DECIDE_ATTEMPTS => {
                    attempt += 1;
                    self.policies_changed_from(&decided.revision).await;
                }
                Err(refusal) => return Err(Failure { refusal, decided: Some(Box::new(decided)) }),
            }
        }
    }

    /// Durable audit, signature, comparison, a last look, release.
    async fn sign(
        &self,
        caller: &Caller,
        action: Action,
        issuer: &dyn Issuer,
        prepared: Prepared,
        material: &Material,
        decided: &Decided,
    ) -> Result<Issued, Refusal> {
        let lease = prepared.lease().clone();
        let fresh = action == Action::LeaseIssue && !prepared.replayed();
        let actor = || caller.actor(lease.agent());
        let intent = describe(Event::intent(&caller.tenant, action, actor()), &lease, caller, decided);
        let outcome = Event::outcome(&caller.tenant, action, actor()).lease(lease.id).jti(&lease.jti());
        let credential = match self.parts().audit.record(intent).await {
            Ok(_) => match self.signed(issuer, prepared, material, &lease).await {
                Ok(credential) => Ok(credential),
                Err(refusal) => self.failed(outcome.clone(), refusal),
            },
            Err(refusal) => Err(refusal),
        };
        match credential {
            Ok(credential) => {
                metrics::counter!("taskpass_credentials_total", "kind" => lease.kind.as_str()).increment(1);
                self.note(outcome.expires_at(lease.expires_at));
                Ok(Issued { lease, credential })
            }
            Err(refusal) => {
                // A renewal or a repeat leaves what was handed out before as it is.
                if fresh && refusal.kind() != Kind::Ended {
                    self.abandon(&lease).await;
                }
                Err(refusal)
            }
        }
    }

    /// Signature, comparison, a last look.
    async fn signed(
        &self,
        issuer: &dyn Issuer,
        prepared: Prepared,
        material: &Material,
        lease: &Lease,
    ) -> Result<Credential, Refusal> {
        let credential = issuer.issue(prepared, material).await?;
        self.parts().store.standing(&lease.tenant, lease.id, self.now()).await?;
        if !self.has_keys_of_store() {
            return Err(Refusal::new(Reason::SignerUnavailable, "the fleet has other signing keys by now")
                .fix("ask again with a new request id"));
        }
        Ok(credential)
    }

    /// Ends a lease whose credential was never handed out. If even that fails, the lease is live without a holder until
    /// it expires, and visible as such.
    async fn abandon(&self, lease: &Lease) {
        const ACTOR: Actor = Actor::Broker("exchange");
        let describe = |event: Event| event.lease(lease.id).reason(EndReason::Cancelled);
        self.note(describe(Event::intent(&lease.tenant, Action::LeaseEnd, ACTOR)));
        let outcome = describe(Event::outcome(&lease.tenant, Action::LeaseEnd, ACTOR));
        let end = EndLease {
            tenant: lease.tenant.clone(),
            lease: lease.id,
            reason: EndReason::Cancelled,
            by: ACTOR.to_string(),
            hold: false,
        };
        match self.parts().store.apply(Change::EndLease(end), self.now()).await.map(Committed::into_outcome) {
            Ok(Outcome::LeaseEnded(ended)) => {
                self.note(ended.deny.iter().fold(outcome, |event, deny| event.epoch(deny.epoch)));
            }
            Ok(Outcome::AlreadyEnded(end)) => {
                self.note(outcome.refusal(&lease_ended_before(lease.id, &end)));
            }
            Ok(other) => self.note(outcome.refusal(&unexpected(&other))),
            Err(refusal) => {
                tracing::warn!(lease = %lease.id, ?refusal, "a lease whose credential was not released stays until it expires");
                self.note(outcome.refusal(&refusal));
            }
        }
    }

    async fn own_task(&self, caller: &Caller, agent: &AgentId, id: TaskId) -> Result<Task, Refusal> {
        let task = self.parts().store.task(&caller.tenant, id).await?;
        task.filter(|task| task.agent() == Some(agent)).ok_or_else(not_found)
    }

    async fn own_lease(&self, caller: &Caller, agent: &AgentId, id: LeaseId) -> Result<Lease, Refusal> {
        let lease = self.parts().store.lease(&caller.tenant, id).await?;
        lease.filter(|lease| lease.agent() == Some(agent)).ok_or_else(|| {
            Refusal::new(Reason::LeaseNotFound, "there is no such lease, or it is not yours")
                .fix("list your leases with `taskpass lease list`")
        })
    }

    /// `spiffe://<trust domain>/<agent>/task/<task id>`.
    fn subject(&self, agent: &AgentId, task: TaskId) -> Result<SpiffeId, Refusal> {
        SpiffeId::from_parts(&self.parts().settings.trust_domain, &format!("{agent}/task/{task}")).map_err(
            |error| {
                Refusal::new(Reason::Internal, "the agent's name cannot be part of a SPIFFE ID")
                    .because(error)
            },
        )
    }
}

/// A key that the caller names goes before the certificate that it came with.
fn confirmation(caller: &Caller, material: &Material, form: &Form) -> Option<Confirmation> {
    match form {
        Form::Certificate { .. } => material.confirmation.clone(),
        Form::Token { .. } => material.confirmation.clone().or_else(|| caller.identity.confirmation.clone()),
    }
}

fn prepared(committed: Committed) -> Result<Prepared, Refusal> {
    committed.into_prepared().map_err(|other| unexpected(other.outcome()))
}

fn describe(event: Event, lease: &Lease, caller: &Caller, decided: &Decided) -> Event {
    let mut event = event
        .attested(&lease.attested)
        .inputs(decided.inputs)
        .obligations(obligations(&decided.obligations))
        .lease(lease.id)
        .jti(&lease.jti())
        .kind(lease.kind)
        .resource(&lease.resource)
        .actions(&lease.actions)
        .decision(lease.decision)
        .policies(&lease.policies)
        .policy_revision(&lease.policy_revision)
        .owner(&lease.owner)
        .expires_at(lease.expires_at)
        .request_id(lease.renewal_request.as_ref().unwrap_or(&lease.request))
        .ttl(lease.requested_ttl);
    if let Some(digest) = digest(&caller.identity.evidence_digest) {
        event = event.evidence(digest);
    }
    if let Some(agent) = lease.agent() {
        event = event.agent(agent);
    }
    event = lease.approval.into_iter().fold(event, Event::approval);
    match lease.task() {
        Some(task) => event.task(task),
        None => event,
    }
}

/// The evidence digest from its text form.
fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (pairs.len() == 32).then_some(bytes)
}
