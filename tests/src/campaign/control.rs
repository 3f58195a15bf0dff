//! The negative control: the same loss, once for a naive store and once for ours. A harness that finds nothing in the naive
//! one would find nothing in ours either.
//!
//! The naive store acknowledges an end when the primary has answered, and looks at no history: what a plain `SET` gives.

use std::time::Duration;
use taskpass_lease::{Event, Limits};
use taskpass_servers::{Kind, Replicated};
use taskpass_store::{Ledger, Store as _, conformance::events};
use taskpass_store_redis::{Address, Durability, Place, RedisBackend, RedisStore, Settings};
use taskpass_types::{TaskId, TenantId, Timestamp};

/// Ends before the replica is cut off, and after.
const ENDS: usize = 50;
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Ends that were acknowledged while a replica was cut off, and how many of them it did not know when it was promoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Acknowledged.
    pub acknowledged: usize,
    /// Forgotten.
    pub forgotten: usize,
}

/// A partition and a promotion under the naive store.
///
/// # Panics
/// When the servers do not do what they should.
pub async fn naive(kind: Kind) -> Lost {
    let servers = Replicated::start(kind, 1, &[]).await;
    servers.in_sync().await;
    let mut lost = Lost::default();
    for end in 0..2 * ENDS {
        if end == ENDS {
            servers.in_sync().await;
            servers.cut(0);
        }
        servers.primary().command(&["SET", &format!("task:{end}"), "ended"]).await.accepted();
        lost.acknowledged += 1;
    }
    servers.primary().kill();
    servers.promote(0).await;
    for end in 0..lost.acknowledged {
        let found = servers.replica(0).command(&["GET", &format!("task:{end}")]).await;
        lost.forgotten += usize::from(found.text().as_deref() != Some("ended"));
    }
    lost
}

/// The same under ours, in the profile `durable`.
///
/// # Panics
/// When the servers do not do what they should.
pub async fn ours(kind: Kind) -> Lost {
    let servers = Replicated::start(kind, 1, &[]).await;
    servers.in_sync().await;
    let (tenant, mut lost, mut ended) = (TenantId::default(), Lost::default(), Vec::new());
    let store = open(servers.primary().port()).await;
    store.apply(Event::SetPolicies(Box::new(events::set_policies("r1"))), NOW).await.unwrap();
    for end in 0..ENDS + 3 {
        let task = TaskId::new();
        let start = Event::StartTask(Box::new(events::start(&tenant, task, None)));
        // Once the replica is cut off nothing is begun; what runs can be asked to end, and is not said to have.
        let begun = store.apply(start, NOW).await.is_ok();
        if end == ENDS {
            servers.cut(0);
        }
        if begun && store.apply(events::end_task(&tenant, task), NOW).await.is_ok() {
            lost.acknowledged += 1;
            ended.push(task);
        }
    }
    drop(store);
    servers.primary().kill();
    servers.promote(0).await;
    let store = open_alone(servers.replica(0).port()).await;
    for task in ended {
        let found = store.task(&tenant, task).await.unwrap();
        lost.forgotten += usize::from(found.is_none_or(|task| task.end().is_none()));
    }
    lost
}

async fn open(port: u16) -> RedisStore {
    opened(port, Durability::Durable { replicas: 1 }).await
}

/// The one that is left has nobody to confirm.
async fn open_alone(port: u16) -> RedisStore {
    opened(port, Durability::Standard { replicas: 0 }).await
}

async fn opened(port: u16, durability: Durability) -> RedisStore {
    let settings = Settings {
        place: Place::Single(Address { host: "127.0.0.1".to_owned(), port }),
        ledger: "taskpass".to_owned(),
        account: None,
        sentinel_account: None,
        tls: None,
        durability,
        patience: Duration::from_secs(2),
    };
    Ledger::new(RedisBackend::open(settings, Limits::default(), None).await.unwrap())
}
