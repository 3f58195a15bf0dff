//! What callers ask for, parsed; and the digest that tells whether a repeated request id means the same request.

use ring::digest::{Context, SHA256};
use std::collections::{BTreeMap, BTreeSet};
use taskpass_issue::Form;
use taskpass_lease::Request;
use taskpass_types::{
    ActionName, AgentId, ApprovalId, Confirmation, Initiator, LeaseId, RequestId, ResourceName, Scope,
    TaskId, TaskKind, Ttl,
};

/// Declare a task.
#[derive(Clone, Debug)]
pub struct StartAsk {
    /// The idempotency key; `None`: a new one.
    pub request: Option<RequestId>,
    /// The class of task.
    pub kind: TaskKind,
    /// Why, in words.
    pub purpose: String,
    /// All that will be asked for.
    pub scopes: BTreeSet<Scope>,
    /// How long; the default when `None`.
    pub ttl: Option<Ttl>,
    /// How often life will be shown.
    pub heartbeat: Option<Ttl>,
    /// For people and selectors.
    pub labels: BTreeMap<String, String>,
    /// For whom; the caller when `None`.
    pub initiator: Option<Initiator>,
    /// Who will hold it; the caller when `None`.
    pub agent: Option<AgentId>,
    /// The task above it, for a delegation.
    pub parent: Option<TaskId>,
    /// How sensitive it is.
    pub sensitivity: Option<String>,
    /// The approval that a delegation rests on, if the caller names it.
    pub approval: Option<ApprovalId>,
}

/// Exchange identity and task for a credential.
#[derive(Clone, Debug)]
pub struct IssueAsk {
    /// The idempotency key; `None`: a new one.
    pub request: Option<RequestId>,
    /// The task.
    pub task: TaskId,
    /// The one audience.
    pub resource: ResourceName,
    /// What will be done there.
    pub actions: BTreeSet<ActionName>,
    /// How long; the kind's default when `None`.
    pub ttl: Option<Ttl>,
    /// What to issue.
    pub form: Form,
    /// The approval that it rests on, if the caller names it.
    pub approval: Option<ApprovalId>,
}

/// Renew a lease.
#[derive(Clone, Debug)]
pub struct RenewAsk {
    /// The idempotency key; `None`: a new one.
    pub request: Option<RequestId>,
    /// The lease.
    pub lease: LeaseId,
    /// How long; as before when `None`.
    pub ttl: Option<Ttl>,
    /// What to issue; has to be of the lease's kind.
    pub form: Form,
}

impl StartAsk {
    pub(crate) fn request(&self) -> Request {
        let mut digest = Digest::new("start");
        digest.field(self.kind.as_str()).field(&self.purpose);
        digest.list(self.scopes.iter().map(ToString::to_string));
        digest.number(self.ttl.map(Ttl::as_secs)).number(self.heartbeat.map(Ttl::as_secs));
        digest.list(self.labels.iter().flat_map(|(key, value)| [key.clone(), value.clone()]));
        digest.field(self.initiator.as_ref().map_or("", Initiator::as_str));
        digest.field(self.agent.as_ref().map_or("", AgentId::as_str));
        digest.field(&self.parent.map(|id| id.to_string()).unwrap_or_default());
        digest.field(self.sensitivity.as_deref().unwrap_or(""));
        digest.finish(self.request.clone())
    }
}

impl StartAsk {
    /// What an approval of this delegation by `agent` is bound to: all of it but the name of the attempt.
    pub(crate) fn consent_digest(&self, agent: &AgentId) -> [u8; 32] {
        let mut digest = Digest::new("delegate");
        digest.field(agent.as_str()).bytes(&self.request().digest);
        digest.finish_bytes()
    }
}

impl IssueAsk {
    /// What an approval of this exchange by `agent` is bound to: all of it but the name of the attempt. A certificate
    /// request counts by its key, since its signature differs every time.
    pub(crate) fn consent_digest(&self, agent: &AgentId, ttl: Ttl, bound: Option<&Confirmation>) -> [u8; 32] {
        let mut digest = Digest::new("issue");
        digest.field(agent.as_str()).field(&self.task.to_string()).field(self.resource.as_str());
        digest.list(self.actions.iter().map(ToString::to_string));
        digest.number(Some(ttl.as_secs())).field(self.form.kind().as_str());
        digest.field(&bound.map(|bound| format!("{bound:?}")).unwrap_or_default());
        digest.finish_bytes()
    }
    pub(crate) fn request(&self) -> Request {
        let mut digest = Digest::new("issue");
        digest.field(&self.task.to_string()).field(self.resource.as_str());
        digest.list(self.actions.iter().map(ToString::to_string));
        digest.number(self.ttl.map(Ttl::as_secs));
        match &self.form {
            Form::Certificate { csr } => digest.field("certificate").bytes(csr),
            Form::Token { jkt } => digest.field("token").field(jkt.as_deref().unwrap_or("")),
        };
        digest.finish(self.request.clone())
    }
}

/// SHA-256 over length-prefixed fields, so that no two requests have one digest.
pub(crate) struct Digest(Context);

impl Digest {
    pub(crate) fn new(what: &str) -> Self {
        let mut digest = Self(Context::new(&SHA256));
        digest.field(what);
        digest
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
        self
    }

    pub(crate) fn field(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn number(&mut self, number: Option<u32>) -> &mut Self {
        self.field(&number.map(|number| number.to_string()).unwrap_or_default())
    }

    fn list(&mut self, items: impl Iterator<Item = String>) -> &mut Self {
        let items: Vec<_> = items.collect();
        self.field(&items.len().to_string());
        for item in &items {
            self.field(item);
        }
        self
    }

    /// Without a key of its own, a request gets one that nobody will repeat.
    fn finish(self, id: Option<RequestId>) -> Request {
        Request { id: id.unwrap_or_else(fresh_request_id), digest: self.finish_bytes() }
    }

    pub(crate) fn finish_bytes(self) -> [u8; 32] {
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        digest
    }
}

/// A request id that nobody has used.
#[expect(clippy::expect_used, reason = "an id's text is within the grammar of request ids")]
pub(crate) fn fresh_request_id() -> RequestId {
    RequestId::new(taskpass_types::DecisionId::new().to_string()).expect("an id is a request id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(labels: &[(&str, &str)], purpose: &str) -> StartAsk {
        StartAsk {
            request: Some(RequestId::new("r1").unwrap()),
            kind: TaskKind::new("task").unwrap(),
            purpose: purpose.to_owned(),
            scopes: ["a:b".parse().unwrap()].into(),
            ttl: None,
            heartbeat: None,
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            initiator: None,
            agent: None,
            parent: None,
            sensitivity: None,
            approval: None,
        }
    }

    #[test]
    fn the_digest_tells_requests_apart() {
        let same = ask(&[("a", "b")], "p").request();
        assert_eq!(same, ask(&[("a", "b")], "p").request());
        assert_ne!(same.digest, ask(&[("ab", "")], "p").request().digest);
        assert_ne!(same.digest, ask(&[("a", "b")], "q").request().digest);
        assert_ne!(same.digest, ask(&[], "p").request().digest);
    }

    #[test]
    fn a_request_without_an_id_is_never_a_repeat() {
        let ask = StartAsk { request: None, ..ask(&[], "p") };
        assert_ne!(ask.request().id, ask.request().id);
    }
}
