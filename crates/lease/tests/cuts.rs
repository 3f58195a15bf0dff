//! Cuts and rechecks: what time does to a lease before it expires.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod common;
#[path = "common/scene.rs"]
mod scene;
#[path = "model/world.rs"]
mod world;

use common::{call, cut, plan, renew, secs};
use scene::{NOW, Scene, reason};
use std::time::Duration;
use taskpass_lease::{Event, Lease, LeaseState, Outcome, PlanLease, RenewLease};
use taskpass_types::{EndReason, LeaseId, Obligations, Reason, TenantId, Timestamp};

fn after(millis: u64) -> Timestamp {
    NOW.plus(Duration::from_millis(millis))
}

fn leased(scene: &mut Scene, obligations: Obligations) -> LeaseId {
    scene.plan(PlanLease { obligations, ..plan(LeaseId::new(), scene.task) }).unwrap().id
}

fn tick(scene: &mut Scene, lease: LeaseId) -> Outcome {
    scene.apply(Event::TickLease(TenantId::default(), lease)).unwrap().outcome
}

fn cut_at(scene: &mut Scene, lease: LeaseId, millis: u64) -> Outcome {
    scene.apply(Event::CutLease(cut(lease, after(millis)))).unwrap().outcome
}

#[test]
fn a_cut_only_comes_sooner() {
    let mut scene = Scene::new();
    let lease = leased(&mut scene, Obligations::default());
    for (wanted, kept) in [(200_000, 200_000), (250_000, 200_000), (100_500, 100_500), (200_000, 100_500)] {
        let Outcome::LeaseCut(found) = cut_at(&mut scene, lease, wanted) else { panic!("it lives") };
        assert_eq!(found.cut.as_ref().unwrap().at, after(kept));
        assert_eq!(found.due(&scene.world.limits), after(kept));
    }
    let renewed: Lease = scene.renew(renew(lease, "more")).unwrap();
    assert_eq!((renewed.expires_at, renewed.last_expiry), (after(100_000), after(300_000)));
    scene.now = after(99_499);
    scene.renew(renew(lease, "last")).unwrap();
    scene.call(call(scene.task, Some(lease))).unwrap();
    // Less than a second is left; nothing is worth it.
    scene.now = after(99_500);
    assert_eq!(reason(scene.renew(renew(lease, "late"))), Reason::LeaseEnded);
    scene.now = after(100_499);
    assert!(matches!(tick(&mut scene, lease), Outcome::Nothing));
    scene.now = after(100_500);
    assert_eq!(
        reason(scene.call(call(scene.task, Some(lease)))),
        Reason::LeaseEnded,
        "also before it is marked"
    );
    let Outcome::LeaseEnded(ended) = tick(&mut scene, lease) else { panic!("it is due") };
    let (end, deny) = (ended.record.end().unwrap(), ended.deny.unwrap());
    assert_eq!(
        (end.reason, end.by.as_str(), end.epoch),
        (EndReason::Drifted, "broker/drift", Some(deny.epoch))
    );
    assert!(deny.until > after(300_000), "the first credential lives until then");
    assert_eq!(scene.world.tasks[&scene.task].live_below, 0);
    assert!(matches!(cut_at(&mut scene, lease, 200_000), Outcome::AlreadyEnded(_)));
}

#[test]
fn a_cut_in_the_past_is_an_end() {
    for back in [0, 1, 1_000_000] {
        let mut scene = Scene::new();
        let lease = leased(&mut scene, Obligations::default());
        let at = Timestamp::from_millis(NOW.as_millis() - back);
        let effects = scene.apply(Event::CutLease(cut(lease, at))).unwrap();
        assert!(matches!(effects.outcome, Outcome::LeaseEnded(ended) if ended.deny.is_some()));
        assert!(matches!(&scene.world.leases[&lease].state, LeaseState::Ended(end) if end.at == NOW));
        scene.plan(plan(LeaseId::new(), scene.task)).unwrap();
    }
    let unknown = cut(LeaseId::new(), NOW);
    assert_eq!(reason(Scene::new().apply(Event::CutLease(unknown))), Reason::LeaseNotFound);
}

/// An end that comes by itself needs no deny record, cut or not.
#[test]
fn a_cut_after_the_expiry_waits_for_a_renewal() {
    let mut scene = Scene::new();
    let [alone, renewed] = [(); 2].map(|()| leased(&mut scene, Obligations::default()));
    for lease in [alone, renewed] {
        assert!(matches!(cut_at(&mut scene, lease, 400_000), Outcome::LeaseCut(_)));
    }
    scene.now = after(250_000);
    assert_eq!(scene.renew(renew(renewed, "more")).unwrap().expires_at, after(400_000));
    scene.now = after(300_000);
    let Outcome::LeaseEnded(ended) = tick(&mut scene, alone) else { panic!("it expired") };
    assert_eq!((ended.record.end().unwrap().reason, ended.deny), (EndReason::Expired, None));
    assert!(matches!(tick(&mut scene, renewed), Outcome::Nothing));
}

#[test]
fn a_recheck_comes_due_again_and_again() {
    let mut scene = Scene::new();
    let every = |secs_: u64| Obligations { recheck: Some(secs(secs_)), ..Obligations::default() };
    let lease = leased(&mut scene, every(60));
    let due = |scene: &Scene| scene.world.leases[&lease].due(&scene.world.limits);
    assert_eq!(due(&scene), after(60_000));
    scene.now = after(59_999);
    assert!(matches!(tick(&mut scene, lease), Outcome::Nothing));
    // A tick that comes late does not make the next one early.
    for (at, next) in [(60_000, 120_000), (150_000, 210_000)] {
        scene.now = after(at);
        assert!(matches!(tick(&mut scene, lease), Outcome::RecheckDue(found) if found.id == lease));
        assert_eq!(due(&scene), after(next));
        assert!(matches!(tick(&mut scene, lease), Outcome::Nothing));
    }
    scene.renew(RenewLease { obligations: every(100), ..renew(lease, "more") }).unwrap();
    assert_eq!(due(&scene), after(250_000));
    scene.renew(renew(lease, "no-more")).unwrap();
    assert_eq!(due(&scene), after(450_000));
}
