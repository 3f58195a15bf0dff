//! One look at everything that is out: what would no longer be allowed, and what would follow. It changes nothing.

use super::{
    rule::{DriftRule, DriftRules, Then, Trigger},
    standing::{Judge, Standing},
};
use crate::registry::Registry;
use std::{collections::HashMap, sync::Arc};
use taskpass_lease::{Lease, Task};
use taskpass_policy::Policies;
use taskpass_store::{LeaseQuery, Store, TaskQuery};
use taskpass_types::{ActionName, AgentId, LeaseId, Refusal, ResourceName, TaskId, TenantId, Timestamp};

/// Why a sweep is made.
#[derive(Clone)]
pub(crate) enum Cause {
    /// Other policies, or a broker that begins.
    Policies,
    /// A lease whose recheck is due.
    Recheck,
    /// Another registry; what it was before.
    Registry(Arc<Registry>),
}

impl Cause {
    /// What a denial is put down to.
    pub(super) fn trigger(&self) -> Trigger {
        match self {
            Self::Policies | Self::Registry(_) => Trigger::Policy,
            Self::Recheck => Trigger::Recheck,
        }
    }
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// One lease.
    Lease(LeaseId),
    /// A task, with all below it.
    Task(TaskId),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lease(id) => id.fmt(f),
            Self::Task(id) => id.fmt(f),
        }
    }
}

/// Something that is out and would no longer be allowed as it is.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What.
    pub subject: Subject,
    /// Its tenant.
    pub tenant: TenantId,
    /// Who holds it.
    pub agent: AgentId,
    /// The task, or the lease's.
    pub task: TaskId,
    /// A lease's resource.
    pub resource: Option<ResourceName>,
    /// A lease's actions.
    pub actions: Vec<ActionName>,
    /// What is no longer allowed, in words.
    pub why: String,
    /// The rule that says what follows.
    pub rule: Arc<DriftRule>,
    /// When it ends by that; `None`: it does not.
    pub ends_at: Option<Timestamp>,
}

/// What a sweep looked at and found.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) examined: u64,
    pub(crate) findings: Vec<Finding>,
}

/// A look at everything that is out, under given policies and a given registry.
pub(crate) struct Sweep {
    store: Arc<dyn Store>,
    rules: Arc<DriftRules>,
    judge: Judge,
    now: Timestamp,
    swept: Swept,
}

/// How many records are read at once.
const PAGE: usize = 1_000;

