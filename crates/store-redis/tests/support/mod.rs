//! Settings for the servers of the tests, and a store with something of everything in it.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::time::Duration;
use taskpass_lease::{Event, Limits, Outcome, Verdict};
use taskpass_servers::Server;
use taskpass_store::{Store, conformance::events};
use taskpass_store_redis::{
    Account, Address, Durability, OpenError, Place, RedisBackend, RedisStore, Settings,
};
use taskpass_types::{ApprovalId, LeaseId, TaskId, TenantId, Timestamp};

pub(crate) const STANDARD: Durability = Durability::Standard { replicas: 0 };
pub(crate) const DURABLE: Durability = Durability::Durable { replicas: 1 };
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const PASSWORD: &str = "correct horse";

/// The ledger `taskpass` on this server, without a password.
pub(crate) fn settings(server: &Server, durability: Durability) -> Settings {
    Settings {
        place: Place::Single(Address { host: "127.0.0.1".to_owned(), port: server.port() }),
        ledger: "taskpass".to_owned(),
        account: None,
        sentinel_account: None,
        tls: None,
        durability,
        patience: Duration::from_secs(2),
    }
}

pub(crate) fn account(user: &str, password: &str) -> Option<Account> {
    Some(Account { user: Some(user.to_owned()), password: password.to_owned().into() })
}

/// The users that we tell people to make, all with the same password.
pub(crate) fn users() -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, PASSWORD.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let users = include_str!("../../../../deploy/redis/users.acl");
    ["BROKER", "REPLICA", "ADMIN"]
        .iter()
        .fold(users.to_owned(), |users, whose| users.replace(&format!("{whose}_PASSWORD_SHA256"), &hash))
}

pub(crate) async fn open(settings: Settings) -> Result<RedisStore, OpenError> {
    RedisBackend::open(settings, Limits::default(), None).await.map(RedisStore::new)
}

pub(crate) async fn apply(store: &RedisStore, event: Event) -> Outcome {
    store.apply(event, NOW).await.unwrap().outcome().clone()
}

/// Rows in every table but the quarantine: a tree of tasks, leases that live and that were killed, holds, approvals,
/// policies.
pub(crate) async fn fill(store: &RedisStore, tasks: usize) -> Vec<TaskId> {
    let tenant = TenantId::default();
    for revision in ["r1", "r2"] {
        apply(store, Event::SetPolicies(Box::new(events::set_policies(revision)))).await;
    }
    apply(store, Event::SetPolicies(Box::new(events::set_policies("r1")))).await;
    let mut all = Vec::new();
    for number in 0..tasks {
        let (task, child) = (TaskId::new(), TaskId::new());
        apply(store, Event::StartTask(Box::new(events::start(&tenant, task, None)))).await;
        apply(store, Event::StartTask(Box::new(events::start(&tenant, child, Some(task))))).await;
        for _ in 0..2 {
            let lease = LeaseId::new();
            apply(store, Event::PlanLease(Box::new(events::plan(&tenant, lease, task)))).await;
            if number % 2 == 0 {
                apply(store, events::end_lease(&tenant, lease, true)).await;
                apply(store, events::release_hold(&tenant, task)).await;
            }
        }
        apply(store, events::hold_task(&tenant, child)).await;
        all.push(task);
    }
    let approval = ApprovalId::new();
    apply(store, Event::RequestApproval(Box::new(events::ask(&tenant, approval, *all.first().unwrap(), 9))))
        .await;
    apply(store, events::vote(&tenant, approval, "ann", Verdict::Approve)).await;
    all
}
