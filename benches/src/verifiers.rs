//! Many verifiers on one broker: how soon all of them refuse what has ended, what an idle one costs on the wire, and what
//! the deny set costs in memory.

use crate::{
    clock,
    drive::{Figures, Slot as _},
    exchange::{IssueSlot, Kind},
    process::BrokerProcess,
    report::{Report, Target},
    world::{RESOURCE, World},
};
use anyhow::{Context as _, ensure};
use futures::future::join_all;
use std::{
    fs,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use taskpass_client::Broker;
use taskpass_proto::v1::credential::Form;
use taskpass_types::{DenySubject, EndReason, Epoch, HistoryId, TaskId, Timestamp};
use taskpass_verify::{Rejected, Verifier, denies::Record, feed::Feed, wire::Message};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long verifiers may take to begin, or to refuse, before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// An idle verifier has heard the broker within this.
const FRESH: Duration = Duration::from_secs(2);
/// Deny records of a full set.
const RECORDS: u64 = 100_000;
/// How many of them one message carries.
const PAGE: u64 = 512;
/// How many tasks are completed with how many leases each, and how many callers ask for them.
const TASKS: usize = 11;
const LEASES: usize = 10_000;
const CALLERS: usize = 32;

/// Measures it all; `rounds` tasks are ended with each number of verifiers.
pub async fn run(rounds: usize, idle: Duration, report: &mut Report) -> anyhow::Result<()> {
    let megabytes = memory()? / 1e6;
    report.add("memory", Target::below("100,000 deny records, MB", megabytes, 16.0), &())?;
    let world = World::new()?;
    let broker = BrokerProcess::start(&world, "broker").await?;
    let bytes = idle_bytes(&world, broker.port, idle).await?;
    report.add("wire", Target::below("idle verifier, bytes a second", bytes, 100.0), &())?;
    for (count, connections, p50, p99) in [(50, 50, Some(2.0), 10.0), (1000, 20, None, 100.0)] {
        let verifiers = follow(&world, broker.port, count, connections).await?;
        let (each, last) = deaths(&world, broker.port, &verifiers, rounds).await?;
        let name = format!("end to refusal at each of {count}");
        let middle = format!("{name}, p50 ms");
        let middle = p50.map_or_else(
            || Target::noted(&middle, each.p50),
            |wanted| Target::below(&middle, each.p50, wanted),
        );
        report.add("death", middle, &each)?;
        report.add("death", Target::below(&format!("{name}, p99 ms"), each.p99, p99), &each)?;
        let name = format!("at the last of them, {connections} connections");
        report.add("death", Target::noted(&format!("{name}, p50 ms"), last.p50), &last)?;
        report.add("death", Target::below(&format!("{name}, p99 ms"), last.p99, p99), &last)?;
    }
    let (began, mut spans) = (clock::now(), Vec::new());
    for _ in 0..TASKS {
        spans.push(completed(&world, broker.port).await?);
    }
    let completed = Figures::of(spans, began.elapsed());
    let name = "end of 10,000 leases acknowledged";
    report.add("complete", Target::below(&format!("{name}, p50 ms"), completed.p50, 5.0), &completed)?;
    report.add(
        "complete",
        Target::noted(&format!("{name}, the slowest of {TASKS}, ms"), completed.max),
        &completed,
    )
}

/// How much this process grows by a full set that comes as the broker says it.
fn memory() -> anyhow::Result<f64> {
    let before = resident()?;
    let mut feed = Feed::new(1_000_000);
    for after in (0..RECORDS).step_by(usize::try_from(PAGE)?) {
        feed.apply(page(after), Timestamp::from_millis(0))?;
    }
    ensure!(feed.denies().read().len() as u64 == RECORDS, "not all records are held");
    Ok(resident()? - before)
}

fn page(after: u64) -> Message {
    let epoch = RECORDS.min(after + PAGE);
    let record = |epoch| Record {
        epoch: Epoch(epoch),
        subject: DenySubject::Task(TaskId::new()),
        reason: Some(EndReason::Completed),
        until: Timestamp::from_secs(3600 + epoch),
    };
    Message {
        history: HistoryId([1; 16]),
        after: Epoch(after),
        epoch: Epoch(epoch),
        snapshot: after == 0,
        records: (after + 1..=epoch).map(record).collect(),
        sent_at: Timestamp::from_secs(1),
        keys: None,
        more: epoch < RECORDS,
        session: None,
        probes: Vec::new(),
    }
}

/// `VmRSS` of this process in bytes.
fn resident() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// What passes in both directions on the socket of one verifier, TLS included, while nothing ends.
async fn idle_bytes(world: &World, port: u16, span: Duration) -> anyhow::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (through, passed) = (listener.local_addr()?.port(), Arc::new(AtomicU64::new(0)));
    let mut relays = JoinSet::new();
    relays.spawn(relay(listener, port, Arc::clone(&passed)));
    let verifiers = follow(world, through, 1, 1).await?;
    // The beginning is not idle.
    sleep(Duration::from_secs(2)).await;
    let before = passed.load(Ordering::Acquire);
    sleep(span).await;
    let bytes = passed.load(Ordering::Acquire) - before;
    ensure!(bytes > 0 && verifiers.iter().all(|it| it.staleness() < Some(FRESH)), "the feed is silent");
    Ok(bytes as f64 / span.as_secs_f64())
}

