//! A ledger in Redis: how fast beside the embedded store, how large, and what a full one costs a broker that starts.
//!
//! The servers are real, of this machine, started and ended here (`cargo xtask servers` gets them).

use crate::{
    clock,
    drive::drive,
    exchange::{IssueSlot, Kind},
    process::BrokerProcess,
    report::{Report, Target},
    suite::CONNECTIONS,
    world::World,
};
use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use std::time::Duration;
use taskpass_lease::{Event, Limits, Outcome};
use taskpass_servers::{Kind as Sort, Options, Replicated, Server};
use taskpass_store::{Ledger, Store as _, conformance::events};
use taskpass_store_redis::{Address, Durability, Place, RedisBackend, RedisStore, Settings};
use taskpass_types::{LeaseId, TaskId, TenantId, Timestamp};
use tokio::task::JoinSet;

/// Callers while rates are compared.
const LEVEL: usize = 64;
/// Rounds of each; the median counts.
const ROUNDS: usize = 3;
/// Leases under one task of a full ledger.
const PER_TASK: usize = 100;
/// Writers that fill a ledger: as many as there are callers while rates are compared. Redis packs what comes in one slice of
/// time up to a number, so how large a lease is depends on how fast they come; this is as fast as a broker issues.
const WRITERS: usize = LEVEL;
/// Leases under the one task that is ended.
const LARGE: usize = 100_000;

/// All figures; `leases` is how many a full ledger has.
pub async fn run(leases: usize, span: Duration, report: &mut Report) -> anyhow::Result<()> {
    rates(span, report).await?;
    let server = Server::start(Sort::Redis, options()).await;
    large_task(&server, report).await?;
    full(&server, leases, report).await?;
    drop(server);
    let server = Server::start(Sort::Redis, options()).await;
    overdue(&server, leases, span, report).await
}

/// As `deploy/redis/redis.conf` has it, where it matters for these figures.
fn options() -> Options {
    let lines = [
        "hash-max-listpack-entries 512",
        "hash-max-listpack-value 1024",
        "zset-max-listpack-entries 512",
        "zset-max-listpack-value 256",
    ];
    Options { lines: lines.map(str::to_owned).to_vec(), ..Options::default() }
}

/// Tokens a second on each store, in turns.
async fn rates(span: Duration, report: &mut Report) -> anyhow::Result<()> {
    let single = Server::start(Sort::Redis, options()).await;
    let replicated = Replicated::start(Sort::Redis, 1, &[]).await;
    replicated.in_sync().await;
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); 3];
    let mut figures = Vec::new();
    for round in 0..ROUNDS {
        // A world has a seal key of its own, and so a ledger.
        let standard =
            format!("store.redis = {{ address = \"{}\", ledger = \"round-{round}\" }}", single.address());
        let durable = format!(
            "store.redis = {{ address = \"{}\", ledger = \"round-{round}\", durability = \"durable\", replicas = 1 }}",
            replicated.primary().address()
        );
        let homes = [("embedded", ""), ("standard", &standard), ("durable", &durable)];
        for ((name, ledger), rates) in homes.iter().zip(&mut rates) {
            let world = World::on(ledger)?;
            let broker = BrokerProcess::start(&world, name).await?;
            let (measured, _) = drive(issuers(&world, &broker, LEVEL).await?, span).await?;
            rates.push(measured.rate);
            figures.push((*name, measured));
            broker.kill().await?;
        }
    }
    let [embedded, standard, durable] = [0, 1, 2].map(|home| median(rates.get(home)));
    report.add("fleet", Target::noted("tokens a second, embedded", embedded), &figures)?;
    report.add("fleet", Target::above("Redis standard / embedded", standard / embedded, 0.8), &standard)?;
    report.add(
        "fleet",
        Target::above("Redis durable, 1 replica / embedded", durable / embedded, 0.5),
        &durable,
    )
}

/// One write, however much is below.
async fn large_task(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let store = store(server, "large").await?;
    let (tenant, now) = (TenantId::default(), clock::wall());
    begin(&store, now).await?;
    fill(&store, LARGE, LARGE, Duration::ZERO).await?;
    let query = taskpass_store::TaskQuery { tenant: tenant.clone(), ..Default::default() };
    let task = store.tasks(&query).await.map_err(refused)?.items.pop().context("no task")?;
    let began = clock::now();
    let done = store.apply(events::end_task(&tenant, task.id), now).await.map_err(refused)?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(matches!(done.outcome(), Outcome::TaskEnded(_)), "it should have ended");
    report.add("fleet", Target::below("end of a task with 100,000 leases, ms", took, 10.0), &LARGE)
}

/// What a lease takes, and a broker that starts on a full ledger.
async fn full(server: &Server, leases: usize, report: &mut Report) -> anyhow::Result<()> {
    let before = memory(server).await?;
    let live = store(server, "live").await?;
    begin(&live, clock::wall()).await?;
    fill(&live, leases, PER_TASK, Duration::ZERO).await?;
    drop(live);
    let each = memory(server).await?.saturating_sub(before) as f64 / leases as f64;
    report.add("fleet", Target::below("bytes per live lease, all included", each, 300.0), &leases)?;
    let world = World::on(&named(server, "live"))?;
    let broker = BrokerProcess::start(&world, "live").await?;
    let took = broker.took.as_secs_f64();
    report.add("fleet", Target::below("start on a full ledger, s", took, 2.0), &leases)?;
    broker.kill().await
}

