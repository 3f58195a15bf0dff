//! A store made of any transactional key-value backend in this process.

use crate::{
    ApprovalQuery, Committed, Denies, Due, LeaseQuery, Page, Store, TaskQuery, load, policies, query,
    tables::Read,
};
use async_trait::async_trait;
use taskpass_lease::{Approval, Event, Lease, PolicySet, PolicySetInfo, Task};
use taskpass_types::{
    AgentId, ApprovalId, Epoch, HistoryId, LeaseId, PolicyRevision, Refusal, TaskId, TenantId, Timestamp,
};
use tokio::sync::watch;

/// What an embedded adapter has to bring: consistent reads, and transitions in one order.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Looks at the tables as they are now, without waiting for writers.
    fn look<T>(&self, at: impl FnOnce(&dyn Read) -> Result<T, Refusal>) -> Result<T, Refusal>
    where
        Self: Sized;

    /// Runs [`crate::apply`] in a transaction and answers when it is durable.
    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal>;

    /// Runs [`crate::apply_due`] likewise.
    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal>;

    /// What [`crate::open`] said.
    fn history(&self) -> HistoryId;

    /// Changes whenever a deny record is durable.
    fn denied(&self) -> watch::Receiver<u64>;

    /// Changes whenever an approval is durable.
    fn approval_changed(&self) -> watch::Receiver<u64>;
}

/// A [`Store`] over a [`Backend`].
#[derive(Debug)]
pub struct Embedded<B>(B);

impl<B: Backend> Embedded<B> {
    /// Over `backend`.
    pub fn new(backend: B) -> Self {
        Self(backend)
    }

    /// The backend, for what only it can tell.
    pub fn backend(&self) -> &B {
        &self.0
    }
}

#[async_trait]
impl<B: Backend> Store for Embedded<B> {
    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        self.0.apply(event, now).await
    }

    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal> {
        self.0.apply_due(due, now).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, Refusal> {
        self.0.look(|read| query::due(read, now, limit))
    }

    async fn task(&self, tenant: &TenantId, id: TaskId) -> Result<Option<Task>, Refusal> {
        self.0.look(|read| load::task(read, tenant, id))
    }

    async fn lease(&self, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal> {
        self.0.look(|read| load::lease(read, tenant, id))
    }

    async fn standing(&self, tenant: &TenantId, id: LeaseId, now: Timestamp) -> Result<Lease, Refusal> {
        self.0.look(|read| query::standing(read, tenant, id, now))
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task, TaskId>, Refusal> {
        self.0.look(|read| query::tasks(read, query))
    }

    async fn leases(&self, query: &LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal> {
        self.0.look(|read| query::leases(read, query))
    }

    async fn denies_after(&self, tenant: &TenantId, epoch: Epoch, limit: usize) -> Result<Denies, Refusal> {
        self.0.look(|read| query::denies_after(read, tenant, epoch, limit))
    }

    async fn approval(&self, tenant: &TenantId, id: ApprovalId) -> Result<Option<Approval>, Refusal> {
        self.0.look(|read| load::approval(read, tenant, id))
    }

    async fn approval_for(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        digest: &[u8; 32],
    ) -> Result<Option<Approval>, Refusal> {
        self.0.look(|read| load::approval_for(read, tenant, agent, digest))
    }

    async fn approvals(&self, query: &ApprovalQuery) -> Result<Page<Approval, ApprovalId>, Refusal> {
        self.0.look(|read| query::approvals(read, query))
    }

    async fn policy_revision(&self) -> Result<Option<PolicyRevision>, Refusal> {
        self.0.look(|read| load::policy_revision(read))
    }

    async fn policy_set(&self, revision: Option<&PolicyRevision>) -> Result<Option<PolicySet>, Refusal> {
        self.0.look(|read| policies::set(read, revision))
    }

    async fn policy_history(&self, before: Option<u64>, limit: usize) -> Result<Vec<PolicySetInfo>, Refusal> {
        self.0.look(|read| policies::history(read, before, limit))
    }

    fn history(&self) -> HistoryId {
        self.0.history()
    }

    fn denied(&self) -> watch::Receiver<u64> {
        self.0.denied()
    }

    fn approval_changed(&self) -> watch::Receiver<u64> {
        self.0.approval_changed()
    }
}
