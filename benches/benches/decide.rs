//! What is computed before anything is written: the decision and the transition.

#![allow(
    missing_docs,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may panic; criterion's macros make public items"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::{collections::BTreeMap, hint::black_box, time::Duration};
use taskpass_bench::fixtures;
use taskpass_lease::{Event, Limits, Outcome, View, step};
use taskpass_policy::{AgentFacts, Policies, Request, ResourceFacts, TaskFacts, Verb};
use taskpass_store::conformance::events;
use taskpass_types::{
    ActionName, AgentId, CredentialKind, Initiator, LeaseId, Owner, ResourceName, Revocability, TaskId,
    TaskKind, TenantId, Timestamp, Ttl,
};

/// The time per decision must not grow with the number of policies.
fn decide(criterion: &mut Criterion) {
    let labels = BTreeMap::new();
    let attested = ["spiffe:td:bench.test".to_owned()];
    let id = AgentId::new("dev/bench").unwrap();
    let agent = AgentFacts::new(&id, &Owner::new("maya@acme.test").unwrap(), &[], &labels, &attested);
    let resource = ResourceFacts::new(&ResourceName::new("demo-api").unwrap(), &labels, None, None);
    let initiator = Initiator::new("agent/dev/bench").unwrap();
    let task = TaskFacts::new(&TaskKind::new("task").unwrap(), "measure", &initiator, 0, &labels);
    let action = ActionName::new("invoice:read").unwrap();
    let request = Request {
        agent: &agent,
        verb: Verb::Issue,
        resource: &resource,
        action: &action,
        kind: CredentialKind::Jwt,
        revocability: Revocability::Bounded,
        ttl: Ttl::from_secs(300).unwrap(),
        bound: true,
        task: &task,
        attestation_age: Duration::from_secs(5),
    };
    let mut group = criterion.benchmark_group("decide");
    for count in [10, 1_000, 10_000] {
        let policies = Policies::from_sources(fixtures::policies(count)).unwrap();
        assert!(policies.decide(&request).allows());
        group
            .bench_function(format!("{count} policies"), |b| b.iter(|| policies.decide(black_box(&request))));
    }
}

/// The state machine alone: planning one lease.
fn plan(criterion: &mut Criterion) {
    let (tenant, limits, now) = (TenantId::default(), Limits::default(), Timestamp::from_secs(1_790_000_000));
    let start = Event::StartTask(Box::new(events::start(&tenant, TaskId::new(), None)));
    let Outcome::Running(task) = step(View::default(), &start, &limits, now).unwrap().outcome else {
        panic!("the task does not run");
    };
    let event = Event::PlanLease(Box::new(events::plan(&tenant, LeaseId::new(), task.id)));
    let view = || View {
        task: Some((*task).clone()),
        policy_revision: Some(events::revision("r1")),
        ..View::default()
    };
    criterion.bench_function("lease/plan", |b| {
        b.iter_batched(
            view,
            |view| step(view, black_box(&event), &limits, now).unwrap(),
            criterion::BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, decide, plan);
criterion_main!(benches);
