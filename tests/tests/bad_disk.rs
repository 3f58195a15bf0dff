//! A disk that lies, and a disk that is full: a broker that cannot keep its word does not give it, and a kill gets
//! through all the same.

use std::fs;
use taskpass_e2e::{Broker, Refused, World, resource, start, token, until};
use taskpass_types::TaskId;
use tonic::Code;

/// A store that has seen some work, closed in good order; and a task in it that still runs.
async fn worked() -> (World, String) {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let agent = world.connect("dev/bot").await;
    for _ in 0..20 {
        let task = agent.start_task(start()).await.unwrap();
        agent.issue(token(&task.id)).await.unwrap();
        agent.complete(&task.id).await.unwrap();
    }
    let task = agent.start_task(start()).await.unwrap();
    agent.issue(token(&task.id)).await.unwrap();
    let (status, log) = broker.stop().await;
    assert!(status.success(), "{log}");
    (world, task.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_none_stops_the_start_and_is_left_as_it_is() {
    let (world, task) = worked().await;
    let file = world.path("data/store.redb");
    let good = fs::read(&file).unwrap();
    let noise: Vec<u8> = (0..good.len()).map(|i| u8::try_from(i * 7919 % 251).unwrap()).collect();
    let mut flipped = good.clone();
    for page in flipped.chunks_mut(512) {
        page[100] ^= 1;
    }
    for (what, bytes) in [
        ("nothing", vec![]),
        ("one byte", vec![b'r']),
        ("its first page", good[..4096].to_vec()),
        ("its first half", good[..good.len() / 2].to_vec()),
        ("all but its last byte", good[..good.len() - 1].to_vec()),
        ("a text", b"this is not a store\n".to_vec()),
        ("noise", noise),
        ("a flipped bit in every sector", flipped),
    ] {
        fs::write(&file, &bytes).unwrap();
        let (status, said) = Broker::start_refused(&world).await;
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        assert!(said.contains(&file.display().to_string()), "{what}: the file is not named in\n{said}");
        assert!(said.contains("the broker does not start") && said.contains("fix "), "{what}: {said}");
        assert!(fs::read(&file).unwrap() == bytes, "{what}: the file was changed");
    }
    fs::write(&file, &good).unwrap();
    let broker = Broker::start(&world).await;
    assert!(world.connect("dev/bot").await.task(&task).await.unwrap().end.is_none());
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_bit_is_harmless_or_found_and_never_a_lie() {
    let (world, task) = worked().await;
    let file = world.path("data/store.redb");
    let (good, audit) = (fs::read(&file).unwrap(), world.path("data/audit"));
    let backup = world.path("backup");
    copy(&audit, &backup);
    for turn in 0..12 {
        let mut bytes = good.clone();
        // Spread over the pages that are in use, which are the first ones.
        bytes[turn * 7177 + 321] ^= 1 << (turn % 8);
        fs::write(&file, &bytes).unwrap();
        fs::remove_dir_all(&audit).unwrap();
        copy(&backup, &audit);
        match Broker::try_start(&world).await {
            Err((status, said)) => {
                assert_eq!(status.code(), Some(1), "{turn}: {said}");
                assert!(said.contains(&file.display().to_string()), "{turn}: {said}");
                assert!(fs::read(&file).unwrap() == bytes, "{turn}: the file was changed");
            }
            Ok(broker) => {
                let found = world.connect("dev/bot").await.task(&task).await;
                match found {
                    Ok(found) => assert!(found.id == task && found.end.is_none(), "{turn}: {found:?}"),
                    Err(refused) => assert_eq!(refused.code, Code::Unavailable, "{turn}: {refused:?}"),
                }
                broker.stop().await;
                world.assert_intact();
            }
        }
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_seals_and_damaged_keys_stop_the_start() {
    let (world, _) = worked().await;
    let seal = fs::read(world.path("seal.key")).unwrap();
    fs::remove_file(world.path("seal.key")).unwrap();
    taskpass_crypto::SealKey::generate_file(&world.path("seal.key")).unwrap();
    let (status, said) = Broker::start_refused(&world).await;
    assert!(status.code() == Some(1) && said.contains("seal"), "{said}");
    fs::write(world.path("seal.key"), seal).unwrap();
    for key in fs::read_dir(world.path("data/keys")).unwrap() {
        let key = key.unwrap().path();
        let good = fs::read(&key).unwrap();
        if good.is_empty() {
            continue;
        }
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&key, &bad).unwrap();
        let (status, said) = Broker::start_refused(&world).await;
        assert!(status.code() == Some(1), "{}: {said}", key.display());
        assert!(fs::read(&key).unwrap() == bad, "{} was changed", key.display());
        fs::write(&key, &good).unwrap();
    }
    Broker::start(&world).await.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_stops_the_start_and_forgets_no_end() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let agent = world.connect("dev/bot").await;
    let first = agent.start_task(start()).await.unwrap().id;
    let second = agent.start_task(start()).await.unwrap().id;
    broker.limit_files(Some(256 * 1024));
    until("the store cannot write", async || agent.start_task(start()).await.err()).await;
    agent.complete(&first).await.unwrap();
    agent.complete(&second).await.unwrap();
    broker.kill();
    let file = world.path("data/revocations.journal");
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    let mut zeros = good.clone();
    zeros[..64].fill(0);
    for (what, bytes) in [
        ("a flipped bit in the first record", flipped),
        ("zeros in its first record", zeros),
        ("its first bytes alone", good[..512].to_vec()),
    ] {
        fs::write(&file, &bytes).unwrap();
        let (status, said) = Broker::start_refused(&world).await;
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        assert!(said.contains(&file.display().to_string()), "{what}: the file is not named in\n{said}");
        assert!(said.contains("damaged") && said.contains("fix "), "{what}: {said}");
        assert!(fs::read(&file).unwrap() == bytes, "{what}: the file was changed");
    }
    fs::write(&file, &good).unwrap();
    let broker = Broker::start(&world).await;
    for task in [&first, &second] {
        let agent = world.connect("dev/bot").await;
        assert!(agent.task(task).await.unwrap().end.is_some());
        assert_eq!(agent.issue(token(task)).await.unwrap_err().reason, "TASK_ENDED");
    }
    broker.assert_well(&world).await;
}

/// It was not granted, and the caller is told to ask again; `OUTCOME_UNKNOWN` is the truth about a write that failed
/// half way.
fn assert_unavailable(what: &str, refused: &Refused) {
    assert_eq!(refused.code, Code::Unavailable, "{what}: {refused:?}");
    let reasons = ["AUDIT_UNAVAILABLE", "OUTCOME_UNKNOWN", "STORE_UNAVAILABLE"];
    assert!(reasons.contains(&refused.reason.as_str()), "{what}: {refused:?}");
}

/// What happens while the disk is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    /// The broker is killed, and starts again when there is room.
    Crash,
    /// There is room again.
    Room,
}

/// Works, fills the disk, works on, frees the disk, works. `bytes` says where the disk is full.
async fn full_disk(bytes: impl FnOnce(&World) -> u64, meanwhile: Meanwhile) {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let server = resource::serve(&world, &broker).await;
    let (agent, operator) = (world.connect_local().await, world.connect("ops/oncall").await);
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let task = agent.start_task(start()).await.unwrap();
        let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
        assert!(server.verifier.verify_token(&jwt).is_ok());
        tasks.push((task.id, lease.id, jwt));
    }
    let [completed, killed, cancelled, running] = <[_; 4]>::try_from(tasks).unwrap();
    let refused_by_verifier = async |jwt: &str| {
        until("the verifier refuses", async || server.verifier.verify_token(jwt).err()).await.to_string()
    };

    let since = world.next_entry();
    broker.limit_files(Some(bytes(&world)));
    let refused = until("the disk is full", async || agent.issue(token(&running.0)).await.err()).await;
    assert_unavailable("issue", &refused);
    let not_started = agent.start_task(start()).await.unwrap_err();
    assert_unavailable("start", &not_started);
    // A kill waits for nothing: neither for the store nor for the audit log.
    let ended = agent.complete(&completed.0).await.unwrap().end.unwrap();
    assert!(refused_by_verifier(&completed.2).await.contains("ended: completed"));
    assert!(operator.kill(&killed.1).await.unwrap().held);
    assert!(refused_by_verifier(&killed.2).await.contains("ended: killed"));
    agent.library().cancel_task(&cancelled.0, "the disk is full").await.unwrap();
    assert!(refused_by_verifier(&cancelled.2).await.contains("ended: cancelled"));
    // What was answered is so for everyone who asks, and what was not is not.
    assert_eq!(agent.task(&completed.0).await.unwrap().end.unwrap(), ended);
    assert!(agent.issue(token(&completed.0)).await.is_err());
    assert!(agent.task(&running.0).await.unwrap().end.is_none());
    assert!(server.verifier.verify_token(&running.2).is_ok());
    assert_eq!(agent.task(&TaskId::new().to_string()).await.unwrap_err().reason, "TASK_NOT_FOUND");

    let broker = match meanwhile {
        Meanwhile::Crash => {
            broker.kill();
            Broker::start(&world).await
        }
        Meanwhile::Room => {
            broker.limit_files(None);
            broker
        }
    };
    until("it grants again", async || agent.issue(token(&running.0)).await.ok()).await;
    let check = async |agent: &taskpass_e2e::Client| {
        assert_eq!(agent.task(&completed.0).await.unwrap().end.unwrap(), ended);
        for (task, reason) in
            [(&completed.0, "TASK_ENDED"), (&cancelled.0, "TASK_ENDED"), (&killed.0, "HELD_AFTER_KILL")]
        {
            assert_eq!(agent.issue(token(task)).await.unwrap_err().reason, reason);
        }
        assert!(agent.lease(&killed.1).await.unwrap().end.is_some());
        assert!(agent.lease(&running.1).await.unwrap().end.is_none());
    };
    check(&agent).await;
    for (task, reason) in [(&completed.0, "completed"), (&cancelled.0, "cancelled")] {
        world
            .recorded("the end that happened while the disk was full", |entry| {
                entry.code == "TP103S"
                    && entry.task.as_deref() == Some(task)
                    && entry.reason.as_deref() == Some(reason)
            })
            .await;
    }
    world
        .recorded("the kill that happened while the disk was full", |entry| {
            entry.code == "TP203S"
                && entry.lease.as_deref() == Some(&killed.1)
                && entry.actor == "operator/ops/oncall"
        })
        .await;
    for (what, code, reason) in
        [("issue", "TP602F", &refused.reason), ("start", "TP602F TP101F", &not_started.reason)]
    {
        world
            .recorded(&format!("that the {what} was refused while the disk was full"), |entry| {
                entry.seq >= since
                    && code.contains(&entry.code)
                    && entry.actor == "agent/dev/maya"
                    && entry.refusal.as_deref() == Some(reason)
            })
            .await;
    }
    broker.assert_well(&world).await;
    // And so it is written, whatever happens next.
    broker.kill();
    let broker = Broker::start(&world).await;
    check(&world.connect_local().await).await;
    until("the verifier is back", async || server.verifier.verify_token(&running.2).ok()).await;
    for dead in [&completed, &killed, &cancelled] {
        assert!(server.verifier.verify_token(&dead.2).is_err());
    }
    broker.assert_well(&world).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_store_that_cannot_write_nothing_is_granted_and_everything_can_be_ended() {
    // Room for the audit log, none for the store.
    full_disk(|_| 256 * 1024, Meanwhile::Room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_audit_log_that_cannot_grow_nothing_is_granted_and_everything_can_be_ended() {
    let length = |world: &World| fs::metadata(world.audit().join(taskpass_audit::LOG_FILE)).unwrap().len();
    full_disk(length, Meanwhile::Room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_ended_while_the_store_could_not_write_stays_so_after_a_crash() {
    full_disk(|_| 256 * 1024, Meanwhile::Crash).await;
}
