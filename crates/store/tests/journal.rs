//! A store that cannot write, with a journal in front of it: ends get through, nothing else does, nothing is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use async_trait::async_trait;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use taskpass_lease::{
    Approval, Bars, EndLease, EndTask, Event, Lease, Limits, Outcome, PolicySet, PolicySetInfo, SharedKeys,
    Task,
};
use taskpass_store::{
    ApprovalQuery, Committed, Denies, Due, LeaseQuery, Ledger, MemoryBackend, Page, Store, TaskQuery,
    conformance::events, journal::Journaled,
};
use taskpass_types::{
    AgentId, ApprovalId, DenySubject, EndReason, Epoch, HistoryId, LeaseId, PolicyRevision, Reason, Refusal,
    TaskId, TenantId, Timestamp,
};
use tokio::sync::watch;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The in-memory store on a disk that can fill up: reads work, writes do not.
struct Disk {
    store: Ledger<MemoryBackend>,
    full: AtomicBool,
    /// The store writes, but says that it does not know.
    mute: AtomicBool,
}

impl Disk {
    fn check(&self) -> Result<(), Refusal> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Refusal::new(Reason::StoreUnavailable, "no space left"));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Disk {
    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        self.check()?;
        let committed = self.store.apply(event, now).await?;
        if self.mute.swap(false, Ordering::SeqCst) {
            self.full.store(true, Ordering::SeqCst);
            return Err(Refusal::new(Reason::OutcomeUnknown, "no answer"));
        }
        Ok(committed)
    }
    async fn apply_due(&self, due: Due, now: Timestamp) -> Result<Committed, Refusal> {
        self.check()?;
        self.store.apply_due(due, now).await
    }
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, Refusal> {
        self.store.due(now, limit).await
    }
    async fn task(&self, tenant: &TenantId, id: TaskId) -> Result<Option<Task>, Refusal> {
        self.store.task(tenant, id).await
    }
    async fn lease(&self, tenant: &TenantId, id: LeaseId) -> Result<Option<Lease>, Refusal> {
        self.store.lease(tenant, id).await
    }
    async fn standing(&self, tenant: &TenantId, id: LeaseId, now: Timestamp) -> Result<Lease, Refusal> {
        self.store.standing(tenant, id, now).await
    }
    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task, TaskId>, Refusal> {
        self.store.tasks(query).await
    }
    async fn leases(&self, query: &LeaseQuery) -> Result<Page<Lease, LeaseId>, Refusal> {
        self.store.leases(query).await
    }
    async fn bars(&self, tenant: &TenantId) -> Result<Bars, Refusal> {
        self.store.bars(tenant).await
    }
    async fn denies_after(&self, tenant: &TenantId, epoch: Epoch, limit: usize) -> Result<Denies, Refusal> {
        self.store.denies_after(tenant, epoch, limit).await
    }
    async fn policy_revision(&self) -> Result<Option<PolicyRevision>, Refusal> {
        self.store.policy_revision().await
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
        self.store.history()
    }
    fn denied(&self) -> watch::Receiver<u64> {
        self.store.denied()
    }
    fn approval_changed(&self) -> watch::Receiver<u64> {
        self.store.approval_changed()
    }
}

struct World {
    disk: Arc<Disk>,
    store: Journaled,
    tenant: TenantId,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let store = Ledger::new(MemoryBackend::new(Limits::default()).unwrap());
        let disk = Arc::new(Disk { store, full: AtomicBool::new(false), mute: AtomicBool::new(false) });
        let dir = tempfile::tempdir().unwrap();
        let store = open(&disk, dir.path());
        store.apply(policies("r1"), NOW).await.unwrap();
        Self { disk, store, tenant: TenantId::default(), dir }
    }

    async fn task(&self) -> Result<TaskId, Refusal> {
        let id = TaskId::new();
        let start = events::start(&self.tenant, id, None);
        self.store.apply(Event::StartTask(Box::new(start)), NOW).await.map(|_| id)
    }

    async fn plan(&self, task: TaskId) -> Result<LeaseId, Refusal> {
        let id = LeaseId::new();
        let plan = events::plan(&self.tenant, id, task);
        self.store.apply(Event::PlanLease(Box::new(plan)), NOW).await.map(|_| id)
    }

    async fn end(&self, task: TaskId) -> Result<Committed, Refusal> {
        let tenant = self.tenant.clone();
        let end = EndTask { tenant, task, reason: EndReason::Killed, by: "maya".to_owned() };
        self.store.apply(Event::EndTask(end), NOW).await
    }

    async fn kill(&self, lease: LeaseId) -> Result<Committed, Refusal> {
        let tenant = self.tenant.clone();
        let end = EndLease { tenant, lease, reason: EndReason::Killed, by: "maya".to_owned(), hold: true };
        self.store.apply(Event::EndLease(end), NOW).await
    }

    async fn subjects(&self) -> Vec<(u64, DenySubject)> {
        let denies = self.store.denies_after(&self.tenant, Epoch(0), 100).await.unwrap();
        assert_eq!(denies.epoch.0, denies.records.last().map_or(0, |deny| deny.epoch.0));
        denies.records.into_iter().map(|deny| (deny.epoch.0, deny.subject)).collect()
    }

    fn fill(&self, full: bool) {
        self.disk.full.store(full, Ordering::SeqCst);
    }
}

fn policies(name: &str) -> Event {
    Event::SetPolicies(Box::new(events::set_policies(name)))
}

fn open(disk: &Arc<Disk>, dir: &Path) -> Journaled {
    Journaled::open(disk.clone(), &dir.join("revocations"), Limits::default()).unwrap()
}

