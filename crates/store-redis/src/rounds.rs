//! How many rounds of fetching a transition and a look take. Each is a wait for the server on somebody's way to a credential.

use crate::{
    batch::attempt,
    draft::{Fetched, Key, Looking, Missing, Row},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};
use taskpass_lease::{Event, Limits};
use taskpass_store::{
    Backend, Committed, Due, Job, Ledger, Pending, Store as _, Work, conformance::events, tables::Read,
};
use taskpass_types::{HistoryId, LeaseId, Refusal, TaskId, TenantId, Timestamp};
use tokio::sync::watch;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Rows in a place that is far away.
#[derive(Default)]
struct Far {
    rows: Mutex<HashMap<Key, Row>>,
    rounds: AtomicUsize,
}

impl Far {
    fn fetch(&self, missing: Missing, fetched: &mut Fetched) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let rows = self.rows.lock();
        fetched.rows.extend(missing.rows.into_iter().map(|key| (key.clone(), rows.get(&key).cloned())));
        fetched.sweeps.extend(missing.sweeps.into_iter().map(|sweep| (sweep, Vec::new())));
    }
}

impl Backend for Far {
    async fn look<T: Send>(
        &self,
        at: impl Fn(&dyn Read) -> Result<T, Refusal> + Send + Sync,
    ) -> Result<T, Refusal> {
        let mut fetched = Fetched::default();
        loop {
            let looking = Looking::at(&fetched);
            let (result, missing) = (at(&looking), looking.into_missing());
            if missing.is_empty() {
                return result;
            }
            self.fetch(missing, &mut fetched);
        }
    }

    async fn apply(&self, event: Event, now: Timestamp) -> Result<Committed, Refusal> {
        let jobs = [Job::new(Work::Apply(event), now).0];
        let (mut fetched, mut missing) = (Fetched::default(), Missing::default());
        missing.rows.extend(jobs[0].foresee());
        loop {
            self.fetch(missing, &mut fetched);
            let (mut ran, still_missing) = attempt(&Limits::default(), &jobs, &fetched);
            if still_missing.is_empty() {
                for (key, change) in ran.drafted.changes {
                    match change {
                        Some(value) => drop(self.rows.lock().insert(key, Row { stamp: [0; 8], value })),
                        None => drop(self.rows.lock().remove(&key)),
                    }
                }
                return ran.results.remove(0).map(Pending::committed);
            }
            missing = still_missing;
        }
    }

    async fn apply_due(&self, _: Due, _: Timestamp) -> Result<Committed, Refusal> {
        panic!("nothing is due")
    }

    fn history(&self) -> HistoryId {
        HistoryId([0; 16])
    }

    fn mending(&self) -> watch::Receiver<bool> {
        watch::channel(false).1
    }

    fn denied(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    fn approval_changed(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

#[tokio::test]
async fn what_waits_for_a_credential_waits_for_few_rounds() {
    let store = Ledger::new(Far::default());
    let (tenant, task, lease) = (TenantId::default(), TaskId::new(), LeaseId::new());
    let rounds = || store.backend().rounds.swap(0, Ordering::Relaxed);
    let apply = async |event, what: &str, most| {
        store.apply(event, NOW).await.unwrap();
        assert_eq!(rounds(), most, "{what}");
    };
    let plan = |id| Event::PlanLease(Box::new(events::plan(&tenant, id, task)));
    apply(Event::SetPolicies(Box::new(events::set_policies("r1"))), "policies", 2).await;
    apply(Event::StartTask(Box::new(events::start(&tenant, task, None))), "a start", 1).await;
    apply(plan(lease), "the first plan under a task", 1).await;
    apply(plan(LeaseId::new()), "another plan", 1).await;
    store.standing(&tenant, lease, NOW).await.unwrap();
    assert_eq!(rounds(), 2, "the last look before a credential is handed out");
    apply(Event::RenewLease(Box::new(events::renew(&tenant, lease, "more"))), "a renewal", 2).await;
    store.standing(&tenant, lease, NOW).await.unwrap();
    assert_eq!(rounds(), 2, "the last look behind a renewal");
    apply(Event::CallTool(Box::new(events::call(&tenant, task, Some(lease)))), "a tool call", 2).await;
    // The third is for the place of its deny record, which the newest epoch tells.
    apply(events::end_lease(&tenant, lease, true), "an end", 3).await;
}
