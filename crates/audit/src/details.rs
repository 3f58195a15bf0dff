//! The details of an event, one method each, in any order.

use crate::{
    Event, Inputs,
    event::{LIST, SCOPES, bounded},
};
use taskpass_types::{
    ActionName, AgentId, ApprovalId, CallId, Consequence, CredentialKind, DecisionId, DriftRuleId, EndReason,
    Epoch, Initiator, KeyGeneration, LeaseId, Owner, PolicyRevision, Refusal, RequestId, ResourceName, Scope,
    TaskId, TaskKind, Timestamp, ToolName, Ttl,
};

impl Event {
    /// What may be done at the resource.
    #[must_use]
    pub fn actions(mut self, actions: &[ActionName]) -> Self {
        self.0.actions = actions.to_vec();
        self
    }

    /// The agent that it is about, who need not be the actor.
    #[must_use]
    pub fn agent(mut self, agent: &AgentId) -> Self {
        self.0.agent = Some(agent.clone());
        self
    }

    /// The approval that it is about, or that it used.
    #[must_use]
    pub fn approval(mut self, approval: ApprovalId) -> Self {
        self.0.approval = Some(approval);
        self
    }

    /// SHA-256 of a tool call's arguments and a salt that only the caller knows.
    #[must_use]
    pub fn arguments(mut self, digest: [u8; 32]) -> Self {
        self.0.arguments = Some(digest);
        self
    }

    /// The selectors that the agent's attestation proved.
    #[must_use]
    pub fn attested<S: AsRef<str>>(mut self, selectors: impl IntoIterator<Item = S>) -> Self {
        self.0.attested = selectors.into_iter().take(LIST).map(|text| bounded(text.as_ref())).collect();
        self
    }

    /// The tool call that it is about.
    #[must_use]
    pub fn call(mut self, call: CallId) -> Self {
        self.0.call = Some(call);
        self
    }

    /// What a tool call outside the declared scopes led to.
    #[must_use]
    pub fn consequence(mut self, consequence: Consequence) -> Self {
        self.0.consequence = Some(consequence);
        self
    }

