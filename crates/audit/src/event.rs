//! One thing that happened or is about to. Every detail has a type or a bound of its own; there is no map into which a
//! secret could fall.

use crate::{
    Action, Phase,
    canonical::{MAX_TEXT, Object},
    hash::push_hex,
};
use std::fmt;
use taskpass_types::{
    ActionName, AgentId, CredentialKind, DecisionId, EndReason, Epoch, Initiator, KeyGeneration, LeaseId,
    Owner, PolicyRevision, Reason, Refusal, RequestId, ResourceName, Scope, TaskId, TaskKind, TenantId,
    Timestamp, Ttl,
};

/// Longest written form of a list, in bytes. With these the largest event is within [`crate::MAX_ENTRY_BYTES`].
/// Every text takes more than one, so no more texts than this need be kept.
const LIST: usize = 4 * 1024;
/// Longest written form of the list of scopes, in bytes.
const SCOPES: usize = 10 * 1024;

/// Who did it. Text form `kind/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A registered agent.
    Agent(AgentId),
    /// The broker by itself; the name of the reconciler.
    Broker(&'static str),
    /// A person with a role at this broker.
    Operator(String),
    /// What starts and watches tasks.
    Orchestrator(String),
    /// A caller that is not registered; what could be learned of it.
    Peer(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "agent/{id}"),
            Self::Broker(name) => write!(f, "broker/{name}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
            Self::Orchestrator(name) => write!(f, "orchestrator/{name}"),
            Self::Peer(description) => write!(f, "peer/{description}"),
        }
    }
}

/// What is to be written; details are added in any order.
///
/// ```
/// use taskpass_audit::{Action, Actor, Event};
/// use taskpass_types::{EndReason, TaskId, TenantId};
/// let tenant = TenantId::default();
/// let event = Event::outcome(&tenant, Action::TaskEnd, Actor::Operator("maya@acme.test".into()))
///     .task(TaskId::new())
///     .reason(EndReason::Killed);
/// assert_eq!(event.code(), "TP103S");
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    tenant: TenantId,
    phase: Phase,
    action: Action,
    actor: Actor,
    actions: Vec<ActionName>,
    agent: Option<AgentId>,
    count: Option<u64>,
    decision: Option<DecisionId>,
    epoch: Option<Epoch>,
    evidence: Option<[u8; 32]>,
    expires_at: Option<Timestamp>,
    initiator: Option<Initiator>,
    jti: Option<String>,
    key: Option<String>,
    key_generation: Option<KeyGeneration>,
    kind: Option<CredentialKind>,
    labels: Vec<String>,
    lease: Option<LeaseId>,
    owner: Option<Owner>,
    parent: Option<TaskId>,
    policies: Vec<String>,
    policy_revision: Option<PolicyRevision>,
    purpose: Option<String>,
    reason: Option<EndReason>,
    refusal: Option<(Reason, String)>,
    request_id: Option<RequestId>,
    resource: Option<ResourceName>,
    scopes: Vec<Scope>,
    serial: Option<[u8; 20]>,
    task: Option<TaskId>,
    task_kind: Option<TaskKind>,
    ttl: Option<Ttl>,
}

impl Event {
    /// It is about to be done.
    pub fn intent(tenant: &TenantId, action: Action, actor: Actor) -> Self {
        Self::new(tenant, Phase::Intent, action, actor)
    }

    /// It was done; or failed, if [`Self::refusal`] is added.
    pub fn outcome(tenant: &TenantId, action: Action, actor: Actor) -> Self {
        Self::new(tenant, Phase::Outcome, action, actor)
    }

    fn new(tenant: &TenantId, phase: Phase, action: Action, actor: Actor) -> Self {
        Self {
            tenant: tenant.clone(),
            phase,
            action,
            actor,
            actions: Vec::new(),
            agent: None,
            count: None,
            decision: None,
            epoch: None,
            evidence: None,
            expires_at: None,
            initiator: None,
            jti: None,
            key: None,
            key_generation: None,
            kind: None,
            labels: Vec::new(),
            lease: None,
            owner: None,
            parent: None,
            policies: Vec::new(),
            policy_revision: None,
            purpose: None,
            reason: None,
            refusal: None,
            request_id: None,
            resource: None,
            scopes: Vec::new(),
            serial: None,
            task: None,
            task_kind: None,
            ttl: None,
        }
    }

