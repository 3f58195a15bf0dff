//! What an operator is told when something ends: who enforces it, who does not, and until when they may accept it.

use std::{net::Ipv4Addr, time::Duration};
use taskpass_e2e::{Broker, Client, Run, World, program, run, start, token, until};
use taskpass_proto::v1::{self, task_service_client::TaskServiceClient, verifier_standing::State};
use taskpass_servers::Proxy;
use taskpass_types::{Clock as _, SystemClock, Timestamp};
use taskpass_verify::Verifier;

const MAX_STALE: Duration = Duration::from_secs(3);
/// How long after the bound a test may look, on a busy machine.
const LATE: Duration = Duration::from_secs(1);

/// Three verifiers, the last one behind a cable.
struct Guards {
    verifiers: [Verifier; 3],
    cable: Proxy,
}

impl Guards {
    async fn start(world: &World) -> Self {
        let cable = Proxy::start_to(world.api()).await;
        let identity = world.authority.svid("prod/demo-api");
        let behind = world.endpoint_at(&identity, (Ipv4Addr::LOCALHOST, cable.port()).into());
        let guard = |client: &Client, name: &str| {
            let verifier = Verifier::builder(client.channel()).audience("demo-api").instance(name);
            verifier.max_stale(MAX_STALE).start().unwrap()
        };
        let straight = Client::connect(&world.endpoint(&identity)).await;
        let behind = Client::connect(&behind).await;
        let verifiers = [guard(&straight, "web-1"), guard(&straight, "web-2"), guard(&behind, "web-3")];
        for verifier in &verifiers {
            verifier.ready().await;
        }
        Self { verifiers, cable }
    }
}

/// The program as whoever runs the test.
async fn taskpass(world: &World, args: &[&str]) -> Run {
    let mut command = program(args);
    command.env("TASKPASS_SOCKET", world.path("api.sock"));
    run(command).await
}

async fn complete(agent: &Client, task: &str, wait: Duration) -> v1::Enforcement {
    let wait = prost_types::Duration::try_from(wait).ok();
    let request = v1::CompleteTaskRequest { task_id: task.to_owned(), wait };
    let answer = TaskServiceClient::new(agent.channel()).complete_task(request).await.unwrap();
    answer.into_inner().enforcement.unwrap()
}

