//! Policies on disk: a valid change is in force by itself, an invalid one is kept out and said so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use support::{POLICY, World, meddled::Meddled};
use taskpass_broker::{PolicyFiles, PolicyStatus, Reconcilers};
use taskpass_lease::Event;
use taskpass_types::{EndReason, Reason, Refusal, TenantId};

const POLL: Duration = Duration::from_millis(5);

fn write(dir: &Path, text: &str) {
    // As an editor does: whole or not at all.
    std::fs::write(dir.join("new"), text).unwrap();
    std::fs::rename(dir.join("new"), dir.join("test.cedar")).unwrap();
}

async fn until(world: &World, reached: impl Fn(&PolicyStatus) -> bool) -> PolicyStatus {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let status = world.broker.policy_status(&world.caller("operator")).unwrap();
            if reached(&status) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("the reconciler should have seen the change by now")
}

#[tokio::test]
async fn an_invalid_set_is_kept_out_and_a_valid_one_reaches_live_leases() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), POLICY);
    let files = PolicyFiles::new(dir.path().to_owned(), POLL, dir.path().join("seen"));
    let reconcilers = Reconcilers::start(&world.broker, Some(files));
    let task = world.task("ci/bot").await;
    let lease = world.issue("ci/bot", task.id).await.unwrap().lease.id;
    let before = world.broker.policy_status(&world.caller("operator")).unwrap();

    write(dir.path(), "permit (principal, action, resource) when { context.actoin == \"x\" };");
    let refused = until(&world, |status| status.refused.is_some()).await;
    assert_eq!(refused.revision, before.revision, "the policies before stay in force");
    assert!(refused.refused.unwrap().contains("test.cedar"));
    assert!(world.issue("ci/bot", task.id).await.is_ok(), "and go on to serve");

    write(dir.path(), "forbid (principal, action, resource);");
    let adopted = until(&world, |status| status.revision != before.revision).await;
    assert_eq!(adopted.refused, None);
    let drifted = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let lease = world.store.lease(&TenantId::default(), lease).await.unwrap().unwrap();
            if let Some(end) = lease.end() {
                return end.reason;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(drifted.await.unwrap(), EndReason::Drifted);
    assert_eq!(world.issue("ci/bot", task.id).await.err().unwrap().reason(), Reason::PolicyDenied);
    reconcilers.stop().await;
    let codes: Vec<_> = world.entries().await.into_iter().map(|entry| entry.code).collect();
    for code in ["TP402F", "TP401I", "TP401S", "TP203S"] {
        assert!(codes.iter().any(|seen| seen == code), "{code} is missing: {codes:?}");
    }
}

#[tokio::test]
async fn a_valid_edit_waits_for_the_store_and_is_not_lost() {
    let full = Arc::new(AtomicBool::new(false));
    let disk = full.clone();
    let world = World::with(move |store| {
        Meddled::before(store, move |event| match event {
            Event::SetPolicies(_) if disk.load(Ordering::SeqCst) => {
                Err(Refusal::new(Reason::StoreUnavailable, "no space left"))
            }
            _ => Ok(()),
        })
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), POLICY);
    let files = PolicyFiles::new(dir.path().to_owned(), POLL, dir.path().join("seen"));
    let before = world.broker.policy_status(&world.caller("operator")).unwrap();
    // Edited before anyone looks, as between the load at the start and the first round.
    write(dir.path(), "forbid (principal, action, resource);");
    full.store(true, Ordering::SeqCst);
    let reconcilers = Reconcilers::start(&world.broker, Some(files));
    let waiting = until(&world, |status| status.refused.is_some()).await;
    assert_eq!(waiting.revision, before.revision, "the policies before stay in force");
    assert!(waiting.refused.unwrap().contains("no space left"));
    full.store(false, Ordering::SeqCst);
    let adopted = until(&world, |status| status.revision != before.revision).await;
    assert_eq!(adopted.refused, None);
    reconcilers.stop().await;
    let codes: Vec<_> = world.entries().await.into_iter().map(|entry| entry.code).collect();
    assert!(codes.iter().any(|code| code == "TP401F"), "{codes:?}");
    assert!(!codes.iter().any(|code| code == "TP402F"), "they were valid all the time: {codes:?}");
}

#[tokio::test]
async fn policies_are_for_operators_to_see() {
    let world = World::new().await;
    let refused = world.broker.policy_status(&world.caller("ci/bot")).unwrap_err();
    assert_eq!(refused.reason(), Reason::NotPermitted);
}
