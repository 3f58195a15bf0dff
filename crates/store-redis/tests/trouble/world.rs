//! A fleet of two brokers on one ledger, and what each test asks of it.

use std::time::Duration;
use taskpass_lease::{Event, Limits, Outcome};
use taskpass_servers::{Kind, Options, Reply, Server, until};
use taskpass_store::{LeaseQuery, Prepared, Store as _, conformance::events};
use taskpass_store_redis::{Address, Durability, OpenError, Place, RedisBackend, RedisStore, Settings};
use taskpass_types::{LeaseId, Reason, Refusal, TaskId, TenantId, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// How long a server may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// How soon after its cause is gone all is well again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(5);
/// How long anybody may wait for an answer: an end waits 2 s for a ledger, and whoever looks for it meanwhile may be in the
/// middle of that.
const ANSWER: Duration = Duration::from_secs(5);

/// The ledger `taskpass` at this port.
pub(crate) fn settings(port: u16) -> Settings {
    at(Place::Single(address(port)))
}

/// The ledger `taskpass` in this place.
pub(crate) fn at(place: Place) -> Settings {
    Settings {
        place,
        ledger: "taskpass".to_owned(),
        account: None,
        sentinel_account: None,
        tls: None,
        durability: Durability::Standard { replicas: 0 },
        patience: PATIENCE,
    }
}

pub(crate) fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

pub(crate) async fn open(settings: Settings) -> Result<RedisStore, OpenError> {
    RedisBackend::open(settings, Limits::default(), None).await.map(RedisStore::new)
}

/// What the operator is told of a ledger that cannot be opened.
pub(crate) async fn why_not(settings: Settings) -> String {
    match open(settings).await {
        Ok(_) => panic!("this ledger must not be served"),
        Err(error) => {
            assert!(matches!(error, OpenError::Unreachable(_)), "{error:?}");
            assert!(!error.fix().is_empty());
            error.to_string()
        }
    }
}

pub(crate) async fn server(lines: &[&str]) -> Server {
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    Server::start(Kind::Redis, Options { lines, ..Options::default() }).await
}

pub(crate) async fn start(store: &RedisStore) -> Result<TaskId, Refusal> {
    let task = TaskId::new();
    let start = Event::StartTask(Box::new(events::start(&TenantId::default(), task, None)));
    store.apply(start, NOW).await.map(|_| task)
}

/// Asks for this very lease; again, when it was asked for before.
pub(crate) async fn plan_as(store: &RedisStore, task: TaskId, lease: LeaseId) -> Result<Prepared, Refusal> {
    let plan = Event::PlanLease(Box::new(events::plan(&TenantId::default(), lease, task)));
    Ok(store.apply(plan, NOW).await?.into_prepared().unwrap())
}

pub(crate) async fn plan(store: &RedisStore, task: TaskId) -> Result<LeaseId, Refusal> {
    Ok(plan_as(store, task, LeaseId::new()).await?.lease().id)
}

pub(crate) async fn kill(store: &RedisStore, lease: LeaseId) -> Result<Outcome, Refusal> {
    let end = events::end_lease(&TenantId::default(), lease, false);
    store.apply(end, NOW).await.map(taskpass_store::Committed::into_outcome)
}

pub(crate) async fn end_task(store: &RedisStore, task: TaskId) -> Result<Outcome, Refusal> {
    let end = events::end_task(&TenantId::default(), task);
    store.apply(end, NOW).await.map(taskpass_store::Committed::into_outcome)
}

/// Whether the lease has ended, as this broker sees it.
pub(crate) async fn has_ended(store: &RedisStore, lease: LeaseId) -> Result<bool, Refusal> {
    Ok(store.lease(&TenantId::default(), lease).await?.unwrap().end().is_some())
}

/// The answer, which comes in time.
pub(crate) async fn answer<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(ANSWER, answer).await.expect("everybody gets an answer in time")
}

/// Two brokers and a task; a lease is granted and ended through each of them whenever all is well.
pub(crate) struct Fleet {
    pub(crate) brokers: [RedisStore; 2],
    pub(crate) task: TaskId,
}

impl Fleet {
    /// Both at the same place.
    pub(crate) async fn open(settings: impl Fn() -> Settings) -> Self {
        Self::of([settings(), settings()]).await
    }

    /// Each at its own.
    pub(crate) async fn of([one, two]: [Settings; 2]) -> Self {
        let brokers = [open(one).await.unwrap(), open(two).await.unwrap()];
        let policies = Event::SetPolicies(Box::new(events::set_policies("r1")));
        brokers[0].apply(policies, NOW).await.unwrap();
        let task = start(&brokers[0]).await.unwrap();
        let fleet = Self { brokers, task };
        fleet.serves_again().await;
        fleet
    }

    pub(crate) async fn at(server: &Server) -> Self {
        Self::open(|| settings(server.port())).await
    }

    /// Both grant, end and see, within 5 s of now.
    pub(crate) async fn serves_again(&self) {
        let again = async {
            for store in &self.brokers {
                while !serves(store, self.task).await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        tokio::time::timeout(RECOVERY, again).await.expect("both brokers serve within 5 s");
    }

    /// Neither grants or ends anything, and whoever asks is told in time and in so many words.
    pub(crate) async fn refuses(&self) {
        let before = LeaseId::new();
        for store in &self.brokers {
            let (granted, ended) =
                tokio::join!(answer(plan_as(store, self.task, before)), answer(end_task(store, self.task)),);
            said_why(&granted.expect_err("nothing is granted"));
            said_why(&ended.expect_err("nothing is said to have ended"));
        }
    }

    /// Whom it granted a lease, everybody sees it, once.
    pub(crate) async fn has_one(&self, lease: LeaseId) {
        for store in &self.brokers {
            let query = LeaseQuery { task: Some(self.task), ..LeaseQuery::default() };
            // Who wrote it is told before the store is looked at again.
            let page = until("the store is read", || async { store.leases(&query).await.ok() }).await;
            assert_eq!(page.items.iter().filter(|found| found.id == lease).count(), 1);
            assert_eq!(page.unreadable, 0);
        }
    }
}

async fn serves(store: &RedisStore, task: TaskId) -> bool {
    let Ok(lease) = plan(store, task).await else { return false };
    kill(store, lease).await.is_ok() && has_ended(store, lease).await.is_ok_and(|ended| ended)
}

/// The refusal says that the store is the cause, and what to do.
pub(crate) fn said_why(refusal: &Refusal) {
    let reason = refusal.reason();
    assert!(matches!(reason, Reason::StoreUnavailable | Reason::OutcomeUnknown), "{refusal:?}");
    assert!(refusal.fix_text().is_some_and(|fix| !fix.is_empty()), "{refusal:?}");
}

/// The first key of `server` that begins so, and its first field. Both have bytes that are no text.
pub(crate) async fn row(server: &Server, prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let key = keys(server, prefix).await.swap_remove(0);
    let field = list(server, &[b"HKEYS", &key]).await.swap_remove(0);
    (key, field)
}

/// All keys of `server` that begin so, in order: of the schedule, the page that is due first comes first.
pub(crate) async fn keys(server: &Server, prefix: &str) -> Vec<Vec<u8>> {
    let mut keys = list(server, &[b"KEYS", format!("{prefix}*").as_bytes()]).await;
    keys.sort_unstable();
    keys
}

async fn list(server: &Server, arguments: &[&[u8]]) -> Vec<Vec<u8>> {
    let Reply::List(items) = server.command(arguments).await.accepted() else { panic!("not a list") };
    let bytes = |item| match item {
        Reply::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    items.into_iter().map(bytes).collect()
}
