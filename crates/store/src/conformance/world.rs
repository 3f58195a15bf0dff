//! Where a store of the suite lives, and short words for what the behaviours do with it.

use super::events;
use crate::{ApprovalQuery, Committed, Due, LeaseQuery, Prepared, Store, TaskQuery};
use std::time::Duration;
use taskpass_lease::{Approval, End, Event, Lease, Limits, Outcome, Task, Verdict};
use taskpass_types::{ApprovalId, Epoch, LeaseId, Reason, Refusal, TaskId, TenantId, Timestamp};

/// A place in which one store lives.
pub trait Home: Send + Sync + 'static {
    /// The store.
    type Store: Store;

    /// The first opening of it.
    fn open(&self, limits: Limits) -> Self::Store;

    /// What is there when the process was killed and another opens the same place. A store that cannot outlive its
    /// process returns itself.
    fn crash(&self, store: Self::Store, limits: Limits) -> Self::Store;
}

/// A store, a clock and the tenant that the behaviour is about.
pub(super) struct World<H: Home> {
    home: H,
    limits: Limits,
    pub(super) store: H::Store,
    pub(super) now: Timestamp,
    pub(super) tenant: TenantId,
}

impl<H: Home> World<H> {
    pub(super) async fn new(home: H) -> Self {
        Self::with(home, Limits::default()).await
    }

    /// With the policies `r1` in force.
    pub(super) async fn with(home: H, limits: Limits) -> Self {
        let store = home.open(limits.clone());
        let now = Timestamp::from_secs(1_800_000_000);
        let world = Self { home, limits, store, now, tenant: TenantId::default() };
        world.apply(Event::SetPolicies(Box::new(events::set_policies("r1")))).await.unwrap();
        world
    }

    /// Goes on in another process.
    pub(super) fn crash(self) -> Self {
        let store = self.home.crash(self.store, self.limits.clone());
        Self { store, ..self }
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.now = self.now.plus(Duration::from_secs(secs));
    }

    pub(super) async fn apply(&self, event: Event) -> Result<Committed, Refusal> {
        self.store.apply(event, self.now).await
    }

    pub(super) async fn start(&self) -> Task {
        self.start_under(None).await.unwrap()
    }

    pub(super) async fn start_under(&self, parent: Option<TaskId>) -> Result<Task, Refusal> {
        self.start_as(events::start(&self.tenant, TaskId::new(), parent)).await
    }

    pub(super) async fn start_as(&self, start: taskpass_lease::StartTask) -> Result<Task, Refusal> {
        match self.apply(Event::StartTask(Box::new(start))).await?.into_outcome() {
            Outcome::Running(task) | Outcome::ReplayedTask(task) => Ok(*task),
            other => panic!("a start gave {other:?}"),
        }
    }

    pub(super) async fn plan(&self, task: TaskId) -> Result<Lease, Refusal> {
        let plan = events::plan(&self.tenant, LeaseId::new(), task);
        self.plan_as(plan).await.map(|prepared| prepared.lease().clone())
    }

    pub(super) async fn plan_as(&self, plan: taskpass_lease::PlanLease) -> Result<Prepared, Refusal> {
        Ok(self.apply(Event::PlanLease(Box::new(plan))).await?.into_prepared().unwrap())
    }

    pub(super) async fn renew(&self, lease: LeaseId, request: &str) -> Result<Prepared, Refusal> {
        let renew = events::renew(&self.tenant, lease, request);
        Ok(self.apply(Event::RenewLease(Box::new(renew))).await?.into_prepared().unwrap())
    }

    pub(super) async fn end_task(&self, task: TaskId) {
        self.apply(events::end_task(&self.tenant, task)).await.unwrap();
    }

    pub(super) async fn end_lease(&self, lease: LeaseId, hold: bool) {
        self.apply(events::end_lease(&self.tenant, lease, hold)).await.unwrap();
    }

    pub(super) async fn ask(&self, task: TaskId, digest: u8) -> Result<Approval, Refusal> {
        let ask = events::ask(&self.tenant, ApprovalId::new(), task, digest);
        self.approval_of(Event::RequestApproval(Box::new(ask))).await
    }

    pub(super) async fn vote(&self, id: ApprovalId, by: &str, verdict: Verdict) -> Result<Approval, Refusal> {
        self.approval_of(events::vote(&self.tenant, id, by, verdict)).await
    }

    async fn approval_of(&self, event: Event) -> Result<Approval, Refusal> {
        match self.apply(event).await?.into_outcome() {
            Outcome::Approval(approval) => Ok(*approval),
            other => panic!("an approval became {other:?}"),
        }
    }

    pub(super) async fn approval(&self, id: ApprovalId) -> Option<Approval> {
        self.store.approval(&self.tenant, id).await.unwrap()
    }

    /// All approvals that match, page by page.
    pub(super) async fn approvals(&self, mut query: ApprovalQuery) -> Vec<ApprovalId> {
        let mut ids = Vec::new();
        loop {
            let page = self.store.approvals(&query).await.unwrap();
            ids.extend(page.items.iter().map(|approval| approval.id));
            match page.next {
                Some(next) => query.before = Some(next),
                None => return ids,
            }
        }
    }

    pub(super) async fn task(&self, id: TaskId) -> Option<Task> {
        self.store.task(&self.tenant, id).await.unwrap()
    }

    pub(super) async fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.store.lease(&self.tenant, id).await.unwrap()
    }

    pub(super) async fn lease_end(&self, id: LeaseId) -> Option<End> {
        self.lease(id).await.unwrap().end().cloned()
    }

    pub(super) async fn epoch(&self) -> Epoch {
        self.store.denies_after(&self.tenant, Epoch::default(), 1000).await.unwrap().epoch
    }

    pub(super) async fn due(&self) -> Vec<Due> {
        self.store.due(self.now, 1000).await.unwrap()
    }

    /// Handles what is due until nothing is.
    pub(super) async fn settle(&self) {
        for _ in 0..10_000 {
            let due = self.due().await;
            if due.is_empty() {
                return;
            }
            for due in due {
                self.store.apply_due(due, self.now).await.unwrap();
            }
        }
        panic!("something is due for ever: {:?}", self.due().await);
    }

    /// All leases that match, page by page.
    pub(super) async fn leases(&self, mut query: LeaseQuery) -> Vec<LeaseId> {
        let mut ids = Vec::new();
        loop {
            let page = self.store.leases(&query).await.unwrap();
            ids.extend(page.items.iter().map(|lease| lease.id));
            match page.next {
                Some(next) => query.before = Some(next),
                None => return ids,
            }
        }
    }

    /// All tasks that match, page by page.
    pub(super) async fn tasks(&self, mut query: TaskQuery) -> Vec<TaskId> {
        let mut ids = Vec::new();
        loop {
            let page = self.store.tasks(&query).await.unwrap();
            ids.extend(page.items.iter().map(|task| task.id));
            match page.next {
                Some(next) => query.before = Some(next),
                None => return ids,
            }
        }
    }
}

/// The reason of a refusal that has to be one.
#[track_caller]
pub(super) fn refused<T>(result: Result<T, Refusal>) -> Reason {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(refusal) => refusal.reason(),
    }
}
