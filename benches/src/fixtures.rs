//! Inputs that the load generator and the benchmarks share.

use std::time::Duration;
use taskpass_policy::demo::DEMO;
use taskpass_types::{
    ActionName, AgentId, DecisionId, Epoch, Grant, KeyGeneration, LeaseId, Owner, PolicyRevision,
    ResourceName, SpiffeId, TaskId, TaskPath, TenantId, Timestamp, TrustDomain,
};

/// The `iss` of tokens that no broker signed.
pub const ISSUER: &str = "https://taskpass.bench.test";

/// The demo's policies and, up to `count`, those of other agents: what a decision must not get slower by.
pub fn policies(count: usize) -> Vec<(String, String)> {
    let demo = DEMO.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let begins = |line: &&str| line.starts_with("permit") || line.starts_with("forbid");
    let in_demo: usize = DEMO.iter().map(|(_, text)| text.lines().filter(begins).count()).sum();
    let others = (in_demo..count).map(|n| {
        format!(
            "@id(\"other-{n}\") @max_ttl(\"10m\")\n\
             permit (principal == Agent::\"other/agent-{n}\", action, resource == Resource::\"other-{n}\")\n\
             when {{ context.ttl_seconds <= 900 && context.task.kind == \"task\" }};\n"
        )
    });
    demo.chain([("others.cedar".to_owned(), others.collect())]).collect()
}

/// So many policies, ten of which permit `dev/bench` to read invoices of `bench-api`; the rest is for others.
pub fn ten_match(count: usize) -> Vec<(String, String)> {
    let matching = (0..10).map(|n| {
        format!(
            "@id(\"own-{n}\") @max_ttl(\"15m\")\n\
             permit (principal in Group::\"dev\", action == Action::\"issue\", resource == Resource::\"bench-api\")\n\
             when {{ context.action == \"invoice:read\" && context.ttl_seconds <= {} }};\n",
            900 + n
        )
    });
    let others = (10..count).map(|n| {
        format!(
            "@id(\"other-{n}\") @max_ttl(\"10m\")\n\
             permit (principal == Agent::\"other/agent-{n}\", action, resource == Resource::\"other-{n}\")\n\
             when {{ context.ttl_seconds <= 900 && context.task.kind == \"task\" }};\n"
        )
    });
    vec![("own.cedar".to_owned(), matching.collect()), ("others.cedar".to_owned(), others.collect())]
}

/// The trust domain of credentials that no broker signed.
pub fn trust_domain() -> anyhow::Result<TrustDomain> {
    Ok(TrustDomain::new("bench.test")?)
}

/// What one agent was granted: to read invoices for five minutes from `now`.
pub fn grant(now: Timestamp) -> anyhow::Result<Grant> {
    let (task, now) = (TaskId::new(), now.floor_to_secs());
    Ok(Grant {
        tenant: TenantId::default(),
        lease: LeaseId::new(),
        renewal: 0,
        task_path: TaskPath::root(task),
        subject: SpiffeId::from_parts(&trust_domain()?, &format!("dev/bench/task/{task}"))?,
        agents: vec![AgentId::new("dev/bench")?],
        owner: Owner::new("maya@acme.test")?,
        resource: ResourceName::new("demo-api")?,
        actions: vec![ActionName::new("invoice:read")?],
        decision: DecisionId::new(),
        policy_revision: PolicyRevision::new("a1b2c3d4e5f6")?,
        key_generation: KeyGeneration(1),
        deny_epoch: Epoch::default(),
        confirmation: None,
        status: None,
        issued_at: now,
        expires_at: now.plus(Duration::from_secs(300)),
    })
}
