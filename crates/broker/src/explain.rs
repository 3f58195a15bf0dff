//! Asking policies about what is not happening: one request as if, past requests once more, and why something was decided.
//! Nothing here changes anything.
//!
//! Past decisions come from the audit log. What was asked is taken from there; what is known of agents, people and
//! resources is as it is now, since that is what a change of policies would meet.

use crate::{
    Broker, Caller, Plan, Role,
    decide::{Decided, Question, obligations, task_facts},
    registry::Registry,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use taskpass_audit::{Entry, Inputs};
use taskpass_lease::Task;
use taskpass_policy::{AgentFacts, Policies, Suggestion, TaskFacts, Verb};
use taskpass_types::{
    ActionName, AgentId, Counters, CredentialKind, PlanId, Reason, Refusal, ResourceName, Revocability,
    TaskId, TaskKind, TenantId, Timestamp, ToolName, Ttl,
};

/// One request as if.
#[derive(Clone, Debug)]
pub struct SimulateAsk {
    /// Under a plan's policies; `None`: those in force.
    pub plan: Option<PlanId>,
    /// Who.
    pub agent: AgentId,
    /// What would be done with the credential.
    pub verb: Verb,
    /// Where.
    pub resource: ResourceName,
    /// What would be done there.
    pub action: ActionName,
    /// What would be issued.
    pub kind: CredentialKind,
    /// For how long; the kind's default when `None`.
    pub ttl: Option<Ttl>,
    /// Whether it would be bound to a key.
    pub bound: bool,
    /// Under this task; `None`: under one as the fields that follow describe.
    pub task: Option<TaskId>,
    /// The class of task.
    pub task_kind: TaskKind,
    /// Why.
    pub purpose: String,
    /// For whom; the agent itself when empty.
    pub initiator: String,
    /// Labels of the task.
    pub labels: BTreeMap<String, String>,
    /// How sensitive the task is.
    pub sensitivity: Option<String>,
    /// The tool, for a tool call.
    pub tool: Option<ToolName>,
    /// To whom, for a delegation.
    pub delegate_to: Option<AgentId>,
    /// When; now when `None`.
    pub at: Option<Timestamp>,
}

/// A decision in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The policies that made it so.
    pub policies: Vec<String>,
    /// The set that they are of.
    pub revision: String,
    /// Why.
    pub why: String,
    /// What to do about a denial.
    pub fix: String,
    /// What a permission is tied to, each `name value`.
    pub obligations: Vec<String>,
}

/// A decision that the audit log tells of.
#[derive(Clone, Debug)]
pub struct PastDecision {
    /// The entry.
    pub seq: u64,
    /// When.
    pub time: String,
    /// Its id.
    pub decision: String,
    /// The lease, if it came to one.
    pub lease: Option<String>,
    /// Who asked.
    pub agent: AgentId,
    /// What would be done with the credential.
    pub verb: Verb,
    /// Where.
    pub resource: ResourceName,
    /// What would be done there.
    pub actions: BTreeSet<ActionName>,
    /// The task; of a delegation, the parent.
    pub task: Option<TaskId>,
    /// As it was decided.
    pub then: Report,
    inputs: Inputs,
    kind: CredentialKind,
    ttl: Ttl,
    attested: Vec<String>,
    tool: Option<ToolName>,
    to: Option<AgentId>,
    at: Timestamp,
}

/// What is to be said about a past decision.
#[derive(Clone, Debug)]
pub struct Explained {
    /// As it was.
    pub past: PastDecision,
    /// As it would be decided now; `None`: the broker no longer knows what it was about.
    pub now: Option<Report>,
    /// What would allow it now.
    pub suggestion: Option<Suggestion>,
}

