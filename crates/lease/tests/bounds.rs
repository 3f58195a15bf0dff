//! The edges of time: one second left, a millisecond too late, the most that is allowed and one more, the ends of `u64`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;
#[path = "model/world.rs"]
mod world;

use common::{NEVER, plan, renew, revision, secs, start};
use std::time::Duration;
use taskpass_lease::{EndTask, Event, Lease, Limits, Outcome, PlanLease, RenewLease, StartTask};
use taskpass_types::{
    CredentialKind, EndReason, LeaseId, Obligations, Reason, Refusal, TaskId, TenantId, Timestamp, Ttl,
};
use world::World;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn millis(at: Timestamp, offset: i64) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_add_signed(offset))
}

/// A world with one task of one hour.
fn world() -> (World, TaskId) {
    let mut world = World { policy: Some(revision("r1")), ..World::default() };
    let task = begin(&mut world, start(TaskId::new(), None), NOW).unwrap();
    (world, task)
}

fn begin(world: &mut World, start: StartTask, now: Timestamp) -> Result<TaskId, Refusal> {
    let id = start.id;
    world.apply(&Event::StartTask(Box::new(start)), now).map(|_| id)
}

fn issue(world: &mut World, plan: PlanLease, now: Timestamp) -> Result<Lease, Refusal> {
    let effects = world.apply(&Event::PlanLease(Box::new(plan)), now)?;
    let Outcome::Planned(lease) = effects.outcome else { panic!("a new request plans a new lease") };
    Ok(*lease)
}

fn again(world: &mut World, renew: RenewLease, now: Timestamp) -> Result<Lease, Refusal> {
    let effects = world.apply(&Event::RenewLease(Box::new(renew)), now)?;
    let Outcome::Renewed(lease) = effects.outcome else { panic!("a new request renews") };
    Ok(*lease)
}

fn reason<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Reason {
    result.unwrap_err().reason()
}

fn no_longer_than(max: u64) -> Obligations {
    Obligations { max_ttl: Some(secs(max)), ..Obligations::default() }
}

#[test]
fn a_lease_ends_with_the_first_thing_that_ends() {
    let (mut world, task) = world();
    let base = || plan(LeaseId::new(), task);
    let deadline = NOW.plus(Duration::from_secs(3600));
    let cases: [(PlanLease, Timestamp, Timestamp); 5] = [
        (base(), NOW, NOW.plus(Duration::from_secs(300))),
        (PlanLease { obligations: no_longer_than(60), ..base() }, NOW, NOW.plus(Duration::from_secs(60))),
        (
            PlanLease { evidence_expires_at: millis(NOW, 90_999), ..base() },
            NOW,
            NOW.plus(Duration::from_secs(90)),
        ),
        (base(), millis(deadline, -100_000), deadline),
        (base(), millis(NOW, 999), NOW.plus(Duration::from_secs(300))),
    ];
    for (plan, now, expected) in cases {
        assert_eq!(issue(&mut world, plan, now).unwrap().expires_at, expected);
    }
}

#[test]
fn the_last_second_of_a_task() {
    let deadline = NOW.plus(Duration::from_secs(3600));
    for (before, allowed) in [(2_000, true), (1_000, true), (999, false), (1, false), (0, false), (-1, false)]
    {
        let (mut world, task) = world();
        let result = issue(&mut world, plan(LeaseId::new(), task), millis(deadline, -before));
        match result {
            Ok(lease) => assert!(allowed && lease.expires_at == deadline, "{before} ms before the deadline"),
            Err(refusal) => {
                assert!(!allowed, "{before} ms before the deadline: {refusal:?}");
                assert_eq!(refusal.reason(), Reason::TaskEnded);
            }
        }
    }
}

#[test]
fn the_last_second_of_the_evidence() {
    for (left, allowed) in [(2_000, true), (1_000, true), (999, false), (0, false), (-5_000, false)] {
        let (mut world, task) = world();
        let plan = PlanLease { evidence_expires_at: millis(NOW, left), ..plan(LeaseId::new(), task) };
        match issue(&mut world, plan, NOW) {
            Ok(_) => assert!(allowed, "{left} ms of evidence"),
            Err(refusal) => {
                assert!(!allowed, "{left} ms of evidence: {refusal:?}");
                assert_eq!(refusal.reason(), Reason::AttestationExpired);
            }
        }
    }
}

#[test]
fn the_last_second_of_a_lease() {
    for (before, allowed) in
        [(2_000, true), (1_001, true), (1_000, false), (999, false), (0, false), (-1, false)]
    {
        let (mut world, task) = world();
        let lease = issue(&mut world, plan(LeaseId::new(), task), NOW).unwrap();
        let result = again(&mut world, renew(lease.id, "once-more"), millis(lease.last_expiry, -before));
        match result {
            Ok(renewed) => assert!(allowed && renewed.expires_at > lease.expires_at, "{before} ms left"),
            Err(refusal) => {
                assert!(!allowed, "{before} ms left: {refusal:?}");
                assert_eq!(refusal.reason(), Reason::LeaseEnded);
            }
        }
    }
}

