//! One record that cannot be read stops nothing else, and never the end of anything; whichever broker looks at it. The
//! embedded store is held to the same.

use crate::world::{Fleet, NOW, end_task, keys, kill, plan, server};
use std::time::Duration;
use taskpass_lease::{Event, Outcome, PlanLease, Verdict};
use taskpass_servers::{Reply, Server};
use taskpass_store::{ApprovalQuery, LeaseQuery, Store as _, conformance::events};
use taskpass_store_redis::RedisStore;
use taskpass_types::{ApprovalId, LeaseId, Reason, Refusal, TaskId, TenantId, Timestamp};

/// A parent, its child, and two leases of the child.
struct Scene {
    server: Server,
    fleet: Fleet,
    tenant: TenantId,
    child: TaskId,
    leases: [LeaseId; 2],
}

impl Scene {
    async fn new() -> Self {
        let server = server(&[]).await;
        let fleet = Fleet::at(&server).await;
        let (tenant, child) = (TenantId::default(), TaskId::new());
        let start = Box::new(events::start(&tenant, child, Some(fleet.task)));
        fleet.brokers[0].apply(Event::StartTask(start), NOW).await.unwrap();
        let [one, two] = &fleet.brokers;
        let leases = [plan(one, child).await.unwrap(), plan(two, child).await.unwrap()];
        Self { server, fleet, tenant, child, leases }
    }

    /// Cuts the last byte off a record.
    async fn damage(&self, table: &str, id: &[u8; 16]) {
        // The name of a row is what of the id is not in the name of its page.
        let field = &id[5..];
        for page in keys(&self.server, &format!("{{taskpass}}:{table}:")).await {
            if let Reply::Bytes(value) = self.server.command(&[b"HGET".as_slice(), &page, field]).await {
                let (_, cut) = value.split_last().unwrap();
                self.server.command(&[b"HSET".as_slice(), &page, field, cut]).await.accepted();
                return;
            }
        }
        panic!("there is no such record");
    }

    async fn both<T>(&self, look: impl AsyncFn(&RedisStore) -> T) -> [T; 2] {
        let [one, two] = &self.fleet.brokers;
        [look(one).await, look(two).await]
    }
}

fn corrupt<T: std::fmt::Debug>(looks: [Result<T, Refusal>; 2]) {
    for look in looks {
        assert_eq!(look.unwrap_err().reason(), Reason::StoreCorrupt);
    }
}