/// A past decision that comes out differently.
#[derive(Clone, Debug)]
pub struct ReplayChange {
    /// As it was.
    pub past: PastDecision,
    /// As it would be decided.
    pub now: Report,
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplaySum {
    /// Decisions that were asked again.
    pub replayed: u64,
    /// Of those, allowed then and denied now.
    pub newly_denied: u64,
    /// Of those, denied then and allowed now.
    pub newly_allowed: u64,
    /// Decisions that could not be asked again.
    pub passed_over: u64,
}

/// Past decisions, asked again one by one.
pub struct Replay {
    tenant: TenantId,
    policies: Arc<Policies>,
    registry: Arc<Registry>,
    tasks: HashMap<TaskId, (TaskFacts, usize)>,
    sum: ReplaySum,
}

/// How many tasks a replay remembers; the decisions of those that it forgot are passed over.
const MAX_TASKS: usize = 100_000;

impl PastDecision {
    /// The decision that an entry tells of, if it does. Every decision has one such entry: the intent of what was
    /// allowed, or the outcome of what was denied.
    pub fn of(entry: &Entry) -> Option<Self> {
        let allowed = match (entry.action.as_str(), entry.phase.as_str()) {
            ("lease.issue" | "lease.renew" | "task.start" | "call.authorize", "intent") => true,
            // What was announced has its entry already.
            ("call.authorize", "outcome") if entry.call.is_some() => return None,
            ("request.refuse" | "call.authorize", "outcome") if entry.refusal.is_some() => false,
            _ => return None,
        };
        let denied_by_policy = entry.refusal.as_deref() == Some(Reason::PolicyDenied.code());
        let inputs: Inputs = entry.inputs.as_deref()?.parse().ok()?;
        let verb = Verb::parse(inputs.verb)?;
        // What something else than policy refused was allowed by policy.
        let allowed = allowed || !denied_by_policy;
        let then = Report {
            allowed,
            policies: entry.policies.clone(),
            revision: entry.policy_revision.clone().unwrap_or_default(),
            why: entry.message.clone().unwrap_or_default(),
            fix: String::new(),
            obligations: entry.obligations.clone(),
        };
        let agent = match verb {
            // The child's holder is named by the entry; who asked is the actor.
            Verb::Delegate => entry.actor.strip_prefix("agent/")?,
            _ => entry.agent.as_deref().or_else(|| entry.actor.strip_prefix("agent/"))?,
        };
        let task = match verb {
            Verb::Delegate => entry.parent.as_deref(),
            _ => entry.task.as_deref(),
        };
        Some(Self {
            seq: entry.seq,
            time: entry.time.clone(),
            decision: entry.decision.clone()?,
            lease: entry.lease.clone(),
            agent: AgentId::new(agent).ok()?,
            verb,
            resource: ResourceName::new(entry.resource.as_deref()?).ok()?,
            actions: entry.actions.iter().map(ActionName::new).collect::<Result<_, _>>().ok()?,
            task: task.and_then(|task| task.parse().ok()),
            then,
            inputs,
            kind: if entry.kind.as_deref() == Some("x509") {
                CredentialKind::X509
            } else {
                CredentialKind::Jwt
            },
            ttl: Ttl::nearest(Duration::from_secs(entry.ttl_secs.unwrap_or(1))),
            attested: entry.attested.clone(),
            tool: entry.tool.as_deref().and_then(|tool| ToolName::new(tool).ok()),
            to: (verb == Verb::Delegate)
                .then(|| entry.to.as_deref().or(entry.agent.as_deref()))
                .flatten()
                .and_then(|agent| AgentId::new(agent).ok()),
            at: entry.time.parse().ok()?,
        })
    }

    /// What the same question needs; `None` when its agent is no longer registered with an owner.
    fn ask(&self, task: TaskFacts, registry: &Registry, tenant: &TenantId) -> Option<Asked> {
        let attested = (!self.attested.is_empty()).then_some(self.attested.as_slice());
        let agent = registry.agent_facts(tenant, &self.agent, attested)?;
        let to = self.to.as_ref().and_then(|to| registry.agent_facts(tenant, to, None));
        Some(Asked { agent, to, task })
    }

