//! Cuts and rechecks.

use super::{
    Home, events,
    world::{World, refused},
};
use crate::{DueWhat, Store};
use std::time::Duration;
use taskpass_lease::Outcome;
use taskpass_types::{DenySubject, EndReason, Epoch, LeaseId, Obligations, Reason};

/// The schedule knows the cut; nothing stands after it, marked or not.
pub async fn cuts_come_due_and_deny<H: Home>(home: H) {
    let world = World::new(home).await;
    let task = world.start().await.id;
    let (cut, other) = (world.plan(task).await.unwrap().id, world.plan(task).await.unwrap().id);
    let at = world.now.plus(Duration::from_secs(100));
    let done = world.apply(events::cut_lease(&world.tenant, cut, at)).await.unwrap();
    assert!(matches!(done.outcome(), Outcome::LeaseCut(_)));
    assert_eq!(world.epoch().await, Epoch::default());
    let mut world = world.crash();
    assert!(world.renew(cut, "renew-1").await.unwrap().lease().expires_at <= at);
    world.pass(99);
    assert_eq!(world.due().await, []);
    world.pass(1);
    assert_eq!(refused(world.store.standing(&world.tenant, cut, world.now).await), Reason::LeaseEnded);
    let mut denied = world.store.denied();
    denied.mark_unchanged();
    world.settle().await;
    assert!(denied.has_changed().unwrap());
    let world = world.crash();
    let denies = world.store.denies_after(&world.tenant, Epoch::default(), 10).await.unwrap();
    let told: Vec<_> = denies.records.into_iter().map(|deny| (deny.subject, deny.reason)).collect();
    assert_eq!(told, [(DenySubject::Lease(cut), EndReason::Drifted)]);
    assert_eq!(world.lease_end(cut).await.unwrap().by, "broker/drift");
    assert_eq!(world.lease_end(other).await, None);
    assert_eq!(world.task(task).await.unwrap().live_below, 1);

    let past = world.apply(events::cut_lease(&world.tenant, other, world.now)).await.unwrap();
    assert!(matches!(past.outcome(), Outcome::LeaseEnded(ended) if ended.deny.is_some()));
    assert_eq!(world.epoch().await, Epoch(2));
}

/// A recheck that nobody acts on is due again, also in another process.
pub async fn rechecks_come_due_again<H: Home>(home: H) {
    let mut world = World::new(home).await;
    let task = world.start().await.id;
    let mut plan = events::plan(&world.tenant, LeaseId::new(), task);
    plan.obligations = Obligations { recheck: Some(events::secs(60)), ..Obligations::default() };
    let lease = world.plan_as(plan).await.unwrap().lease().id;
    for _ in 0..4 {
        world.pass(59);
        assert_eq!(world.due().await, []);
        world.pass(1);
        let due = world.due().await;
        let what = DueWhat::Lease(world.tenant.clone(), lease);
        assert_eq!(due.iter().map(|due| &due.what).collect::<Vec<_>>(), [&what]);
        for due in due {
            let done = world.store.apply_due(due, world.now).await.unwrap();
            assert!(matches!(done.outcome(), Outcome::RecheckDue(found) if found.id == lease));
        }
        world = world.crash();
    }
    world.pass(61);
    world.settle().await;
    assert_eq!(world.lease_end(lease).await.unwrap().reason, EndReason::Expired, "its expiry is not missed");
    world.end_task(task).await;
    world.settle().await;
    world.pass(365 * 24 * 3600);
    world.settle().await;
    assert_eq!(world.due().await, [], "nothing is left behind");
}