#[tokio::test]
async fn ends_get_through_a_full_disk_and_everyone_sees_them() {
    let world = World::new().await;
    let (task, other) = (world.task().await.unwrap(), world.task().await.unwrap());
    let (below, alone) = (world.plan(task).await.unwrap(), world.plan(other).await.unwrap());
    let mut feed = world.store.denied();
    feed.mark_unchanged();
    world.fill(true);
    assert!(matches!(world.end(task).await.unwrap().outcome(), Outcome::TaskEnded(_)));
    assert!(matches!(world.kill(alone).await.unwrap().outcome(), Outcome::LeaseEnded(_)));
    assert!(feed.has_changed().unwrap());

    let told = [(1, DenySubject::Task(task)), (2, DenySubject::Lease(alone))];
    assert_eq!(world.subjects().await, told);
    for lease in [below, alone] {
        let standing = world.store.standing(&world.tenant, lease, NOW).await.unwrap_err();
        assert_eq!(standing.reason(), Reason::LeaseEnded);
    }
    assert!(world.store.task(&world.tenant, task).await.unwrap().unwrap().end().is_some());
    let running = TaskQuery { running: true, ..TaskQuery::default() };
    let running = world.store.tasks(&running).await.unwrap().items;
    assert_eq!(running.iter().map(|task| task.id).collect::<Vec<_>>(), [other]);
    // Nothing is granted meanwhile, and repeating an end is harmless.
    assert_eq!(world.task().await.unwrap_err().reason(), Reason::StoreUnavailable);
    assert_eq!(world.plan(other).await.unwrap_err().reason(), Reason::StoreUnavailable);
    assert!(matches!(world.end(task).await.unwrap().outcome(), Outcome::AlreadyEnded(_)));

    world.fill(false);
    assert_eq!(
        world.plan(other).await.unwrap_err().reason(),
        Reason::HeldAfterKill,
        "the kill's hold is there too"
    );
    assert_eq!(world.subjects().await, told, "the store gave the same epochs");
    let stored = world.disk.denies_after(&world.tenant, Epoch(0), 100).await.unwrap();
    assert_eq!(stored.records.len(), 2);
    assert!(world.task().await.is_ok());
}

#[tokio::test]
async fn a_crash_while_the_disk_is_full_loses_no_end() {
    let world = World::new().await;
    let task = world.task().await.unwrap();
    let lease = world.plan(task).await.unwrap();
    world.fill(true);
    world.end(task).await.unwrap();
    let World { disk, store, tenant, dir } = world;
    drop(store);
    let store = open(&disk, dir.path());
    assert_eq!(store.standing(&tenant, lease, NOW).await.unwrap_err().reason(), Reason::LeaseEnded);
    disk.full.store(false, Ordering::SeqCst);
    store.apply(policies("r2"), NOW).await.unwrap();
    assert!(disk.task(&tenant, task).await.unwrap().unwrap().end().is_some());
    drop(store);
    assert_eq!(open(&disk, dir.path()).denies_after(&tenant, Epoch(0), 9).await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn an_end_that_was_written_after_all_is_told_once() {
    let world = World::new().await;
    let task = world.task().await.unwrap();
    world.disk.mute.store(true, Ordering::SeqCst);
    assert!(matches!(world.end(task).await.unwrap().outcome(), Outcome::AlreadyEnded(_)));
    assert_eq!(world.subjects().await, [(1, DenySubject::Task(task))]);
    world.fill(false);
    assert!(world.task().await.is_ok());
    assert_eq!(world.subjects().await, [(1, DenySubject::Task(task))]);
}

#[tokio::test]
async fn unknown_tasks_are_not_journaled() {
    let world = World::new().await;
    world.fill(true);
    assert_eq!(world.end(TaskId::new()).await.unwrap_err().reason(), Reason::TaskNotFound);
    assert!(world.subjects().await.is_empty());
}

/// A cut that comes due writes a deny record of its own; whoever follows the feed behind a journal wakes for it.
#[tokio::test]
async fn a_cut_that_comes_due_is_announced() {
    let world = World::new().await;
    let task = world.task().await.unwrap();
    let (later, now) = (world.plan(task).await.unwrap(), world.plan(task).await.unwrap());
    let mut feed = world.store.denied();
    feed.mark_unchanged();
    let at = NOW.plus(Duration::from_secs(10));
    world.store.apply(events::cut_lease(&world.tenant, later, at), NOW).await.unwrap();
    assert!(!feed.has_changed().unwrap());
    world.store.apply(events::cut_lease(&world.tenant, now, NOW), NOW).await.unwrap();
    assert!(feed.has_changed().unwrap());
    feed.mark_unchanged();
    for due in world.store.due(at, 10).await.unwrap() {
        world.store.apply_due(due, at).await.unwrap();
    }
    assert!(feed.has_changed().unwrap());
    assert_eq!(world.subjects().await, [(1, DenySubject::Lease(now)), (2, DenySubject::Lease(later))]);
}

/// Approvals are no ends: while the store cannot write, nobody approves and nobody uses one.
#[tokio::test]
async fn approvals_are_passed_on() {
    let world = World::new().await;
    let task = world.task().await.unwrap();
    let mut changed = world.store.approval_changed();
    let ask = |digest| {
        let ask = events::ask(&world.tenant, ApprovalId::new(), task, digest);
        Event::RequestApproval(Box::new(ask))
    };
    let done = world.store.apply(ask(1), NOW).await.unwrap().into_outcome();
    let Outcome::Approval(approval) = done else { panic!("it waits") };
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    world.fill(true);
    assert_eq!(world.store.apply(ask(2), NOW).await.unwrap_err().reason(), Reason::StoreUnavailable);
    assert_eq!(world.store.approval(&world.tenant, approval.id).await.unwrap(), Some(*approval));
    assert!(!changed.has_changed().unwrap());
}
