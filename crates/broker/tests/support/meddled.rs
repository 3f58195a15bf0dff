//! The in-memory store with somebody who interferes: a change can be refused, or followed by another one at once.

use async_trait::async_trait;
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use taskpass_lease::{Approval, Bars, Event, Lease, PolicySet, PolicySetInfo, SharedKeys, Task};
use taskpass_store::{ApprovalQuery, Committed, Denies, Due, LeaseQuery, Page, Store, TaskQuery};
use taskpass_types::{
    AgentId, ApprovalId, Epoch, HistoryId, LeaseId, PolicyRevision, Reason, Refusal, TaskId, TenantId,
    Timestamp,
};
use tokio::sync::watch;

type Before = Box<dyn Fn(&Event) -> Result<(), Refusal> + Send + Sync>;
type After = Box<dyn Fn(&Event) -> Option<Event> + Send + Sync>;

pub struct Meddled {
    store: Arc<dyn Store>,
    before: Before,
    after: After,
    /// How many of the changes that are due fail from now on.
    failing: AtomicU32,
    unreadable: Arc<Unreadable>,
    lives: Arc<Lives>,
}

/// Leases whose records are damaged.
pub type Unreadable = Mutex<BTreeSet<LeaseId>>;

/// Which life of the store this is, if not the one that it says by itself.
#[derive(Default)]
pub struct Lives {
    pub now: Mutex<Option<HistoryId>>,
    /// Begins in the middle of the next look at what is denied.
    pub next: Mutex<Option<HistoryId>>,
}

impl Meddled {
    /// Refuses what `before` refuses.
    pub fn before(
        store: Arc<dyn Store>,
        before: impl Fn(&Event) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Arc<dyn Store> {
        Arc::new(Self { before: Box::new(before), ..Self::new(store) })
    }

    /// Does what `after` wants when a change is made, before whoever made it hears of that.
    pub fn after(
        store: Arc<dyn Store>,
        after: impl Fn(&Event) -> Option<Event> + Send + Sync + 'static,
    ) -> Arc<dyn Store> {
        Arc::new(Self { after: Box::new(after), ..Self::new(store) })
    }

    /// Refuses the first `count` changes that are due.
    pub fn late(store: Arc<dyn Store>, count: u32) -> Arc<dyn Store> {
        Arc::new(Self { failing: AtomicU32::new(count), ..Self::new(store) })
    }

    /// Cannot read what is in `unreadable`.
    pub fn damaged(store: Arc<dyn Store>, unreadable: Arc<Unreadable>) -> Arc<dyn Store> {
        Arc::new(Self { unreadable, ..Self::new(store) })
    }

    /// Begins another life when it is told to.
    pub fn reborn(store: Arc<dyn Store>, lives: Arc<Lives>) -> Arc<dyn Store> {
        Arc::new(Self { lives, ..Self::new(store) })
    }

    fn check(&self, id: LeaseId) -> Result<(), Refusal> {
        match self.unreadable.lock().contains(&id) {
            true => Err(Refusal::new(Reason::StoreCorrupt, "a stored lease cannot be read")),
            false => Ok(()),
        }
    }

    fn new(store: Arc<dyn Store>) -> Self {
        let (before, after) = (Box::new(|_: &Event| Ok(())), Box::new(|_: &Event| None));
        let (unreadable, lives) = (Arc::default(), Arc::default());
        Self { store, before, after, failing: AtomicU32::new(0), unreadable, lives }
    }
}

#[async_trait]
impl Store for Meddled {
    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        (self.before)(&event)?;
        let then = (self.after)(&event);
        let committed = self.store.apply(event, now).await?;
        if let Some(then) = then {
            self.store.apply(then, now).await?;
        }
        Ok(committed)
    }
    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal> {
        let less = |count: u32| count.checked_sub(1);
        if self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err(Refusal::new(Reason::StoreUnavailable, "no space left"));
        }
        self.store.apply_due(due, now).await
    }
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, Refusal> {
        self.store.due(now, limit).await
    }
    async fn task(&self, tenant: &TenantId, id: TaskId) -> Result<Option<Task>, Refusal> {
        self.store.task(tenant, id).await
    }
    async fn lease(&self, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal> {
        self.check(id)?;
        self.store.lease(tenant, id).await
    }
    async fn approval(&self, tenant: &TenantId, id: ApprovalId) -> Result<Option<Approval>, Refusal> {
        self.store.approval(tenant, id).await
    }
    async fn approval_for(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        digest: &[u8; 32],
    ) -> Result<Option<Approval>, Refusal> {
        self.store.approval_for(tenant, agent, digest).await
    }
    async fn approvals(&self, query: &ApprovalQuery) -> Result<Page<Approval, ApprovalId>, Refusal> {
        self.store.approvals(query).await
    }
    async fn policy_set(&self, revision: Option<&PolicyRevision>) -> Result<Option<PolicySet>, Refusal> {
        self.store.policy_set(revision).await
    }
    async fn shared_keys(&self) -> Result<Option<SharedKeys>, Refusal> {
        self.store.shared_keys().await
    }
    async fn policy_history(&self, before: Option<u64>, limit: usize) -> Result<Vec<PolicySetInfo>, Refusal> {
        self.store.policy_history(before, limit).await
    }
    fn approval_changed(&self) -> watch::Receiver<u64> {
        self.store.approval_changed()
    }
    async fn standing(&self, tenant: &TenantId, id: LeaseId, now: Timestamp) -> Result<Lease, Refusal> {
        self.check(id)?;
        self.store.standing(tenant, id, now).await
    }
    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task, TaskId>, Refusal> {
        self.store.tasks(query).await
    }
    async fn leases(&self, query: &LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal> {
        let mut page = self.store.leases(query).await?;
        let all = page.items.len();
        page.items.retain(|lease| self.check(lease.id).is_ok());
        page.unreadable += all - page.items.len();
        Ok(page)
    }
    async fn bars(&self, tenant: &TenantId) -> Result<Bars, Refusal> {
        self.store.bars(tenant).await
    }
    async fn denies_after(&self, tenant: &TenantId, epoch: Epoch, limit: usize) -> Result<Denies, Refusal> {
        let denies = self.store.denies_after(tenant, epoch, limit).await;
        if let Some(next) = self.lives.next.lock().take() {
            *self.lives.now.lock() = Some(next);
        }
        denies
    }
    async fn policy_revision(&self) -> Result<Option<PolicyRevision>, Refusal> {
        self.store.policy_revision().await
    }
    async fn still_mending(&self) -> Result<bool, Refusal> {
        self.store.still_mending().await
    }
    fn mending(&self) -> watch::Receiver<bool> {
        self.store.mending()
    }
    async fn followers(
        &self,
    ) -> Result<std::collections::BTreeMap<String, taskpass_lease::Followers>, Refusal> {
        self.store.followers().await
    }
    fn history(&self) -> HistoryId {
        self.lives.now.lock().unwrap_or_else(|| self.store.history())
    }
    fn denied(&self) -> watch::Receiver<u64> {
        self.store.denied()
    }
}
