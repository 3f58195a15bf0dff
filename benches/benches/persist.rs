//! What waits for the disk: the durable intent and its audit record, alone and in company.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark may panic; criterion's macros make public items"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use std::sync::Arc;
use taskpass_audit::{Action, Actor, AuditLog, Event as Entry, Recorder};
use taskpass_lease::{Event, Limits};
use taskpass_store::{Ledger, Store, conformance::events};
use taskpass_store_redb::RedbBackend;
use taskpass_types::{AgentId, Clock as _, LeaseId, SystemClock, TaskId, TenantId};
use tokio::runtime::Runtime;

/// Callers at a time.
const CROWDS: [usize; 2] = [1, 64];

fn plan(criterion: &mut Criterion) {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let limits = Limits { live_per_task: u32::MAX, issued_per_task: u32::MAX, ..Limits::default() };
    let store = Ledger::new(RedbBackend::open(dir.path().join("store.redb"), limits).unwrap());
    let (tenant, task, clock) = (TenantId::default(), TaskId::new(), SystemClock::default());
    runtime.block_on(async {
        store.apply(Event::SetPolicies(Box::new(events::set_policies("r1"))), clock.now()).await.unwrap();
        let start = Event::StartTask(Box::new(events::start(&tenant, task, None)));
        store.apply(start, clock.now()).await.unwrap();
    });
    let plan = || async {
        let plan = Event::PlanLease(Box::new(events::plan(&tenant, LeaseId::new(), task)));
        store.apply(plan, clock.now()).await.unwrap()
    };
    let mut group = criterion.benchmark_group("store/plan");
    for crowd in CROWDS {
        group.throughput(Throughput::Elements(u64::try_from(crowd).unwrap()));
        group.bench_function(format!("{crowd} at a time"), |b| {
            b.iter(|| runtime.block_on(join_all((0..crowd).map(|_| plan()))));
        });
    }
}

fn record(criterion: &mut Criterion) {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let log = AuditLog::open(&dir.path().join("audit"), Arc::new(SystemClock::default())).unwrap();
    let agent = AgentId::new("dev/bench").unwrap();
    let entry = || {
        let actor = Actor::Agent(agent.clone());
        Entry::intent(&TenantId::default(), Action::LeaseIssue, actor).lease(LeaseId::new())
    };
    let mut group = criterion.benchmark_group("audit/record");
    for crowd in CROWDS {
        group.throughput(Throughput::Elements(u64::try_from(crowd).unwrap()));
        group.bench_function(format!("{crowd} at a time"), |b| {
            b.iter(|| runtime.block_on(join_all((0..crowd).map(|_| log.record(entry())))));
        });
    }
}

criterion_group!(benches, plan, record);
criterion_main!(benches);