    fn question<'a>(&'a self, asked: &'a Asked) -> Question<'a> {
        Question {
            agent: &asked.agent,
            verb: self.verb,
            task: &asked.task,
            counters: self.inputs.counters,
            resource: &self.resource,
            actions: &self.actions,
            kind: self.kind,
            // Both kinds that there are promise this.
            revocability: Revocability::Bounded,
            ttl: self.ttl,
            bound: self.inputs.bound,
            attestation_age: Duration::from_secs(self.inputs.attestation_age_secs.into()),
            tool: self.tool.as_ref(),
            delegate_to: asked.to.as_ref(),
            now: self.at,
        }
    }
}

/// What a question borrows.
struct Asked {
    agent: AgentFacts,
    to: Option<AgentFacts>,
    task: TaskFacts,
}

impl Replay {
    /// Takes one entry of the log, in its order. Says what comes out differently.
    pub fn entry(&mut self, entry: &Entry) -> Option<ReplayChange> {
        if entry.tenant != self.tenant.as_str() {
            return None;
        }
        self.learn(entry);
        let past = PastDecision::of(entry)?;
        let task = past.task.and_then(|task| self.tasks.get(&task)).map(|(facts, _)| facts.clone());
        let asked = task.and_then(|task| past.ask(task, &self.registry, &self.tenant));
        let Some(asked) = asked else {
            self.sum.passed_over += 1;
            return None;
        };
        let now = Report::of(past.question(&asked).decide(&self.policies, &self.registry));
        self.sum.replayed += 1;
        match (past.then.allowed, now.allowed) {
            (true, false) => self.sum.newly_denied += 1,
            (false, true) => self.sum.newly_allowed += 1,
            _ => return None,
        }
        Some(ReplayChange { past, now })
    }

    /// What it came to so far.
    pub fn sum(&self) -> ReplaySum {
        self.sum
    }

    /// Remembers a task that was started.
    pub fn learn(&mut self, entry: &Entry) {
        if entry.action != "task.start" || entry.phase != "outcome" || entry.refusal.is_some() {
            return;
        }
        let id = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<TaskId>().ok());
        let kind = entry.task_kind.as_deref().and_then(|kind| TaskKind::new(kind).ok());
        let (Some(task), Some(kind)) = (id(&entry.task), kind) else { return };
        let depth = match id(&entry.parent) {
            None => 0,
            Some(parent) => self.tasks.get(&parent).map_or(1, |(_, depth)| depth + 1),
        };
        let labels = entry.labels.iter().filter_map(|label| label.split_once('='));
        let labels: BTreeMap<_, _> =
            labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let initiator = self.registry.user_facts(entry.initiator.as_deref().unwrap_or_default());
        let purpose = entry.purpose.as_deref().unwrap_or_default();
        let facts = TaskFacts::new(&kind, purpose, &initiator, depth, &labels, entry.sensitivity.as_deref());
        if self.tasks.len() >= MAX_TASKS {
            self.tasks.clear();
        }
        self.tasks.insert(task, (facts, depth));
    }
}

impl Broker {
    /// Decides one request as it would be decided.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `AGENT_NOT_FOUND`, `AGENT_WITHOUT_OWNER`, `PLAN_NOT_FOUND`, `TASK_NOT_FOUND`.
    pub async fn simulate(&self, caller: &Caller, ask: SimulateAsk) -> Result<Report, Refusal> {
        caller.require(&[Role::Operator])?;
        let policies = self.policies_of(caller, ask.plan)?;
        let registry = self.registry();
        let agent = known_agent(&registry, &caller.tenant, &ask.agent)?;
        let to = match &ask.delegate_to {
            Some(to) => Some(known_agent(&registry, &caller.tenant, to)?),
            None => None,
        };
        let (task, counters) = match ask.task {
            Some(id) => {
                let task = self.task(caller, id).await?;
                (task_facts(&task, &registry), self.counters(&task).await?)
            }
            None => {
                let initiator = if ask.initiator.is_empty() {
                    format!("agent/{}", ask.agent)
                } else {
                    ask.initiator.clone()
                };
                let initiator = registry.user_facts(&initiator);
                let SimulateAsk { task_kind, purpose, labels, sensitivity, .. } = &ask;
                let facts = TaskFacts::new(task_kind, purpose, &initiator, 0, labels, sensitivity.as_deref());
                (facts, Counters::default())
            }
        };
        let question = Question {
            agent: &agent,
            verb: ask.verb,
            task: &task,
            counters,
            resource: &ask.resource,
            actions: &[ask.action.clone()].into(),
            kind: ask.kind,
            revocability: Revocability::Bounded,
            ttl: ask.ttl.unwrap_or_else(|| self.default_ttl(ask.kind)),
            bound: ask.bound,
            attestation_age: Duration::ZERO,
            tool: ask.tool.as_ref(),
            delegate_to: to.as_ref(),
            now: ask.at.unwrap_or_else(|| self.now()),
        };
        Ok(Report::of(question.decide(&policies, &registry)))
    }