    /// The stable code: the action, and whether this is an intent, a success or a failure.
    pub fn code(&self) -> &'static str {
        match (self.phase, &self.refusal) {
            (Phase::Intent, _) => self.action.intent_code(),
            (Phase::Outcome, None) => self.action.success_code(),
            (Phase::Outcome, Some(_)) => self.action.failure_code(),
        }
    }

    /// What was done.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Before or after.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The canonical entry but for what only its place in the log decides.
    pub(crate) fn encode(&self) -> Body {
        let mut o = Object::new();
        o.text("action", self.action.as_str());
        o.list("actions", self.actions.iter().map(ActionName::as_str), LIST);
        o.text("actor", &self.actor.to_string());
        shown(&mut o, "agent", self.agent.as_ref());
        o.text("code", self.code());
        integer(&mut o, "count", self.count);
        shown(&mut o, "decision", self.decision);
        integer(&mut o, "epoch", self.epoch.map(|epoch| epoch.0));
        hex(&mut o, "evidence", self.evidence.as_ref().map(<[u8; 32]>::as_slice));
        shown(&mut o, "expires_at", self.expires_at);
        shown(&mut o, "initiator", self.initiator.as_ref());
        shown(&mut o, "jti", self.jti.as_ref());
        shown(&mut o, "key", self.key.as_ref());
        integer(&mut o, "key_generation", self.key_generation.map(|generation| u64::from(generation.0)));
        shown(&mut o, "kind", self.kind);
        o.list("labels", &self.labels, LIST);
        shown(&mut o, "lease", self.lease);
        shown(&mut o, "message", self.refusal.as_ref().map(|(_, message)| message));
        shown(&mut o, "owner", self.owner.as_ref());
        shown(&mut o, "parent", self.parent);
        o.text("phase", self.phase.as_str());
        o.list("policies", &self.policies, LIST);
        shown(&mut o, "policy_revision", self.policy_revision.as_ref());
        let prev = o.gap("prev");
        shown(&mut o, "purpose", self.purpose.as_ref());
        shown(&mut o, "reason", self.reason);
        shown(&mut o, "refusal", self.refusal.as_ref().map(|(reason, _)| reason));
        shown(&mut o, "request_id", self.request_id.as_ref());
        shown(&mut o, "resource", self.resource.as_ref());
        o.list("scopes", self.scopes.iter().map(Scope::to_string), SCOPES);
        let seq = o.gap("seq");
        hex(&mut o, "serial", self.serial.as_ref().map(<[u8; 20]>::as_slice));
        shown(&mut o, "task", self.task);
        shown(&mut o, "task_kind", self.task_kind.as_ref());
        o.text("tenant", self.tenant.as_str());
        let time = o.gap("time");
        o.mark_truncated();
        integer(&mut o, "ttl_secs", self.ttl.map(|ttl| u64::from(ttl.as_secs())));
        Body { bytes: o.finish(), prev, seq, time }
    }
}

/// An encoded entry with three gaps, whose values the writer knows.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) prev: usize,
    pub(crate) seq: usize,
    pub(crate) time: usize,
}

fn shown(o: &mut Object, name: &'static str, value: Option<impl fmt::Display>) {
    if let Some(value) = value {
        o.text(name, &value.to_string());
    }
}

fn integer(o: &mut Object, name: &'static str, value: Option<u64>) {
    if let Some(value) = value {
        o.integer(name, value);
    }
}

fn hex(o: &mut Object, name: &'static str, value: Option<&[u8]>) {
    if let Some(value) = value {
        let mut text = Vec::new();
        push_hex(&mut text, value);
        o.text(name, &String::from_utf8_lossy(&text));
    }
}

/// Keeps at most what could be written, so that a queued event is bounded too.
fn bounded(text: &str) -> String {
    text.chars().take(MAX_TEXT + 1).collect()
}

/// Details.
impl Event {
    /// What may be done at the resource.
    #[must_use]
    pub fn actions(mut self, actions: &[ActionName]) -> Self {
        self.actions = actions.to_vec();
        self
    }

    /// The agent that it is about, who need not be the actor.
    #[must_use]
    pub fn agent(mut self, agent: &AgentId) -> Self {
        self.agent = Some(agent.clone());
        self
    }

