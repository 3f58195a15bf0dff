//! The negative control: the same losses, once under a naive store and once under ours. A harness that finds nothing in the
//! naive one would find nothing in ours either.
//!
//! An end that was acknowledged is *forgotten* by a store that neither tells of it any more nor says that it has lost
//! something: its verifiers would accept what had ended.

use super::naive::Naive;
use crate::until;
use std::{fmt, time::Duration};
use taskpass_lease::{Event, Limits};
use taskpass_servers::{Kind, Replicated, Server};
use taskpass_store::{Backend as _, Ledger, Store as _, conformance::events};
use taskpass_store_redis::{Address, Durability, Place, RedisBackend, RedisStore, Settings};
use taskpass_types::{LeaseId, TaskId, TenantId, Timestamp};

/// Ends before the loss.
const ENDS: usize = 50;
/// Ends while the replica is cut off.
const LATE: usize = 3;
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// What a store of tasks has to do here.
pub(super) trait Ends {
    /// Begins a task.
    async fn begin(&self, task: usize);
    /// Ends it; whether that was acknowledged.
    async fn end(&self, task: usize) -> bool;
    /// Whether it still tells of the end, or says that it has lost something; and grants nothing under it.
    async fn holds(&self, task: usize) -> bool;
}

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A replica is cut off, the primary dies, and the replica is promoted.
    Promotion,
    /// All keys.
    Flush,
}

/// What one store forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The servers' make.
    pub kind: Kind,
    /// What was lost.
    pub loss: Loss,
    /// Whether it is the naive store.
    pub naive: bool,
    /// Ends that it acknowledged.
    pub acknowledged: usize,
    /// How many of them it forgot.
    pub forgotten: usize,
}

impl Control {
    /// The naive store forgets, ours does not.
    pub fn is_as_expected(&self) -> bool {
        self.acknowledged >= ENDS && (self.forgotten > 0) == self.naive
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, loss, naive, acknowledged, forgotten } = self;
        let store = if *naive { "a naive store" } else { "our store" };
        write!(
            f,
            "control, {loss:?} on {kind}: {store} forgot {forgotten} of {acknowledged} acknowledged ends"
        )
    }
}

/// Every loss on every make, under both stores.
pub async fn all() -> Vec<Control> {
    let mut controls = Vec::new();
    for kind in Kind::ALL {
        for loss in [Loss::Promotion, Loss::Flush] {
            controls.push(naive(kind, loss).await);
            controls.push(ours(kind, loss).await);
        }
    }
    controls
}

async fn naive(kind: Kind, loss: Loss) -> Control {
    let servers = Replicated::start(kind, 1, &[]).await;
    let ended = work(&Naive(servers.primary()), &servers, loss).await;
    strike(&servers, loss).await;
    let left = Naive(left(&servers, loss));
    Control { kind, loss, naive: true, acknowledged: ended.len(), forgotten: forgotten(&left, &ended).await }
}

async fn ours(kind: Kind, loss: Loss) -> Control {
    let servers = Replicated::start(kind, 1, &[]).await;
    let mut store = Ours::open(servers.primary(), Durability::Durable { replicas: 1 }).await;
    let begun = Event::SetPolicies(Box::new(events::set_policies("r1")));
    store.store.apply(begun, NOW).await.unwrap();
    let ended = work(&store, &servers, loss).await;
    strike(&servers, loss).await;
    if loss == Loss::Promotion {
        // Another broker, which knows nothing; and nobody is left to confirm.
        let left = Ours::open(left(&servers, loss), Durability::Standard { replicas: 0 }).await;
        store = Ours { store: left.store, ..store };
    }
    Control {
        kind,
        loss,
        naive: false,
        acknowledged: ended.len(),
        forgotten: forgotten(&store, &ended).await,
    }
}

/// Begins and ends tasks, the last ones with nobody to confirm; gives those whose end was acknowledged.
async fn work(store: &impl Ends, servers: &Replicated, loss: Loss) -> Vec<usize> {
    let mut ended = Vec::new();
    for task in 0..ENDS + LATE {
        store.begin(task).await;
    }
    for task in 0..ENDS {
        ended.extend(store.end(task).await.then_some(task));
    }
    servers.in_sync().await;
    if loss == Loss::Promotion {
        servers.cut(0);
    }
    let late = tokio::join!(store.end(ENDS), store.end(ENDS + 1), store.end(ENDS + 2));
    for (number, acknowledged) in [late.0, late.1, late.2].into_iter().enumerate() {
        ended.extend(acknowledged.then_some(ENDS + number));
    }
    ended
}

async fn strike(servers: &Replicated, loss: Loss) {
    match loss {
        Loss::Promotion => {
            servers.primary().kill();
            servers.promote(0).await;
        }
        Loss::Flush => drop(servers.primary().command(&["FLUSHALL"]).await.accepted()),
    }
}

/// The server that counts after it.
fn left(servers: &Replicated, loss: Loss) -> &Server {
    match loss {
        Loss::Promotion => servers.replica(0),
        Loss::Flush => servers.primary(),
    }
}

async fn forgotten(store: &impl Ends, ended: &[usize]) -> usize {
    let mut forgotten = 0;
    for task in ended {
        forgotten += usize::from(!store.holds(*task).await);
    }
    forgotten
}

/// The store of a fleet.
struct Ours {
    store: RedisStore,
    tenant: TenantId,
    tasks: Vec<TaskId>,
}

impl Ours {
    async fn open(server: &Server, durability: Durability) -> Self {
        let settings = Settings {
            place: Place::Single(Address { host: "127.0.0.1".to_owned(), port: server.port() }),
            ledger: "taskpass".to_owned(),
            account: None,
            sentinel_account: None,
            tls: None,
            durability,
            patience: Duration::from_secs(2),
        };
        let store = Ledger::new(RedisBackend::open(settings, Limits::default(), None).await.unwrap());
        let tasks = (0..ENDS + LATE).map(|_| TaskId::new()).collect();
        Self { store, tenant: TenantId::default(), tasks }
    }
}

impl Ends for Ours {
    async fn begin(&self, task: usize) {
        let start = events::start(&self.tenant, self.tasks[task], None);
        self.store.apply(Event::StartTask(Box::new(start)), NOW).await.unwrap();
    }

    async fn end(&self, task: usize) -> bool {
        self.store.apply(events::end_task(&self.tenant, self.tasks[task]), NOW).await.is_ok()
    }

    async fn holds(&self, task: usize) -> bool {
        let task = self.tasks[task];
        let told = until("the store answers", async || self.store.task(&self.tenant, task).await.ok()).await;
        let plan = events::plan(&self.tenant, LeaseId::new(), task);
        let granted = self.store.apply(Event::PlanLease(Box::new(plan)), NOW).await.is_ok();
        let tells = told.is_some_and(|task| task.end().is_some());
        !granted && (tells || *self.store.backend().mending().borrow())
    }
}
