//! Which leases a selector means.

use super::{KillSelector, invalid};
use crate::{Broker, Caller};
use std::collections::{BTreeMap, BTreeSet};
use taskpass_lease::{End, Lease, Wide};
use taskpass_store::{LeaseQuery, TaskQuery};
use taskpass_types::{Reason, Refusal, TaskId, Timestamp};

/// How many leases a kill may end one by one, and how many a plan lists.
const MOST: usize = 10_000;
/// How many tasks a tree may have.
const TASKS: usize = 10_000;
/// Leases or tasks of one look at the store.
const PAGE: usize = 1_000;

impl KillSelector {
    /// What it means if that is all of something wider than a task: one write ends it.
    pub fn wide(&self) -> Option<Wide> {
        let wide = match self {
            Self { all: true, .. } => Wide::Tenant,
            Self { agent: Some(agent), .. } => Wide::Agent(agent.clone()),
            Self { owner: Some(owner), .. } => Wide::Owner(owner.clone()),
            Self { resource: Some(resource), .. } => Wide::Resource(resource.clone()),
            _ => return None,
        };
        (Self::of(&wide) == *self).then_some(wide)
    }

    fn of(wide: &Wide) -> Self {
        let nothing = Self::default();
        match wide.clone() {
            Wide::Agent(agent) => Self { agent: Some(agent), ..nothing },
            Wide::Owner(owner) => Self { owner: Some(owner), ..nothing },
            Wide::Resource(resource) => Self { resource: Some(resource), ..nothing },
            Wide::Tenant => Self { all: true, ..nothing },
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        if *self == Self::default() {
            return Err(invalid("selector", "it says nothing").fix("say which leases, or --all"));
        }
        if self.all && self.wide().is_none() {
            return Err(invalid("selector", "`all` goes with nothing else"));
        }
        if self.task.is_some() && self.tree.is_some() {
            return Err(invalid("selector", "it has a task and a tree; say one of them"));
        }
        Ok(())
    }

    /// Whether a lease is meant, as far as it tells by itself.
    fn matches(&self, lease: &Lease, now: Timestamp) -> bool {
        self.agent.as_ref().is_none_or(|agent| lease.agents.contains(agent))
            && self.owner.as_ref().is_none_or(|owner| *owner == lease.owner)
            && self.resource.as_ref().is_none_or(|resource| *resource == lease.resource)
            && self
                .policy
                .as_ref()
                .is_none_or(|policy| lease.policies.iter().any(|known| names(known, policy)))
            && self.older_than.is_none_or(|age| lease.created_at.plus(age) <= now)
    }
}

impl Broker {
    /// The live leases that a selector means, newest first.
    pub(super) async fn select(
        &self,
        caller: &Caller,
        selector: &KillSelector,
    ) -> Result<Vec<Lease>, Refusal> {
        selector.check()?;
        let under = match (selector.task, selector.tree) {
            (Some(task), _) => vec![Some(self.task(caller, task).await?.id)],
            (_, Some(root)) => self.tree(caller, root).await?.into_iter().map(Some).collect(),
            _ => vec![None],
        };
        let (mut found, mut labelled, now) = (Vec::new(), BTreeMap::new(), self.now());
        for task in under {
            let mut query = LeaseQuery { task, active: true, limit: PAGE, ..LeaseQuery::default() };
            loop {
                let page = self.leases(caller, query.clone()).await?;
                for lease in page.items {
                    if selector.matches(&lease, now)
                        && self.has_labels(selector, &lease, &mut labelled).await?
                    {
                        found.push(lease);
                    }
                }
                if found.len() > MOST {
                    if selector.wide().is_none() {
                        return Err(too_many());
                    }
                    found.truncate(MOST);
                    return Ok(found);
                }
                match page.next {
                    Some(next) => query.before = Some(next),
                    None => break,
                }
            }
        }
        found.sort_unstable_by_key(|lease| std::cmp::Reverse(lease.id));
        Ok(found)
    }

    /// The leases that an end took, newest first; as many as a plan lists.
    pub(super) async fn ended_by(&self, caller: &Caller, end: &End) -> Result<Vec<Lease>, Refusal> {
        let (mut found, mut query) = (Vec::new(), LeaseQuery { limit: PAGE, ..LeaseQuery::default() });
        loop {
            let page = self.leases(caller, query).await?;
            let taken = |lease: &Lease| lease.end().is_some_and(|known| known.epoch == end.epoch);
            found.extend(page.items.into_iter().filter(taken));
            match page.next {
                Some(next) if found.len() < MOST => {
                    query = LeaseQuery { before: Some(next), limit: PAGE, ..LeaseQuery::default() };
                }
                _ => return Ok(found),
            }
        }
    }

    /// A task and all below it.
    async fn tree(&self, caller: &Caller, root: TaskId) -> Result<BTreeSet<TaskId>, Refusal> {
        let mut tasks = BTreeSet::from([self.task(caller, root).await?.id]);
        let mut open = vec![root];
        while let Some(parent) = open.pop() {
            let mut query = TaskQuery { parent: Some(parent), limit: PAGE, ..TaskQuery::default() };
            loop {
                let page = self.tasks(caller, query.clone()).await?;
                open.extend(page.items.iter().map(|task| task.id).filter(|id| tasks.insert(*id)));
                if tasks.len() > TASKS {
                    return Err(too_many());
                }
                match page.next {
                    Some(next) => query.before = Some(next),
                    None => break,
                }
            }
        }
        Ok(tasks)
    }

    /// Whether the lease's task has the labels; each task is looked up once.
    async fn has_labels(
        &self,
        selector: &KillSelector,
        lease: &Lease,
        known: &mut BTreeMap<TaskId, bool>,
    ) -> Result<bool, Refusal> {
        let Some(id) = lease.task().filter(|_| !selector.labels.is_empty()) else {
            return Ok(selector.labels.is_empty());
        };
        if let Some(known) = known.get(&id) {
            return Ok(*known);
        }
        let task = self.parts().store.task(&lease.tenant, id).await?;
        let has = task.is_some_and(|task| {
            selector.labels.iter().all(|(name, value)| task.labels.get(name) == Some(value))
        });
        known.insert(id, has);
        Ok(has)
    }
}

/// A lease has a policy as its file, its line and its id in quotes; people say either that or the id.
fn names(known: &str, said: &str) -> bool {
    let id = known.split_once(' ').map(|(_, id)| id.trim_matches('"'));
    known == said || id == Some(said)
}

fn too_many() -> Refusal {
    Refusal::new(Reason::QuotaExceeded, format!("more than {MOST} leases or tasks match"))
        .fix("select fewer; or end all that one agent, owner or resource has, or --all: that is one write")
}
