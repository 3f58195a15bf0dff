//! `kill -9`, again and again, in the middle of the work (I5, I6): what was acknowledged is there afterwards, and what
//! was acknowledged as ended stays dead.

use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};
use taskpass_e2e::{Broker, Client, Refused, World, resource, start, token, until};
use taskpass_proto::v1::{
    EndReason, IssueCredentialRequest, WatchDeniesRequest, WatchDeniesResponse,
    revocation_service_client::RevocationServiceClient,
};
use taskpass_verify::Verifier;
use tokio::task::JoinSet;
use tonic::Code;

const ROUNDS: u32 = 24;
const WORKERS: usize = 3;

/// What the broker has said that it did.
#[derive(Clone, Default)]
struct Acknowledged {
    lease: Option<(String, String)>,
    killed: bool,
    /// The epoch of the task's end.
    ended: Option<u64>,
    /// An end was asked for, and the answer never came: both are right.
    end_unknown: bool,
    kill_unknown: bool,
}

/// By task.
type Ledger = Arc<Mutex<BTreeMap<String, Acknowledged>>>;

/// The one request under a task that is repeated.
fn named(task: &str) -> IssueCredentialRequest {
    IssueCredentialRequest { request_id: task.to_owned(), ..token(task) }
}

/// The answer; `None` when the broker is gone. It has no reason to refuse anything that is asked here.
fn answered<T>(answer: Result<T, Refused>) -> Option<T> {
    answer.inspect_err(|refused| assert_eq!(refused.reason, "", "{refused:?}")).ok()
}

/// Starts tasks, leases under them, kills and ends some, until the broker is gone.
async fn work(agent: Client, operator: Client, ledger: Ledger, worker: usize) -> Option<()> {
    for turn in worker.. {
        let task = answered(agent.start_task(start()).await)?.id;
        ledger.lock().insert(task.clone(), Acknowledged::default());
        let note = |change: &dyn Fn(&mut Acknowledged)| change(ledger.lock().get_mut(&task).unwrap());
        let (lease, jwt) = answered(agent.issue_token(named(&task)).await)?;
        note(&|known| known.lease = Some((lease.id.clone(), jwt.clone())));
        if turn % 4 == 1 {
            note(&|known| known.kill_unknown = true);
            answered(operator.kill(&lease.id).await)?;
            note(&|known| known.killed = true);
        }
        if turn % 2 == 0 {
            note(&|known| known.end_unknown = true);
            let ended = answered(agent.complete(&task).await)?;
            note(&|known| known.ended = ended.end.as_ref().map(|end| end.epoch));
        }
    }
    None
}

/// Works, and is killed once enough has been acknowledged.
async fn round(world: &World, broker: Broker, ledger: &Ledger, enough: usize) {
    let mut workers = JoinSet::new();
    let before = ledger.lock().len();
    for worker in 0..WORKERS {
        let (agent, operator) = (world.connect("dev/bot").await, world.connect("ops/oncall").await);
        workers.spawn(work(agent, operator, ledger.clone(), worker));
    }
    until("enough was done", async || (ledger.lock().len() >= before + enough).then_some(())).await;
    broker.kill();
    workers.join_all().await;
}

/// Everything that was acknowledged is so still, for its holder and for every verifier.
async fn check(world: &World, ledger: &Ledger, verifier: &Verifier) {
    let agent = world.connect("dev/bot").await;
    let known = ledger.lock().clone();
    let newest = known.values().filter_map(|known| known.ended).max().unwrap_or(0);
    until("the verifier has caught up", async || {
        let fresh = verifier.staleness().is_some_and(|age| age.as_secs() < 2);
        verifier.epoch().filter(|epoch| fresh && epoch.0 >= newest)
    })
    .await;
    for (task, known) in known {
        let ended = agent.task(&task).await.unwrap().end.map(|end| end.epoch);
        assert_eq!(ended, known.ended, "task {task}");
        let Some((lease, jwt)) = known.lease else { continue };
        let dead = known.ended.is_some() || known.killed;
        assert_eq!(agent.lease(&lease).await.unwrap().end.is_some(), dead, "lease {lease} of task {task}");
        if dead {
            let refused = agent.issue(named(&task)).await.unwrap_err();
            assert_eq!(refused.code, Code::FailedPrecondition, "{refused:?}");
            let refused = agent.issue(token(&task)).await.unwrap_err();
            let reason = if known.ended.is_some() { "TASK_ENDED" } else { "HELD_AFTER_KILL" };
            assert_eq!(refused.reason, reason, "{refused:?}");
            until("the verifier refuses it", async || verifier.verify_token(&jwt).err()).await;
        } else {
            assert_eq!(agent.issue(named(&task)).await.unwrap().0.id, lease);
        }
    }
    world.assert_intact();
}