    /// How many things were done at once.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// The decision behind it.
    #[must_use]
    pub fn decision(mut self, decision: DecisionId) -> Self {
        self.decision = Some(decision);
        self
    }

    /// The deny record that it wrote, or under which it ended.
    #[must_use]
    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// SHA-256 of the evidence that the caller presented.
    #[must_use]
    pub fn evidence(mut self, digest: [u8; 32]) -> Self {
        self.evidence = Some(digest);
        self
    }

    /// When the credential or the task ends by itself.
    #[must_use]
    pub fn expires_at(mut self, at: Timestamp) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Who or what the task is done for.
    #[must_use]
    pub fn initiator(mut self, initiator: &Initiator) -> Self {
        self.initiator = Some(initiator.clone());
        self
    }

    /// The token's id, never the token.
    #[must_use]
    pub fn jti(mut self, jti: &str) -> Self {
        self.jti = Some(bounded(jti));
        self
    }

    /// The public id (`kid`) of a signing key.
    #[must_use]
    pub fn key(mut self, kid: &str) -> Self {
        self.key = Some(bounded(kid));
        self
    }

    /// The generation of a signing key.
    #[must_use]
    pub fn key_generation(mut self, generation: KeyGeneration) -> Self {
        self.key_generation = Some(generation);
        self
    }

    /// The kind of the credential.
    #[must_use]
    pub fn kind(mut self, kind: CredentialKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The labels of the task or agent; written as `name=value`.
    #[must_use]
    pub fn labels<K: AsRef<str>, V: AsRef<str>>(mut self, labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let text = |(name, value): (K, V)| bounded(&format!("{}={}", name.as_ref(), value.as_ref()));
        self.labels = labels.into_iter().take(LIST).map(text).collect();
        self
    }

    /// The lease that it is about.
    #[must_use]
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Who answers for the agent.
    #[must_use]
    pub fn owner(mut self, owner: &Owner) -> Self {
        self.owner = Some(owner.clone());
        self
    }

    /// The task above the task.
    #[must_use]
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// The names of the policies that determined the decision.
    #[must_use]
    pub fn policies<P: AsRef<str>>(mut self, names: impl IntoIterator<Item = P>) -> Self {
        self.policies = names.into_iter().take(LIST).map(|name| bounded(name.as_ref())).collect();
        self
    }

    /// The policies that were in force.
    #[must_use]
    pub fn policy_revision(mut self, revision: &PolicyRevision) -> Self {
        self.policy_revision = Some(revision.clone());
        self
    }

    /// The declared purpose, or an operator's reason, in words: data for people, never for a decision.
    #[must_use]
    pub fn purpose(mut self, purpose: &str) -> Self {
        self.purpose = Some(bounded(purpose));
        self
    }

    /// Why the task or lease ended.
    #[must_use]
    pub fn reason(mut self, reason: EndReason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Why it was refused or failed: the code and the message, not the internal context.
    #[must_use]
    pub fn refusal(mut self, refusal: &Refusal) -> Self {
        self.refusal = Some((refusal.reason(), bounded(refusal.message())));
        self
    }

    /// The caller's idempotency key.
    #[must_use]
    pub fn request_id(mut self, id: &RequestId) -> Self {
        self.request_id = Some(id.clone());
        self
    }

    /// Where the credential is for.
    #[must_use]
    pub fn resource(mut self, resource: &ResourceName) -> Self {
        self.resource = Some(resource.clone());
        self
    }

    /// What was asked for or declared.
    #[must_use]
    pub fn scopes<'a>(mut self, scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        self.scopes = scopes.into_iter().take(SCOPES).cloned().collect();
        self
    }

    /// The certificate's serial number.
    #[must_use]
    pub fn serial(mut self, serial: &[u8; 20]) -> Self {
        self.serial = Some(*serial);
        self
    }

    /// The task that it is about.
    #[must_use]
    pub fn task(mut self, task: TaskId) -> Self {
        self.task = Some(task);
        self
    }

    /// The class of the task.
    #[must_use]
    pub fn task_kind(mut self, kind: &TaskKind) -> Self {
        self.task_kind = Some(kind.clone());
        self
    }

    /// For how long it was asked or granted.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = Some(ttl);
        self
    }
}