fn names(enforcement: &v1::Enforcement, state: State) -> Vec<&str> {
    let of = |standing: &&v1::VerifierStanding| standing.state() == state;
    enforcement.standings.iter().filter(of).map(|standing| standing.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_true_about_the_one_of_three_that_is_cut_off() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    let guards = Guards::start(&world).await;

    let task = agent.start_task(start()).await.unwrap();
    let whole = complete(&agent, &task.id, Duration::from_secs(10)).await;
    assert_eq!((whole.enforced, whole.verifiers, whole.accepted_until), (3, 3, None), "{whole:?}");
    let measured = async || {
        let metrics = broker.metrics(&world).await;
        let count =
            metrics.lines().find_map(|line| line.strip_prefix("taskpass_time_to_dead_seconds_count "));
        count.filter(|count| *count != "0").map(str::to_owned)
    };
    until("it is measured", measured).await;

    let task = agent.start_task(start()).await.unwrap();
    let (_, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    for verifier in &guards.verifiers {
        verifier.verify_token(&jwt).unwrap();
    }
    guards.cable.cut();
    let cut = complete(&agent, &task.id, Duration::from_millis(500)).await;
    assert_eq!((cut.enforced, cut.verifiers), (2, 3), "{cut:?}");
    assert_eq!(
        (names(&cut, State::Enforces), names(&cut, State::Waiting)),
        (vec!["prod/demo-api/web-1", "prod/demo-api/web-2"], vec!["prod/demo-api/web-3"])
    );
    // What it says of the two is true now, and of the third by the time that it names.
    let [one, two, three] = &guards.verifiers;
    assert!(one.verify_token(&jwt).is_err() && two.verify_token(&jwt).is_err());
    assert!(three.verify_token(&jwt).is_ok(), "it has heard nothing, and says so in the receipt");
    let moment = |time: &Option<prost_types::Timestamp>| {
        let time = time.as_ref().unwrap();
        Timestamp::from_millis(
            time.seconds.unsigned_abs() * 1000 + u64::from(time.nanos.unsigned_abs()) / 1_000_000,
        )
    };
    let until_then = moment(&cut.accepted_until);
    let bound = until_then.since(moment(&cut.time));
    assert!(bound <= MAX_STALE, "{bound:?}");
    until("it refuses what it hears nothing of", async || three.verify_token(&jwt).err()).await;
    let late = SystemClock::default().now().since(until_then);
    assert!(late <= LATE, "{late:?}");

    // Once the cable is whole, it catches up.
    guards.cable.heal();
    until("it enforces it", async || three.epoch().filter(|held| held.0 >= cut.epoch)).await;
    let again = complete(&agent, &task.id, Duration::from_secs(10)).await;
    assert_eq!((again.enforced, again.epoch), (again.verifiers, cut.epoch), "{again:?}");
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_who_may_still_accept_it() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    let guards = Guards::start(&world).await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, _) = agent.issue_token(token(&task.id)).await.unwrap();
    let killed = taskpass(&world, &["lease", "kill", &lease.id, "--require-all-verifiers"]).await;
    assert_eq!(killed.code, 0, "{killed:?}");
    assert!(killed.stdout.contains("by 3 of 3 verifiers within"), "{killed:?}");
    assert!(killed.stdout.contains("refused by 3 of 3 that were asked"), "{killed:?}");

    guards.cable.cut();
    let complete = ["task", "complete", &task.id];
    let lenient = taskpass(&world, &[&complete[..], &["--wait", "300ms"]].concat()).await;
    assert_eq!(lenient.code, 0, "{lenient:?}");
    assert!(lenient.stdout.contains("by 2 of 3 verifiers within"), "{lenient:?}");
    let late = "prod/demo-api/web-3 (demo-api) is waiting; it refuses everything by";
    assert!(lenient.stdout.contains(late), "{lenient:?}");
    let strict = ["--wait", "300ms", "--require-all-verifiers"];
    assert_eq!(taskpass(&world, &[&complete[..], &strict].concat()).await.code, 9);
    let silent = taskpass(&world, &[&complete[..], &["--no-wait", "-o", "json"]].concat()).await;
    assert!(silent.stdout.contains("\"enforcement\": null"), "{silent:?}");
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_can_be_checked_without_a_broker() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    let guards = Guards::start(&world).await;
    let task = agent.start_task(start()).await.unwrap();
    let mut jwts = Vec::new();
    for _ in 0..3 {
        jwts.push(agent.issue_token(token(&task.id)).await.unwrap().1);
    }
    let running = taskpass(&world, &["receipt", "get", &task.id]).await;
    assert_eq!(running.code, 6, "{running:?}");
    guards.cable.cut();
    complete(&agent, &task.id, Duration::from_millis(200)).await;
    // One of three may still accept all of them, and the receipt says so.
    let get = ["receipt", "get", &task.id, "--wait", "100ms", "--require-all-verifiers"];
    let open = taskpass(&world, &get).await;
    assert_eq!(open.code, 9, "{open:?}");
    assert!(open.stdout.contains("2 of 3 enforce it"), "{open:?}");
    assert!(!open.stdout.contains("dead_"), "{open:?}");
    assert!(guards.verifiers[2].verify_token(&jwts[0]).is_ok());

    guards.cable.heal();
    let (file, keys) = (world.path("closure.jws"), world.path("keys.json"));
    let (file, keys) = (file.to_str().unwrap(), keys.to_str().unwrap());
    let get = ["receipt", "get", &task.id, "--wait", "20s", "--require-all-verifiers"];
    let dead = taskpass(&world, &[&get[..], &["--out", file, "--keys-out", keys]].concat()).await;
    assert_eq!(dead.code, 0, "{dead:?}");
    for (verifier, jwt) in guards.verifiers.iter().zip(&jwts) {
        assert!(verifier.verify_token(jwt).is_err());
    }
    broker.assert_well(&world).await;
    broker.stop().await;

    // No broker, no network: the file and the keys.
    let verify = ["receipt", "verify", file, "--keys", keys];
    let checked = taskpass(&world, &[&verify[..], &["-o", "json"]].concat()).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let said: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(said["item"]["leases"].as_array().unwrap().len(), 3);
    for lease in said["item"]["leases"].as_array().unwrap() {
        assert_eq!(lease["outcome"], "dead_confirmed", "{lease}");
    }
    let foreign = taskpass(&world, &[&verify[..], &["--issuer", "https://other.test"]].concat()).await;
    assert_eq!(foreign.code, 10, "{foreign:?}");
    let whole = std::fs::read_to_string(file).unwrap();
    let middle = whole.len() / 2;
    let letter = if whole.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let changed = format!("{}{letter}{}", &whole[..middle], &whole[middle + 1..]);
    for forged in [changed.as_str(), &whole[..middle], "", "no receipt"] {
        std::fs::write(file, forged).unwrap();
        assert_eq!(taskpass(&world, &verify).await.code, 10, "{forged:.40}");
    }
    std::fs::write(keys, "{}").unwrap();
    assert_eq!(taskpass(&world, &verify).await.code, 2);
}
