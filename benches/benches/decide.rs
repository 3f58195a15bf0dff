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
use taskpass_policy::{AgentFacts, Policies, Request, ResourceFacts, TaskFacts, UserFacts, Verb};
use taskpass_store::conformance::events;
use taskpass_types::{
    ActionName, AgentId, Counters, CredentialKind, LeaseId, ResourceName, Revocability, TaskId, TaskKind,
    TenantId, Timestamp, Ttl,
};

/// The time per decision must not grow with the number of policies. Ten of them match in each set; everything that the
/// decision needs is made anew for it: facts, entities, request.
fn decide(criterion: &mut Criterion) {
    let labels = BTreeMap::from([("team".to_owned(), "finance".to_owned())]);
    let attested = ["spiffe:td:bench.test".to_owned()];
    let (id, resource) = (AgentId::new("dev/bench").unwrap(), ResourceName::new("bench-api").unwrap());
    let (kind, action) = (TaskKind::new("task").unwrap(), ActionName::new("invoice:read").unwrap());
    let ask = |policies: &Policies| {
        let owner = UserFacts::new("maya@acme.test", ["finance"], &labels);
        let agent = AgentFacts::new(&id, &owner, ["bots"], &labels, &attested);
        let resource = ResourceFacts::new(&resource, &labels, Some("prod"), Some("high"));
        let task = TaskFacts::new(&kind, "measure", &owner, 0, &labels, None);
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
            now: Timestamp::from_secs(1_790_000_000),
            counters: Counters::default(),
            tool: None,
            delegate_to: None,
        };
        policies.decide(black_box(&request))
    };
    let mut group = criterion.benchmark_group("decide, ten match");
    for count in [10, 1_000, 10_000] {
        let policies = Policies::from_sources(fixtures::ten_match(count)).unwrap();
        let decision = ask(&policies);
        assert!(decision.allows() && decision.determining.len() == 10, "{decision:?}");
        group.bench_function(format!("{count} policies"), |b| b.iter(|| ask(&policies)));
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