/// Starts it again, and learns what became of that which was asked for and never answered.
async fn restart(world: &World, ledger: &Ledger) -> Broker {
    let broker = Broker::start(world).await;
    let agent = world.connect("dev/bot").await;
    let known = ledger.lock().clone();
    for (task, mut known) in known {
        if std::mem::take(&mut known.kill_unknown) && !known.killed {
            let (lease, _) = known.lease.as_ref().unwrap();
            let end = agent.lease(lease).await.unwrap().end;
            known.killed = end.is_some_and(|end| end.reason() == EndReason::Killed);
        }
        if std::mem::take(&mut known.end_unknown) && known.ended.is_none() {
            known.ended = agent.task(&task).await.unwrap().end.map(|end| end.epoch);
        }
        ledger.lock().insert(task, known);
    }
    broker
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_and_what_was_ended_stays_dead() {
    let world = World::with(taskpass_e2e::Settings {
        more: "[limits]\ntasks_per_agent = 1000000\n",
        ..Default::default()
    });
    let mut broker = Broker::start(&world).await;
    let server = resource::serve(&world, &broker).await;
    let ledger = Ledger::default();
    for turn in 1..=ROUNDS {
        round(&world, broker, &ledger, usize::try_from(turn % 7).unwrap()).await;
        broker = restart(&world, &ledger).await;
        check(&world, &ledger, &server.verifier).await;
    }
    let known = ledger.lock().clone();
    assert!(known.values().any(|known| known.ended.is_some()) && known.values().any(|known| known.killed));
    assert!(known.values().any(|known| known.ended.is_none() && !known.killed));
    world
        .recorded("that the log goes on after a crash", |entry| {
            entry.action == "audit.recover" || entry.action == "broker.start"
        })
        .await;
    broker.assert_well(&world).await;
}

/// The first message of the feed.
async fn first(client: &Client, request: WatchDeniesRequest) -> WatchDeniesResponse {
    let mut feed =
        RevocationServiceClient::new(client.channel()).watch_denies(request).await.unwrap().into_inner();
    feed.message().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_goes_on_where_it_was_and_misses_nothing() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let (agent, verifier) = (world.connect("dev/bot").await, world.connect("prod/demo-api").await);
    let end = async |agent: &Client| {
        let task = agent.start_task(start()).await.unwrap();
        agent.issue(token(&task.id)).await.unwrap();
        agent.complete(&task.id).await.unwrap().end.unwrap().epoch
    };
    let seen = end(&agent).await;
    let snapshot = first(&verifier, WatchDeniesRequest::default()).await;
    assert!(snapshot.snapshot && snapshot.epoch == seen, "{snapshot:?}");
    let missed = end(&agent).await;
    broker.kill();

    let broker = Broker::start(&world).await;
    let verifier = world.connect("prod/demo-api").await;
    let resume = WatchDeniesRequest {
        history_id: snapshot.history_id.clone(),
        epoch: seen,
        ..WatchDeniesRequest::default()
    };
    let resumed = first(&verifier, resume).await;
    assert_eq!((resumed.snapshot, resumed.after_epoch, resumed.epoch), (false, seen, missed), "{resumed:?}");
    assert_eq!(resumed.history_id, snapshot.history_id);
    assert_eq!(resumed.records.iter().map(|record| record.epoch).collect::<Vec<_>>(), [missed]);
    // Another life of the store: nothing can be resumed.
    let stranger =
        WatchDeniesRequest { history_id: "0".repeat(26), epoch: seen, ..WatchDeniesRequest::default() };
    assert!(first(&verifier, stranger).await.snapshot);
    broker.assert_well(&world).await;
}