async fn relay(listener: TcpListener, port: u16, passed: Arc<AtomicU64>) -> anyhow::Result<()> {
    let (client, _) = listener.accept().await?;
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::try_join!(pass(from_client, to_server, &passed), pass(from_server, to_client, &passed))?;
    Ok(())
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: &AtomicU64,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(to.shutdown().await?);
        }
        passed.fetch_add(count as u64, Ordering::AcqRel);
        to.write_all(buffer.get(..count).unwrap_or_default()).await?;
    }
}

/// So many verifiers that are ready, each with a stream of its own, over so many connections.
async fn follow(world: &World, port: u16, count: usize, connections: usize) -> anyhow::Result<Vec<Verifier>> {
    let endpoint = world.endpoint(&world.verifier, port)?;
    let mut channels = Vec::new();
    for _ in 0..connections {
        channels.push(endpoint.connect().await?);
    }
    let mut verifiers = Vec::new();
    for (number, channel) in channels.iter().cycle().take(count).enumerate() {
        let builder = Verifier::builder(channel.clone()).audience(RESOURCE);
        verifiers.push(builder.instance(format!("{count}-{number}")).start()?);
    }
    let ready = join_all(verifiers.iter().map(Verifier::ready));
    timeout(PATIENCE, ready).await.context("not all feeds begin")?;
    Ok(verifiers)
}

/// Ends `rounds` tasks one after the other; from the call until each verifier refuses, and until the last one does.
async fn deaths(
    world: &World,
    port: u16,
    verifiers: &[Verifier],
    rounds: usize,
) -> anyhow::Result<(Figures, Figures)> {
    let channel = world.endpoint(&world.agent, port)?.connect().await?;
    let broker = Broker::new(channel.clone());
    let first = verifiers.first().context("no verifier")?;
    let (began, mut each, mut last) = (clock::now(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut slot = IssueSlot::new(channel.clone(), Kind::Jwt).await?;
        let credential = slot.issue().await?.credential.and_then(|credential| credential.form);
        let Some(Form::Token(token)) = credential else { anyhow::bail!("no token") };
        let granted = first.verify_bound_token(&token, Some(&world.agent.der))?;
        // Each waits by itself, as services do.
        let mut waiting = JoinSet::new();
        for verifier in verifiers {
            let denied = verifier.denied(&granted);
            waiting.spawn(async { (denied.await, clock::now()) });
        }
        let called = clock::now();
        let refused = async {
            let mut all = Vec::with_capacity(verifiers.len());
            while let Some(one) = waiting.join_next().await {
                let (why, at) = one?;
                ensure!(matches!(why, Rejected::Denied(_)), "not denied: {why:?}");
                all.push(at - called);
            }
            Ok(all)
        };
        let complete = async { anyhow::Ok(broker.complete_task(slot.task()).await?) };
        let both = async { tokio::try_join!(refused, complete) };
        let (refused, _) = timeout(PATIENCE, both).await.context("still accepted somewhere")??;
        last.extend(refused.iter().max());
        each.extend(refused);
    }
    let span = began.elapsed();
    Ok((Figures::of(each, span), Figures::of(last, span)))
}

/// From the call that completes a task with ten thousand leases to its answer.
async fn completed(world: &World, port: u16) -> anyhow::Result<Duration> {
    let channel = world.endpoint(&world.agent, port)?.connect().await?;
    let slot = IssueSlot::new(channel.clone(), Kind::Jwt).await?;
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (mut slot, share) = (slot.clone(), (LEASES + number) / CALLERS);
        callers.spawn(async move {
            for _ in 0..share {
                slot.call().await?;
            }
            anyhow::Ok(share)
        });
    }
    let mut issued = 0;
    while let Some(caller) = callers.join_next().await {
        issued += caller??;
    }
    ensure!(issued == LEASES, "{issued} leases");
    let called = clock::now();
    Broker::new(channel).complete_task(slot.task()).await?;
    Ok(called.elapsed())
}
