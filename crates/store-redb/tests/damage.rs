//! One record that cannot be read stops nothing else, and never the end of anything.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{path::PathBuf, time::Duration};
use taskpass_lease::{Event, Limits, Outcome, PlanLease, Verdict};
use taskpass_store::{ApprovalQuery, LeaseQuery, Store, conformance::events, tables::Table};
use taskpass_store_redb::{RedbBackend, RedbStore};
use taskpass_types::{ApprovalId, LeaseId, Reason, TaskId, TenantId, Timestamp};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const APPROVALS: &str = "approvals";
const LEASES: &str = "leases";
const TASKS: &str = "tasks";

/// A parent, its child, and two leases of the child, stored by a process that is gone.
struct Scene {
    directory: TempDir,
    parent: TaskId,
    child: TaskId,
    leases: [LeaseId; 2],
}

impl Scene {
    async fn new() -> Self {
        let (parent, child) = (TaskId::new(), TaskId::new());
        let leases = [LeaseId::new(), LeaseId::new()];
        let scene = Self { directory: tempfile::tempdir().unwrap(), parent, child, leases };
        let store = scene.open();
        let tenant = TenantId::default();
        let policies = Event::SetPolicies(Box::new(events::set_policies("r1")));
        store.apply(policies, NOW).await.unwrap();
        for (id, above) in [(parent, None), (child, Some(parent))] {
            let start = Box::new(events::start(&tenant, id, above));
            store.apply(Event::StartTask(start), NOW).await.unwrap();
        }
        for id in leases {
            store.apply(Event::PlanLease(Box::new(events::plan(&tenant, id, child))), NOW).await.unwrap();
        }
        scene
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store.redb")
    }

    fn open(&self) -> RedbStore {
        RedbStore::new(RedbBackend::open(self.path(), Limits::default()).unwrap())
    }

    /// Cuts the last byte off a record.
    fn damage(&self, table: &str, id: &[u8]) {
        let database = Database::open(self.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(table)).unwrap();
            let found = table.iter().unwrap().map(Result::unwrap).find(|(key, _)| key.value().ends_with(id));
            let (key, value) =
                found.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).unwrap();
            let (_, cut) = value.split_last().unwrap();
            table.insert(key.as_slice(), cut).unwrap();
        }
        transaction.commit().unwrap();
    }
}

async fn settle(store: &RedbStore, now: Timestamp) {
    for _ in 0..100 {
        for due in store.due(now, 100).await.unwrap() {
            store.apply_due(due, now).await.unwrap();
        }
    }
    assert_eq!(store.due(now, 100).await.unwrap(), [], "nothing is due for ever");
}

#[tokio::test]
async fn an_unreadable_lease_is_refused_and_passed_over() {
    let scene = Scene::new().await;
    let tenant = TenantId::default();
    let [bad, good] = scene.leases;
    scene.damage(LEASES, bad.as_bytes());
    let store = scene.open();
    assert_eq!(store.lease(&tenant, bad).await.unwrap_err().reason(), Reason::StoreCorrupt);
    assert_eq!(store.standing(&tenant, bad, NOW).await.unwrap_err().reason(), Reason::StoreCorrupt);
    let renew = Event::RenewLease(Box::new(events::renew(&tenant, bad, "more")));
    assert_eq!(store.apply(renew, NOW).await.unwrap_err().reason(), Reason::StoreCorrupt);
    for task in [None, Some(scene.child)] {
        let page = store.leases(&LeaseQuery { task, ..LeaseQuery::default() }).await.unwrap();
        assert_eq!((page.items.len(), page.unreadable), (1, 1));
    }
    store.standing(&tenant, good, NOW).await.unwrap();

    store.apply(events::end_task(&tenant, scene.child), NOW).await.unwrap();
    let slice = Event::SettleTask(tenant.clone(), scene.child, 1);
    store.apply(slice, NOW).await.unwrap();
    let end = store.lease(&tenant, good).await.unwrap().unwrap().end().cloned();
    assert!(end.is_some(), "what cannot be read takes no place in a slice");
    settle(&store, NOW).await;
    assert_eq!(store.task(&tenant, scene.child).await.unwrap().unwrap().live_below, 0);
    settle(&store, NOW.plus(Duration::from_secs(301))).await;
    assert_eq!(store.lease(&tenant, bad).await.unwrap(), None, "set aside when it came up");
}