    /// How many things were done at once.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.0.count = Some(count);
        self
    }

    /// The decision behind it.
    #[must_use]
    pub fn decision(mut self, decision: DecisionId) -> Self {
        self.0.decision = Some(decision);
        self
    }

    /// The deny record that it wrote, or under which it ended.
    #[must_use]
    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.0.epoch = Some(epoch);
        self
    }

    /// SHA-256 of the evidence that the caller presented.
    #[must_use]
    pub fn evidence(mut self, digest: [u8; 32]) -> Self {
        self.0.evidence = Some(digest);
        self
    }

    /// When the credential or the task ends by itself.
    #[must_use]
    pub fn expires_at(mut self, at: Timestamp) -> Self {
        self.0.expires_at = Some(at);
        self
    }

    /// Who or what the task is done for.
    #[must_use]
    pub fn initiator(mut self, initiator: &Initiator) -> Self {
        self.0.initiator = Some(initiator.clone());
        self
    }

    /// What the decision was asked, beyond what other details say.
    #[must_use]
    pub fn inputs(mut self, inputs: Inputs) -> Self {
        self.0.inputs = Some(inputs);
        self
    }

    /// The token's id, never the token.
    #[must_use]
    pub fn jti(mut self, jti: &str) -> Self {
        self.0.jti = Some(bounded(jti));
        self
    }

    /// The public id (`kid`) of a signing key.
    #[must_use]
    pub fn key(mut self, kid: &str) -> Self {
        self.0.key = Some(bounded(kid));
        self
    }

    /// The generation of a signing key.
    #[must_use]
    pub fn key_generation(mut self, generation: KeyGeneration) -> Self {
        self.0.key_generation = Some(generation);
        self
    }

    /// The kind of the credential.
    #[must_use]
    pub fn kind(mut self, kind: CredentialKind) -> Self {
        self.0.kind = Some(kind);
        self
    }

    /// The labels of the task or agent; written as `name=value`.
    #[must_use]
    pub fn labels<K: AsRef<str>, V: AsRef<str>>(mut self, labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let text = |(name, value): (K, V)| bounded(&format!("{}={}", name.as_ref(), value.as_ref()));
        self.0.labels = labels.into_iter().take(LIST).map(text).collect();
        self
    }

    /// The lease that it is about.
    #[must_use]
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.0.lease = Some(lease);
        self
    }

    /// What the permission is tied to, in words.
    #[must_use]
    pub fn obligations<S: AsRef<str>>(mut self, texts: impl IntoIterator<Item = S>) -> Self {
        self.0.obligations = texts.into_iter().take(LIST).map(|text| bounded(text.as_ref())).collect();
        self
    }

    /// Who answers for the agent.
    #[must_use]
    pub fn owner(mut self, owner: &Owner) -> Self {
        self.0.owner = Some(owner.clone());
        self
    }

    /// The task above the task.
    #[must_use]
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.0.parent = Some(parent);
        self
    }

    /// The names of the policies that determined the decision.
    #[must_use]
    pub fn policies<P: AsRef<str>>(mut self, names: impl IntoIterator<Item = P>) -> Self {
        self.0.policies = names.into_iter().take(LIST).map(|name| bounded(name.as_ref())).collect();
        self
    }

    /// The policies that were in force.
    #[must_use]
    pub fn policy_revision(mut self, revision: &PolicyRevision) -> Self {
        self.0.policy_revision = Some(revision.clone());
        self
    }

    /// The declared purpose, or an operator's reason, in words: data for people, never for a decision.
    #[must_use]
    pub fn purpose(mut self, purpose: &str) -> Self {
        self.0.purpose = Some(bounded(purpose));
        self
    }

    /// Why the task or lease ended.
    #[must_use]
    pub fn reason(mut self, reason: EndReason) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// Why it was refused or failed: the code and the message, not the internal context.
    #[must_use]
    pub fn refusal(mut self, refusal: &Refusal) -> Self {
        self.0.refusal = Some((refusal.reason(), bounded(refusal.message())));
        self
    }

    /// The caller's idempotency key.
    #[must_use]
    pub fn request_id(mut self, id: &RequestId) -> Self {
        self.0.request_id = Some(id.clone());
        self
    }

    /// Where the credential is for.
    #[must_use]
    pub fn resource(mut self, resource: &ResourceName) -> Self {
        self.0.resource = Some(resource.clone());
        self
    }

    /// The rule that says what a drift leads to.
    #[must_use]
    pub fn rule(mut self, rule: &DriftRuleId) -> Self {
        self.0.rule = Some(rule.clone());
        self
    }

    /// What was asked for or declared.
    #[must_use]
    pub fn scopes<'a>(mut self, scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        self.0.scopes = scopes.into_iter().take(SCOPES).cloned().collect();
        self
    }

    /// How sensitive the task is.
    #[must_use]
    pub fn sensitivity(mut self, sensitivity: &str) -> Self {
        self.0.sensitivity = Some(bounded(sensitivity));
        self
    }

    /// The certificate's serial number.
    #[must_use]
    pub fn serial(mut self, serial: &[u8; 20]) -> Self {
        self.0.serial = Some(*serial);
        self
    }

    /// The rule only watches: nothing was done.
    #[must_use]
    pub fn shadow(mut self) -> Self {
        self.0.shadow = true;
        self
    }

    /// The task that it is about.
    #[must_use]
    pub fn task(mut self, task: TaskId) -> Self {
        self.0.task = Some(task);
        self
    }

    /// The class of the task.
    #[must_use]
    pub fn task_kind(mut self, kind: &TaskKind) -> Self {
        self.0.task_kind = Some(kind.clone());
        self
    }

    /// Who would hold the child task.
    #[must_use]
    pub fn to(mut self, agent: &AgentId) -> Self {
        self.0.to = Some(agent.clone());
        self
    }

    /// The tool that is called.
    #[must_use]
    pub fn tool(mut self, tool: &ToolName) -> Self {
        self.0.tool = Some(tool.clone());
        self
    }

    /// For how long it was asked or granted.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.0.ttl = Some(ttl);
        self
    }
}