    /// Begins to ask past decisions again.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `PLAN_NOT_FOUND`.
    pub fn replay(&self, caller: &Caller, plan: Option<PlanId>) -> Result<Replay, Refusal> {
        caller.require(&[Role::Operator])?;
        Ok(Replay {
            tenant: caller.tenant.clone(),
            policies: self.policies_of(caller, plan)?,
            registry: self.registry(),
            tasks: HashMap::new(),
            sum: ReplaySum::default(),
        })
    }

    /// What is to be said about a past decision that `entry` tells of.
    ///
    /// # Errors
    /// `NOT_PERMITTED`, `DECISION_NOT_FOUND` for an entry that tells of none.
    pub async fn explain(&self, caller: &Caller, entry: &Entry, suggest: bool) -> Result<Explained, Refusal> {
        caller.require(&[Role::Operator])?;
        let past = PastDecision::of(entry).filter(|_| entry.tenant == caller.tenant.as_str());
        let past = past.ok_or_else(|| decision_not_found(entry.decision.as_deref().unwrap_or_default()))?;
        let task = match past.task {
            Some(task) => self.parts().store.task(&caller.tenant, task).await?,
            None => None,
        };
        let (policies, registry) = (self.policies(), self.registry());
        let facts = task.map(|task: Task| task_facts(&task, &registry));
        let asked = facts.and_then(|facts| past.ask(facts, &registry, &caller.tenant));
        let Some(asked) = asked else { return Ok(Explained { past, now: None, suggestion: None }) };
        let question = past.question(&asked);
        let now = Report::of(question.decide(&policies, &registry));
        let suggestion =
            (suggest && !now.allowed).then(|| suggestion(&question, &policies, &registry)).flatten();
        Ok(Explained { now: Some(now), past, suggestion })
    }

    fn policies_of(&self, caller: &Caller, plan: Option<PlanId>) -> Result<Arc<Policies>, Refusal> {
        match plan {
            None => Ok(self.policies()),
            Some(id) => self.kept_plan(caller, id).map(|plan: Plan| plan.policies),
        }
    }
}

/// For the first action that is denied.
fn suggestion(question: &Question<'_>, policies: &Policies, registry: &Registry) -> Option<Suggestion> {
    let resource = registry.resource_facts(question.resource);
    let denied = question
        .actions
        .iter()
        .find(|action| !policies.decide(&question.request(&resource, action)).allows())?;
    Some(policies.suggest(&question.request(&resource, denied)))
}

fn known_agent(registry: &Registry, tenant: &TenantId, id: &AgentId) -> Result<AgentFacts, Refusal> {
    let registration = registry.agent(tenant, id).ok_or_else(|| {
        Refusal::new(Reason::AgentNotFound, format!("there is no agent `{id}`"))
            .fix("list them with `taskpass agent list`")
            .with("agent", id)
    })?;
    registration.owned()?;
    let facts = registry.agent_facts(tenant, id, None);
    facts.ok_or_else(|| Refusal::new(Reason::Internal, "an owned agent has no facts"))
}

/// There is no record of a decision.
pub fn decision_not_found(id: &str) -> Refusal {
    let id: String = id.escape_debug().take(64).collect();
    Refusal::new(Reason::DecisionNotFound, format!("the audit log tells of no decision `{id}`"))
        .fix("take the id from a refusal, `lease show` or `audit tail`")
}

impl Report {
    fn of(decided: Decided) -> Self {
        let fix = decided.denial.as_ref().and_then(|denial| denial.fix_text()).unwrap_or_default();
        Self {
            allowed: decided.denial.is_none(),
            fix: fix.to_owned(),
            obligations: obligations(&decided.obligations),
            policies: decided.policies,
            revision: decided.revision.to_string(),
            why: decided.why,
        }
    }
}