#[tokio::test]
async fn an_unreadable_parent_keeps_nothing_below_it_alive() {
    let scene = Scene::new().await;
    let tenant = TenantId::default();
    let [first, second] = scene.leases;
    scene.damage(TASKS, scene.parent.as_bytes());
    let store = scene.open();
    let plan = events::plan(&tenant, LeaseId::new(), scene.child);
    let refusal = store.apply(Event::PlanLease(Box::new(plan)), NOW).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::StoreCorrupt, "nothing is issued under what cannot be read");
    for event in [events::end_lease(&tenant, first, false), events::end_task(&tenant, scene.child)] {
        let done = store.apply(event, NOW).await.unwrap().into_outcome();
        assert!(matches!(done, Outcome::LeaseEnded(_) | Outcome::TaskEnded(_)));
    }
    settle(&store, NOW).await;
    assert!(store.lease(&tenant, second).await.unwrap().unwrap().end().is_some());
}

#[tokio::test]
async fn an_unreadable_task_lets_its_leases_end() {
    let scene = Scene::new().await;
    let tenant = TenantId::default();
    let [first, second] = scene.leases;
    scene.damage(TASKS, scene.child.as_bytes());
    let store = scene.open();
    assert_eq!(store.standing(&tenant, first, NOW).await.unwrap_err().reason(), Reason::StoreCorrupt);
    store.apply(events::end_lease(&tenant, first, true), NOW).await.unwrap();
    settle(&store, NOW.plus(Duration::from_secs(301))).await;
    assert!(store.lease(&tenant, second).await.unwrap().unwrap().end().is_some(), "expired in its time");
    settle(&store, NOW.plus(Duration::from_secs(3601))).await;
    assert_eq!(store.task(&tenant, scene.child).await.unwrap(), None, "set aside when it came up");
    assert!(store.task(&tenant, scene.parent).await.unwrap().unwrap().end().is_some());
}

/// It grants nothing, and people can be asked anew.
#[tokio::test]
async fn an_unreadable_approval_is_refused_and_set_aside() {
    let scene = Scene::new().await;
    let tenant = TenantId::default();
    let (bad, good) = (ApprovalId::new(), ApprovalId::new());
    let store = scene.open();
    for (id, digest) in [(bad, 1), (good, 2)] {
        let ask = Event::RequestApproval(Box::new(events::ask(&tenant, id, scene.child, digest)));
        store.apply(ask, NOW).await.unwrap();
        store.apply(events::vote(&tenant, id, "ann", Verdict::Approve), NOW).await.unwrap();
    }
    drop(store);
    scene.damage(APPROVALS, bad.as_bytes());
    let store = scene.open();
    let resting = |id: Option<ApprovalId>, digest| {
        let mut approved = events::approved(digest);
        approved.id = id;
        let base = events::plan(&tenant, LeaseId::new(), scene.child);
        Event::PlanLease(Box::new(PlanLease { approval: Some(approved), ..base }))
    };
    for (event, reason) in [
        (resting(Some(bad), 1), Reason::StoreCorrupt),
        (resting(None, 1), Reason::ApprovalRequired),
        (events::vote(&tenant, bad, "ben", Verdict::Deny), Reason::StoreCorrupt),
    ] {
        assert_eq!(store.apply(event, NOW).await.unwrap_err().reason(), reason);
    }
    assert_eq!(store.approval(&tenant, bad).await.unwrap_err().reason(), Reason::StoreCorrupt);
    let page = store.approvals(&ApprovalQuery::default()).await.unwrap();
    assert_eq!((page.items.len(), page.unreadable), (1, 1));
    store.apply(resting(None, 2), NOW).await.unwrap();

    let anew = Event::RequestApproval(Box::new(events::ask(&tenant, ApprovalId::new(), scene.child, 1)));
    let Outcome::Approval(anew) = store.apply(anew, NOW).await.unwrap().into_outcome() else {
        panic!("people are asked anew")
    };
    settle(&store, NOW.plus(Duration::from_secs(600))).await;
    assert_eq!(store.approval(&tenant, bad).await.unwrap(), None, "set aside when it came up");
    assert!(store.approval(&tenant, anew.id).await.unwrap().is_some());
    drop(store);
    let database = Database::open(scene.path()).unwrap();
    let read = database.begin_read().unwrap();
    let name = Table::Quarantine.name();
    let table = read.open_table(TableDefinition::<&[u8], &[u8]>::new(name)).unwrap();
    let kept: Vec<_> = table.iter().unwrap().map(|entry| entry.unwrap().0.value().to_vec()).collect();
    assert!(kept.len() == 1 && kept[0].starts_with(b"approvals") && kept[0].ends_with(bad.as_bytes()));
}