#[test]
fn the_most_that_may_be_asked_for() {
    let limits = Limits::default();
    for kind in [CredentialKind::Jwt, CredentialKind::X509] {
        let (mut world, task) = world();
        let max = limits.max_ttl(kind).as_secs();
        let ask = |ttl| PlanLease { kind, ttl: secs(ttl), ..plan(LeaseId::new(), task) };
        let lease = issue(&mut world, ask(max), NOW).unwrap();
        assert_eq!(lease.expires_at.since(NOW).as_secs(), max);
        assert_eq!(reason(issue(&mut world, ask(max + 1), NOW)), Reason::TtlOutOfRange);
        let more = RenewLease { ttl: secs(max + 1), ..renew(lease.id, "more") };
        assert_eq!(reason(again(&mut world, more, NOW)), Reason::TtlOutOfRange);
    }
    let (mut world, _) = world();
    let max = limits.task_max.as_secs();
    let ask = |ttl| StartTask { ttl: secs(ttl), ..start(TaskId::new(), None) };
    begin(&mut world, ask(max), NOW).unwrap();
    assert_eq!(reason(begin(&mut world, ask(max + 1), NOW)), Reason::TtlOutOfRange);
}

#[test]
fn ten_thousand_renewals_never_pass_the_deadline() {
    let (mut world, task) = world();
    let deadline = NOW.plus(Duration::from_secs(3600));
    let lease = issue(&mut world, plan(LeaseId::new(), task), NOW).unwrap().id;
    let mut now = NOW;
    let mut renewed = 0;
    for turn in 0..10_000 {
        now = millis(now, 350 + turn % 29);
        match again(&mut world, renew(lease, &format!("turn-{turn}")), now) {
            Ok(lease) => {
                assert!(lease.expires_at <= deadline && lease.last_expiry <= deadline);
                renewed += 1;
            }
            Err(refusal) => assert!(deadline.since(now).as_secs() <= 1, "{refusal:?} at {now}"),
        }
    }
    assert!(renewed > 9_000);
}

#[test]
fn silence_is_three_missed_heartbeats() {
    let (mut world, _) = world();
    let task = begin(&mut world, StartTask { heartbeat: Some(secs(10)), ..start(TaskId::new(), None) }, NOW)
        .unwrap();
    let asked = |world: &mut World, at| issue(world, plan(LeaseId::new(), task), millis(NOW, at));
    asked(&mut world, 29_999).unwrap();
    assert_eq!(reason(asked(&mut world, 30_000)), Reason::TaskEnded);
}

/// Nothing overflows, and what saturates is expired, never endless.
#[test]
fn the_ends_of_time() {
    let edges = [0, 1, 999, 1_000, i64::MAX as u64, u64::MAX - 1_000, u64::MAX - 1, u64::MAX];
    for now in edges.map(Timestamp::from_millis) {
        let mut world = World { policy: Some(revision("r1")), ..World::default() };
        let longest = secs(Limits::default().task_max.as_secs());
        let begun = StartTask {
            heartbeat: Some(secs(u64::from(Ttl::MAX_SECS))),
            ttl: longest,
            ..start(TaskId::new(), None)
        };
        let task = begin(&mut world, begun, now).unwrap();
        let far = now.as_millis() > u64::MAX - 1_000;
        match issue(&mut world, plan(LeaseId::new(), task), now) {
            Ok(lease) => assert!(!far && lease.expires_at > now && lease.expires_at < NEVER),
            Err(refusal) => assert!(far, "{refusal:?} at {}", now.as_millis()),
        }
        for later in edges.map(Timestamp::from_millis) {
            drop(world.apply(&Event::TickTask(TenantId::default(), task), later));
        }
        let end = EndTask {
            tenant: TenantId::default(),
            task,
            reason: EndReason::Killed,
            by: "operator".repeat(100),
        };
        world.apply(&Event::EndTask(end), now).unwrap();
        assert_eq!(reason(issue(&mut world, plan(LeaseId::new(), task), now)), Reason::TaskEnded);
    }
}

/// The kill names its author in a bounded way.
#[test]
fn a_long_name_is_cut() {
    let (mut world, task) = world();
    let end = EndTask { tenant: TenantId::default(), task, reason: EndReason::Killed, by: "é".repeat(1000) };
    let effects = world.apply(&Event::EndTask(end), NOW).unwrap();
    assert_eq!(effects.deny.unwrap().by.chars().count(), 200);
}

/// A later, shorter credential made the repeat pointless; it is refused rather than signed expired.
#[test]
fn a_repeat_is_never_born_expired() {
    let (mut world, task) = world();
    let first = plan(LeaseId::new(), task);
    let lease = issue(&mut world, first.clone(), NOW).unwrap().id;
    let short = RenewLease { ttl: secs(5), ..renew(lease, "short") };
    again(&mut world, short.clone(), NOW).unwrap();
    for (at, allowed) in [(4_999, true), (5_000, false), (100_000, false)] {
        for event in [Event::PlanLease(Box::new(first.clone())), Event::RenewLease(Box::new(short.clone()))] {
            let result = world.apply(&event, millis(NOW, at));
            assert_eq!(result.is_ok(), allowed, "{at} ms later: {result:?}");
        }
    }
    again(&mut world, renew(lease, "longer"), millis(NOW, 100_000)).unwrap();
}

/// Content is told apart by its digest; what the record itself knows is compared as well.
#[test]
fn a_repeat_for_another_task_is_another_request() {
    let (mut world, task) = world();
    let other = begin(&mut world, start(TaskId::new(), None), NOW).unwrap();
    let first = plan(LeaseId::new(), task);
    issue(&mut world, first.clone(), NOW).unwrap();
    let crossed = Event::PlanLease(Box::new(PlanLease { task: other, ..first }));
    assert_eq!(reason(world.apply(&crossed, NOW)), Reason::RequestIdReused);
}