async fn settle(store: &RedisStore, now: Timestamp) {
    for _ in 0..100 {
        for due in store.due(now, 100).await.unwrap() {
            store.apply_due(due, now).await.unwrap();
        }
    }
    assert_eq!(store.due(now, 100).await.unwrap(), [], "nothing is due for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_lease_is_refused_and_passed_over() {
    let scene = Scene::new().await;
    let (tenant, [bad, good], [one, two]) = (&scene.tenant, scene.leases, &scene.fleet.brokers);
    scene.damage("leases", bad.as_bytes()).await;
    corrupt(scene.both(async |store| store.lease(tenant, bad).await).await);
    corrupt(scene.both(async |store| store.standing(tenant, bad, NOW).await).await);
    let renew = || Event::RenewLease(Box::new(events::renew(tenant, bad, "more")));
    corrupt(scene.both(async |store| store.apply(renew(), NOW).await).await);
    let query = LeaseQuery { task: Some(scene.child), ..LeaseQuery::default() };
    for page in scene.both(async |store| store.leases(&query).await.unwrap()).await {
        assert_eq!((page.items.len(), page.unreadable), (1, 1));
    }
    two.standing(tenant, good, NOW).await.unwrap();

    end_task(one, scene.child).await.unwrap();
    two.apply(Event::SettleTask(tenant.clone(), scene.child, 1), NOW).await.unwrap();
    let end = one.lease(tenant, good).await.unwrap().unwrap().end().cloned();
    assert!(end.is_some(), "what cannot be read takes no place in a slice");
    settle(one, NOW).await;
    assert_eq!(two.task(tenant, scene.child).await.unwrap().unwrap().live_below, 0);
    settle(two, NOW.plus(Duration::from_secs(301))).await;
    assert_eq!(one.lease(tenant, bad).await.unwrap(), None, "set aside when it came up");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_parent_keeps_nothing_below_it_alive() {
    let scene = Scene::new().await;
    let (tenant, [first, second], [one, two]) = (&scene.tenant, scene.leases, &scene.fleet.brokers);
    scene.damage("tasks", scene.fleet.task.as_bytes()).await;
    corrupt(scene.both(async |store| plan(store, scene.child).await).await);
    assert!(matches!(kill(one, first).await.unwrap(), Outcome::LeaseEnded(_)));
    assert!(matches!(end_task(two, scene.child).await.unwrap(), Outcome::TaskEnded(_)));
    settle(one, NOW).await;
    assert!(two.lease(tenant, second).await.unwrap().unwrap().end().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_task_lets_its_leases_end() {
    let scene = Scene::new().await;
    let (tenant, [first, second], [one, two]) = (&scene.tenant, scene.leases, &scene.fleet.brokers);
    scene.damage("tasks", scene.child.as_bytes()).await;
    corrupt(scene.both(async |store| store.standing(tenant, first, NOW).await).await);
    one.apply(events::end_lease(tenant, first, true), NOW).await.unwrap();
    settle(two, NOW.plus(Duration::from_secs(301))).await;
    assert!(one.lease(tenant, second).await.unwrap().unwrap().end().is_some(), "expired in its time");
    settle(one, NOW.plus(Duration::from_secs(3601))).await;
    assert_eq!(two.task(tenant, scene.child).await.unwrap(), None, "set aside when it came up");
    assert!(two.task(tenant, scene.fleet.task).await.unwrap().unwrap().end().is_some());
}

/// It grants nothing, and people can be asked anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_approval_is_refused_and_set_aside() {
    let scene = Scene::new().await;
    let (tenant, [one, two]) = (&scene.tenant, &scene.fleet.brokers);
    let (bad, good) = (ApprovalId::new(), ApprovalId::new());
    for (id, digest) in [(bad, 1), (good, 2)] {
        let ask = Event::RequestApproval(Box::new(events::ask(tenant, id, scene.child, digest)));
        one.apply(ask, NOW).await.unwrap();
        two.apply(events::vote(tenant, id, "ann", Verdict::Approve), NOW).await.unwrap();
    }
    scene.damage("approvals", bad.as_bytes()).await;
    let resting = |id: Option<ApprovalId>, digest| {
        let mut approved = events::approved(digest);
        approved.id = id;
        let base = events::plan(tenant, LeaseId::new(), scene.child);
        Event::PlanLease(Box::new(PlanLease { approval: Some(approved), ..base }))
    };
    for (event, reason) in [
        (resting(Some(bad), 1), Reason::StoreCorrupt),
        (resting(None, 1), Reason::ApprovalRequired),
        (events::vote(tenant, bad, "ben", Verdict::Deny), Reason::StoreCorrupt),
    ] {
        for store in &scene.fleet.brokers {
            assert_eq!(store.apply(event.clone(), NOW).await.unwrap_err().reason(), reason);
        }
    }
    corrupt(scene.both(async |store| store.approval(tenant, bad).await).await);
    let page = two.approvals(&ApprovalQuery::default()).await.unwrap();
    assert_eq!((page.items.len(), page.unreadable), (1, 1));
    two.apply(resting(None, 2), NOW).await.unwrap();

    let anew = Event::RequestApproval(Box::new(events::ask(tenant, ApprovalId::new(), scene.child, 1)));
    let Outcome::Approval(anew) = one.apply(anew, NOW).await.unwrap().into_outcome() else {
        panic!("people are asked anew")
    };
    settle(two, NOW.plus(Duration::from_secs(600))).await;
    assert_eq!(one.approval(tenant, bad).await.unwrap(), None, "set aside when it came up");
    assert!(one.approval(tenant, anew.id).await.unwrap().is_some());
    let Reply::List(kept) = scene.server.command(&["HKEYS", "{taskpass}:quarantine:"]).await else {
        panic!("nothing is kept")
    };
    let [Reply::Bytes(key)] = kept.as_slice() else { panic!("{kept:?}") };
    assert!(key.starts_with(b"approvals") && key.ends_with(bad.as_bytes()));
}