/// A broker that starts on a ledger in which everything is overdue.
async fn overdue(server: &Server, leases: usize, span: Duration, report: &mut Report) -> anyhow::Result<()> {
    let old = store(server, "old").await?;
    let ago = Duration::from_secs(6 * 3600);
    begin(&old, before(ago)).await?;
    fill(&old, leases, PER_TASK, ago).await?;
    drop(old);
    let world = World::on(&named(server, "old"))?;
    // Its policy files count as changed, so that they and not those of the ledger are in force.
    std::fs::create_dir(world.path().join("old"))?;
    std::fs::write(world.path().join("old/policies.revision"), "others")?;
    let broker = BrokerProcess::start(&world, "old").await?;
    let took = broker.took.as_secs_f64();
    report.add("fleet", Target::below("start with all overdue, s", took, 2.0), &leases)?;
    let (figures, _) = drive(issuers(&world, &broker, 16).await?, span).await?;
    report.add("fleet", Target::below("token p99 while it drains, ms", figures.p99, 50.0), &figures)?;
    broker.kill().await
}

fn named(server: &Server, ledger: &str) -> String {
    format!("store.redis = {{ address = \"{}\", ledger = \"{ledger}\" }}", server.address())
}

async fn store(server: &Server, ledger: &str) -> anyhow::Result<RedisStore> {
    let settings = Settings {
        place: Place::Single(Address { host: "127.0.0.1".to_owned(), port: server.port() }),
        ledger: ledger.to_owned(),
        account: None,
        sentinel_account: None,
        tls: None,
        durability: Durability::Standard { replicas: 0 },
        patience: Duration::from_secs(5),
    };
    let hours = Duration::from_secs(8 * 3600);
    let all = u32::MAX;
    let limits = Limits {
        jwt_max: hours,
        live_per_task: all,
        issued_per_task: all,
        tasks_per_agent: all,
        ..Limits::default()
    };
    Ok(Ledger::new(RedisBackend::open(settings, limits, None).await?))
}

async fn begin(store: &RedisStore, now: Timestamp) -> anyhow::Result<()> {
    let set = Event::SetPolicies(Box::new(events::set_policies("r1")));
    store.apply(set, now).await.map(drop).map_err(refused)
}

/// Leases of half an hour, `per_task` under each task, as if planned so long ago. Each is planned as soon as one of the
/// writers is free, at the time that it is then: what is due when, and which ids are near each other, is as in a fleet.
async fn fill(store: &RedisStore, leases: usize, per_task: usize, ago: Duration) -> anyhow::Result<()> {
    let tenant = TenantId::default();
    for some in (0..leases.div_ceil(per_task)).collect::<Vec<_>>().chunks(WRITERS) {
        let tasks: Vec<TaskId> = some.iter().map(|_| TaskId::new()).collect();
        let starts = tasks.iter().map(|id| {
            store.apply(Event::StartTask(Box::new(events::start(&tenant, *id, None))), before(ago))
        });
        futures::future::try_join_all(starts).await.map_err(refused)?;
        let under = tasks.iter().flat_map(|id| std::iter::repeat_n(*id, per_task));
        let plans = futures::stream::iter(under).map(|task| {
            let plan = events::plan(&tenant, LeaseId::new(), task);
            let plan = taskpass_lease::PlanLease { ttl: events::secs(1800), ..plan };
            store.apply(Event::PlanLease(Box::new(plan)), before(ago))
        });
        plans.buffer_unordered(WRITERS).try_for_each(|_| async { Ok(()) }).await.map_err(refused)?;
    }
    Ok(())
}

fn before(ago: Duration) -> Timestamp {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(clock::wall().as_millis().saturating_sub(ago))
}

fn refused(refusal: taskpass_types::Refusal) -> anyhow::Error {
    anyhow::anyhow!("{refusal:?}")
}

async fn memory(server: &Server) -> anyhow::Result<u64> {
    let memory = server.info("memory").await;
    Ok(memory.get("used_memory").context("no used_memory")?.parse()?)
}

async fn issuers(world: &World, broker: &BrokerProcess, count: usize) -> anyhow::Result<Vec<IssueSlot>> {
    let endpoint = world.endpoint(&world.agent, broker.port)?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(endpoint.connect().await?);
    }
    let mut starting = JoinSet::new();
    for channel in channels.iter().cycle().take(count).cloned() {
        starting.spawn(IssueSlot::new(channel, Kind::Jwt));
    }
    let mut slots = Vec::new();
    while let Some(slot) = starting.join_next().await {
        slots.push(slot??);
    }
    Ok(slots)
}

fn median(rounds: Option<&Vec<f64>>) -> f64 {
    let mut rounds = rounds.cloned().unwrap_or_default();
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN)
}
