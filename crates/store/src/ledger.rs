//! A store made of any transactional key-value backend.

use crate::{
    ApprovalQuery, Committed, Denies, Due, LeaseQuery, Page, Store, TaskQuery, load, policies, query,
    tables::Read,
};
use async_trait::async_trait;
use std::collections::BTreeMap;
use taskpass_lease::{Approval, Bars, Event, Followers, Lease, PolicySet, PolicySetInfo, SharedKeys, Task};
use taskpass_types::{
    AgentId, ApprovalId, Epoch, HistoryId, LeaseId, PolicyRevision, Refusal, TaskId, TenantId, Timestamp,
};
use tokio::sync::watch;

/// What an adapter has to bring: reads, and transitions in one order.
pub trait Backend: Send + Sync + 'static {
    /// Looks at the tables as they are now, without waiting for writers.
    ///
    /// A backend that fetches what is looked at runs `at` several times, until nothing is missing. What one run reads is at
    /// least as new in what is read later as in what is read earlier.
    fn look<T: Send>(
        &self,
        at: impl Fn(&dyn Read) -> Result<T, Refusal> + Send + Sync,
    ) -> impl Future<Output = Result<T, Refusal>> + Send;

    /// The same, for what is decided by it: as new as any other broker's writes that were confirmed before it began. A
    /// backend that cannot be replaced behind its back needs no more than [`Backend::look`].
    fn look_now<T: Send>(
        &self,
        at: impl Fn(&dyn Read) -> Result<T, Refusal> + Send + Sync,
    ) -> impl Future<Output = Result<T, Refusal>> + Send {
        self.look(at)
    }

    /// Runs [`crate::apply`] in a transaction and answers when it is durable.
    fn apply(&self, event: Event, now: Timestamp) -> impl Future<Output = Result<Committed, Refusal>> + Send;

    /// Runs [`crate::apply_due`] likewise.
    fn apply_due(&self, due: Due, now: Timestamp) -> impl Future<Output = Result<Committed, Refusal>> + Send;

    /// What [`crate::open`] said.
    fn history(&self) -> HistoryId;

    /// See [`Store::still_mending`].
    fn still_mending(&self) -> impl Future<Output = Result<bool, Refusal>> + Send {
        let mending = *self.mending().borrow();
        async move { Ok(mending) }
    }

    /// See [`Store::mending`].
    fn mending(&self) -> watch::Receiver<bool>;

    /// Changes whenever a deny record is durable.
    fn denied(&self) -> watch::Receiver<u64>;

    /// Changes whenever an approval is durable.
    fn approval_changed(&self) -> watch::Receiver<u64>;
}

/// A [`Store`] over a [`Backend`].
#[derive(Debug)]
pub struct Ledger<B>(B);

impl<B: Backend> Ledger<B> {
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
impl<B: Backend> Store for Ledger<B> {
    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        self.0.apply(event, now).await
    }

    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal> {
        self.0.apply_due(due, now).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, Refusal> {
        self.0.look(|read| query::due(read, now, limit)).await
    }

    async fn task(&self, tenant: &TenantId, id: TaskId) -> Result<Option<Task>, Refusal> {
        self.0.look(|read| load::task(read, tenant, id)).await
    }

    async fn lease(&self, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal> {
        self.0.look(|read| query::lease(read, tenant, id)).await
    }

    async fn standing(&self, tenant: &TenantId, id: LeaseId, now: Timestamp) -> Result<Lease, Refusal> {
        self.0.look_now(|read| query::standing(read, tenant, id, now)).await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task, TaskId>, Refusal> {
        self.0.look(|read| query::tasks(read, query)).await
    }

    async fn leases(&self, query: &LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal> {
        self.0.look(|read| query::leases(read, query)).await
    }

    async fn bars(&self, tenant: &TenantId) -> Result<Bars, Refusal> {
        self.0.look(|read| load::bars(read, tenant)).await
    }

    async fn denies_after(&self, tenant: &TenantId, epoch: Epoch, limit: usize) -> Result<Denies, Refusal> {
        self.0.look(|read| query::denies_after(read, tenant, epoch, limit)).await
    }

    async fn approval(&self, tenant: &TenantId, id: ApprovalId) -> Result<Option<Approval>, Refusal> {
        self.0.look(|read| load::approval(read, tenant, id)).await
    }

    async fn approval_for(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        digest: &[u8; 32],
    ) -> Result<Option<Approval>, Refusal> {
        self.0.look(|read| load::approval_for(read, tenant, agent, digest)).await
    }

    async fn approvals(&self, query: &ApprovalQuery) -> Result<Page<Approval, ApprovalId>, Refusal> {
        self.0.look(|read| query::approvals(read, query)).await
    }

    async fn policy_revision(&self) -> Result<Option<PolicyRevision>, Refusal> {
        self.0.look(|read| load::policy_revision(read)).await
    }

    async fn policy_set(&self, revision: Option<&PolicyRevision>) -> Result<Option<PolicySet>, Refusal> {
        self.0.look(|read| policies::set(read, revision)).await
    }

    async fn policy_history(&self, before: Option<u64>, limit: usize) -> Result<Vec<PolicySetInfo>, Refusal> {
        self.0.look(|read| policies::history(read, before, limit)).await
    }

    async fn shared_keys(&self) -> Result<Option<SharedKeys>, Refusal> {
        self.0.look(load::shared_keys).await
    }

    async fn followers(&self) -> Result<BTreeMap<String, Followers>, Refusal> {
        self.0.look(load::followers).await
    }

    fn history(&self) -> HistoryId {
        self.0.history()
    }

    async fn still_mending(&self) -> Result<bool, Refusal> {
        self.0.still_mending().await
    }

    fn mending(&self) -> watch::Receiver<bool> {
        self.0.mending()
    }

    fn denied(&self) -> watch::Receiver<u64> {
        self.0.denied()
    }

    fn approval_changed(&self) -> watch::Receiver<u64> {
        self.0.approval_changed()
    }
}
