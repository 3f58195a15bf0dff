//! One thing that happened or is about to. Every detail has a type or a bound of its own; there is no map into which a
//! secret could fall.

use crate::{
    Action, Inputs, Phase,
    canonical::{MAX_TEXT, Object},
    hash::push_hex,
};
use std::fmt;
use taskpass_types::{
    ActionName, AgentId, ApprovalId, CallId, Consequence, CredentialKind, DecisionId, DriftRuleId, EndReason,
    Epoch, Initiator, KeyGeneration, LeaseId, Owner, PolicyRevision, Reason, RequestId, ResourceName, Scope,
    TaskId, TaskKind, TenantId, Timestamp, ToolName, Ttl, UserName,
};

/// Longest written form of a list, in bytes. With these the largest event is within [`crate::MAX_ENTRY_BYTES`].
/// Every text takes more than one, so no more texts than this need be kept.
pub(crate) const LIST: usize = 4 * 1024;
/// Longest written form of the list of scopes, in bytes.
pub(crate) const SCOPES: usize = 10 * 1024;
/// Longest written form of the lists that are short by their nature, in bytes.
const SHORT_LIST: usize = 2 * 1024;

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
    /// A person that approves.
    User(UserName),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "agent/{id}"),
            Self::Broker(name) => write!(f, "broker/{name}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
            Self::Orchestrator(name) => write!(f, "orchestrator/{name}"),
            Self::Peer(description) => write!(f, "peer/{description}"),
            Self::User(name) => write!(f, "user/{name}"),
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
pub struct Event(pub(crate) Box<Details>);

/// What an event says. In a box, so that adding a detail does not move all the others.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) tenant: TenantId,
    pub(crate) phase: Phase,
    pub(crate) action: Action,
    pub(crate) actor: Actor,
    pub(crate) actions: Vec<ActionName>,
    pub(crate) agent: Option<AgentId>,
    pub(crate) approval: Option<ApprovalId>,
    pub(crate) arguments: Option<[u8; 32]>,
    pub(crate) attested: Vec<String>,
    pub(crate) call: Option<CallId>,
    pub(crate) consequence: Option<Consequence>,
    pub(crate) count: Option<u64>,
    pub(crate) decision: Option<DecisionId>,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) evidence: Option<[u8; 32]>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) initiator: Option<Initiator>,
    pub(crate) inputs: Option<Inputs>,
    pub(crate) jti: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) key_generation: Option<KeyGeneration>,
    pub(crate) kind: Option<CredentialKind>,
    pub(crate) labels: Vec<String>,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) obligations: Vec<String>,
    pub(crate) owner: Option<Owner>,
    pub(crate) parent: Option<TaskId>,
    pub(crate) policies: Vec<String>,
    pub(crate) policy_revision: Option<PolicyRevision>,
    pub(crate) purpose: Option<String>,
    pub(crate) reason: Option<EndReason>,
    pub(crate) refusal: Option<(Reason, String)>,
    pub(crate) request_id: Option<RequestId>,
    pub(crate) resource: Option<ResourceName>,
    pub(crate) rule: Option<DriftRuleId>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) sensitivity: Option<String>,
    pub(crate) serial: Option<[u8; 20]>,
    pub(crate) shadow: bool,
    pub(crate) task: Option<TaskId>,
    pub(crate) task_kind: Option<TaskKind>,
    pub(crate) to: Option<AgentId>,
    pub(crate) tool: Option<ToolName>,
    pub(crate) ttl: Option<Ttl>,
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
        Self(Box::new(Details {
            tenant: tenant.clone(),
            phase,
            action,
            actor,
            actions: Vec::new(),
            agent: None,
            approval: None,
            arguments: None,
            attested: Vec::new(),
            call: None,
            consequence: None,
            count: None,
            decision: None,
            epoch: None,
            evidence: None,
            expires_at: None,
            initiator: None,
            inputs: None,
            jti: None,
            key: None,
            key_generation: None,
            kind: None,
            labels: Vec::new(),
            lease: None,
            obligations: Vec::new(),
            owner: None,
            parent: None,
            policies: Vec::new(),
            policy_revision: None,
            purpose: None,
            reason: None,
            refusal: None,
            request_id: None,
            resource: None,
            rule: None,
            scopes: Vec::new(),
            sensitivity: None,
            serial: None,
            shadow: false,
            task: None,
            task_kind: None,
            to: None,
            tool: None,
            ttl: None,
        }))
    }

    /// The stable code: the action, and whether this is an intent, a success or a failure.
    pub fn code(&self) -> &'static str {
        match (self.0.phase, &self.0.refusal) {
            (Phase::Intent, _) => self.0.action.intent_code(),
            (Phase::Outcome, None) => self.0.action.success_code(),
            (Phase::Outcome, Some(_)) => self.0.action.failure_code(),
        }
    }

    /// What was done.
    pub fn action(&self) -> Action {
        self.0.action
    }

    /// Before or after.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// The canonical entry but for what only its place in the log decides.
    pub(crate) fn encode(&self) -> Body {
        let mut o = Object::new();
        o.text("action", self.0.action.as_str());
        o.list("actions", self.0.actions.iter().map(ActionName::as_str), LIST);
        o.text("actor", &self.0.actor.to_string());
        shown(&mut o, "agent", self.0.agent.as_ref());
        shown(&mut o, "approval", self.0.approval);
        hex(&mut o, "arguments", self.0.arguments.as_ref().map(<[u8; 32]>::as_slice));
        o.list("attested", &self.0.attested, SHORT_LIST);
        shown(&mut o, "call", self.0.call);
        o.text("code", self.code());
        shown(&mut o, "consequence", self.0.consequence);
        integer(&mut o, "count", self.0.count);
        shown(&mut o, "decision", self.0.decision);
        integer(&mut o, "epoch", self.0.epoch.map(|epoch| epoch.0));
        hex(&mut o, "evidence", self.0.evidence.as_ref().map(<[u8; 32]>::as_slice));
        shown(&mut o, "expires_at", self.0.expires_at);
        shown(&mut o, "initiator", self.0.initiator.as_ref());
        shown(&mut o, "inputs", self.0.inputs);
        shown(&mut o, "jti", self.0.jti.as_ref());
        shown(&mut o, "key", self.0.key.as_ref());
        integer(&mut o, "key_generation", self.0.key_generation.map(|generation| u64::from(generation.0)));
        shown(&mut o, "kind", self.0.kind);
        o.list("labels", &self.0.labels, LIST);
        shown(&mut o, "lease", self.0.lease);
        shown(&mut o, "message", self.0.refusal.as_ref().map(|(_, message)| message));
        o.list("obligations", &self.0.obligations, SHORT_LIST);
        shown(&mut o, "owner", self.0.owner.as_ref());
        shown(&mut o, "parent", self.0.parent);
        o.text("phase", self.0.phase.as_str());
        o.list("policies", &self.0.policies, LIST);
        shown(&mut o, "policy_revision", self.0.policy_revision.as_ref());
        let prev = o.gap("prev");
        shown(&mut o, "purpose", self.0.purpose.as_ref());
        shown(&mut o, "reason", self.0.reason);
        shown(&mut o, "refusal", self.0.refusal.as_ref().map(|(reason, _)| reason));
        shown(&mut o, "request_id", self.0.request_id.as_ref());
        shown(&mut o, "resource", self.0.resource.as_ref());
        shown(&mut o, "rule", self.0.rule.as_ref());
        o.list("scopes", self.0.scopes.iter().map(Scope::to_string), SCOPES);
        shown(&mut o, "sensitivity", self.0.sensitivity.as_ref());
        let seq = o.gap("seq");
        hex(&mut o, "serial", self.0.serial.as_ref().map(<[u8; 20]>::as_slice));
        shown(&mut o, "shadow", self.0.shadow.then_some(true));
        shown(&mut o, "task", self.0.task);
        shown(&mut o, "task_kind", self.0.task_kind.as_ref());
        o.text("tenant", self.0.tenant.as_str());
        let time = o.gap("time");
        shown(&mut o, "to", self.0.to.as_ref());
        shown(&mut o, "tool", self.0.tool.as_ref());
        o.mark_truncated();
        integer(&mut o, "ttl_secs", self.0.ttl.map(|ttl| u64::from(ttl.as_secs())));
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
pub(crate) fn bounded(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    text.chars().take(MAX_TEXT + 1).collect()
}