impl Sweep {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        rules: Arc<DriftRules>,
        policies: Arc<Policies>,
        registry: Arc<Registry>,
        cause: Cause,
        now: Timestamp,
    ) -> Self {
        Self { store, rules, judge: Judge::new(policies, registry, cause), now, swept: Swept::default() }
    }

    /// Looks at every running task and every live lease of a tenant.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn all(mut self, tenant: &TenantId) -> Result<Swept, Refusal> {
        let tasks = self.tasks(tenant).await?;
        self.leases(tenant, tasks, None).await?;
        Ok(self.swept)
    }

    /// Looks at the leases that are newer than `since`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn newer(mut self, tenant: &TenantId, since: Timestamp) -> Result<Swept, Refusal> {
        self.leases(tenant, HashMap::new(), Some(since)).await?;
        Ok(self.swept)
    }

    /// Looks at one lease.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn one(mut self, lease: &Lease) -> Result<Swept, Refusal> {
        if let Some(task) = self.task_of(&mut HashMap::new(), lease).await? {
            self.look_at_lease(lease, &task);
        }
        Ok(self.swept)
    }

    /// All running tasks; those that end by what was found are not among them, so that what is below is not found again.
    async fn tasks(&mut self, tenant: &TenantId) -> Result<HashMap<TaskId, Option<Arc<Task>>>, Refusal> {
        let mut running: HashMap<TaskId, Option<Arc<Task>>> = HashMap::new();
        let mut query =
            TaskQuery { tenant: tenant.clone(), running: true, limit: PAGE, ..TaskQuery::default() };
        loop {
            let page = self.store.tasks(&query).await?;
            running.extend(page.items.into_iter().map(|task| (task.id, Some(Arc::new(task)))));
            match page.next {
                Some(next) => query.before = Some(next),
                None => break,
            }
            tokio::task::yield_now().await;
        }
        let mut ids: Vec<_> = running.keys().copied().collect();
        // Parents have older ids than their children, and go first.
        ids.sort_unstable();
        for id in ids {
            let Some(Some(task)) = running.get(&id).cloned() else { continue };
            let parent = task.parent().map(|parent| running.get(&parent).cloned().flatten());
            let standing = match parent {
                // Ended, or ending by what was found: what is below ends with it.
                Some(None) => None,
                Some(Some(parent)) => Some(self.judge.task(&task, Some(&parent), self.now)),
                None => Some(self.judge.task(&task, None, self.now)),
            };
            self.swept.examined += 1;
            let ends = match standing {
                None => true,
                Some(standing) => self.found_task(&task, standing),
            };
            if ends {
                running.insert(id, None);
            }
        }
        Ok(running)
    }

    async fn leases(
        &mut self,
        tenant: &TenantId,
        mut tasks: HashMap<TaskId, Option<Arc<Task>>>,
        since: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        let mut query =
            LeaseQuery { tenant: tenant.clone(), active: true, limit: PAGE, ..LeaseQuery::default() };
        loop {
            let page = self.store.leases(&query).await?;
            for lease in &page.items {
                if since.is_some_and(|since| lease.created_at < since) {
                    return Ok(());
                }
                if let Some(task) = self.task_of(&mut tasks, lease).await? {
                    self.look_at_lease(lease, &task);
                }
            }
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(()),
            }
            tokio::task::yield_now().await;
        }
    }

    /// The lease's task, unless that has ended or ends by what was found.
    async fn task_of(
        &self,
        tasks: &mut HashMap<TaskId, Option<Arc<Task>>>,
        lease: &Lease,
    ) -> Result<Option<Arc<Task>>, Refusal> {
        let Some(id) = lease.task() else { return Ok(None) };
        if let Some(known) = tasks.get(&id) {
            return Ok(known.clone());
        }
        let found = self.store.task(&lease.tenant, id).await?;
        let live = found.filter(|task| task.ended_by(self.now).is_none()).map(Arc::new);
        tasks.insert(id, live.clone());
        Ok(live)
    }

    fn look_at_lease(&mut self, lease: &Lease, task: &Task) {
        if lease.ended_by(self.now).is_some() {
            return;
        }
        self.swept.examined += 1;
        let (when, why, shorter) = match self.judge.lease(lease, task, self.now) {
            Standing::Allowed => return,
            Standing::Denied { when, why } => (when, why, lease.expires_at),
            Standing::Narrowed(max) => {
                let why = format!("policy now allows it for {max} at most");
                (Trigger::Narrowed, why, lease.issued_at.plus(max.as_duration()))
            }
        };
        let Some(agent) = lease.agent() else { return };
        let rule = self.rules.find(when, agent, Some(&lease.resource));
        let ends_at = match rule.then {
            Then::Grace(span) => Some(self.now.plus(span)),
            Then::Revoke => Some(self.now),
            Then::Shorten => Some(shorter),
            Then::Hold | Then::Kill | Then::Report => None,
        };
        // What was given as early an end before loses nothing more.
        if lease.cut.as_ref().zip(ends_at).is_some_and(|(cut, at)| cut.at <= at) {
            return;
        }
        let finding = Finding {
            subject: Subject::Lease(lease.id),
            tenant: lease.tenant.clone(),
            agent: agent.clone(),
            task: task.id,
            resource: Some(lease.resource.clone()),
            actions: lease.actions.clone(),
            why,
            rule,
            ends_at: ends_at.map(|at| at.min(lease.last_expiry)),
        };
        self.swept.findings.push(finding);
    }

    /// Writes down what was found about a task; whether it ends by that.
    fn found_task(&mut self, task: &Task, standing: Standing) -> bool {
        let (Standing::Denied { when, why }, Some(agent)) = (standing, task.agent()) else { return false };
        let rule = self.rules.find(when, agent, None);
        let ends = rule.then == Then::Revoke;
        let acts = ends && !rule.shadow;
        self.swept.findings.push(Finding {
            subject: Subject::Task(task.id),
            tenant: task.tenant.clone(),
            agent: agent.clone(),
            task: task.id,
            resource: None,
            actions: Vec::new(),
            why,
            rule,
            ends_at: ends.then_some(self.now),
        });
        acts
    }
}
