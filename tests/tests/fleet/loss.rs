//! A ledger that goes away, comes back, or comes back as another.

use super::Fleet;
use taskpass_e2e::{resource, start, token, until};
use taskpass_servers::{Kind, Options, Server};
use taskpass_verify::Rejected;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn without_its_ledger_nothing_is_granted_and_with_it_all_goes_on() {
    let fleet = Fleet::start(1).await;
    let server = resource::serve(&fleet.worlds[0], fleet.broker(0)).await;
    let agent = fleet.worlds[0].connect_local().await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    until("it is accepted", async || server.verifier.verify_token(&jwt).ok()).await;

    fleet.server.kill();
    let refused = agent.issue_token(token(&task.id)).await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable, "{refused:?}");
    // Who cannot hear of an end refuses.
    until("the verifier refuses", async || server.verifier.verify_token(&jwt).err()).await;

    fleet.server.restart().await;
    until("it grants again", async || agent.issue_token(token(&task.id)).await.ok()).await;
    until("what was out is good again", async || server.verifier.verify_token(&jwt).ok()).await;
    assert!(agent.lease(&lease.id).await.unwrap().end.is_none());
    agent.complete(&task.id).await.unwrap();
    until("its end is heard", async || {
        server.verifier.verify_token(&jwt).err().filter(|why| why.to_string().contains("ended"))
    })
    .await;
    fleet.assert_well().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_wiped_brings_nothing_old_back_to_life() {
    let fleet = Fleet::start(2).await;
    let servers = [
        resource::serve(&fleet.worlds[0], fleet.broker(0)).await,
        resource::serve(&fleet.worlds[1], fleet.broker(1)).await,
    ];
    let agent = fleet.worlds[0].connect_local().await;
    let (ended, lost) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    let (_, dead) = agent.issue_token(token(&ended.id)).await.unwrap();
    let (_, orphan) = agent.issue_token(token(&lost.id)).await.unwrap();
    for server in &servers {
        until("they are accepted", async || {
            server.verifier.verify_token(&dead).ok().zip(server.verifier.verify_token(&orphan).ok())
        })
        .await;
    }
    agent.complete(&ended.id).await.unwrap();
    for server in &servers {
        until("its end is heard", async || server.verifier.verify_token(&dead).err()).await;
    }

    fleet.server.command(&["FLUSHALL"]).await;
    // The broker notices by itself; what was signed before is refused, the ended and the lost.
    let new = until("it grants again", async || {
        let task = agent.start_task(start()).await.ok()?;
        agent.issue_token(token(&task.id)).await.ok()
    })
    .await;
    for server in &servers {
        assert!(server.verifier.verify_token(&dead).is_err(), "an end was forgotten");
        until("what the ledger lost is refused", async || server.verifier.verify_token(&orphan).err()).await;
        until("what is new is good", async || server.verifier.verify_token(&new.1).ok()).await;
        assert!(server.verifier.verify_token(&dead).is_err(), "an end was forgotten");
    }
    assert_eq!(agent.task(&lost.id).await.unwrap_err().reason, "TASK_NOT_FOUND");
    fleet.assert_well().await;
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_ledger_ends_whatever_it_says_is_running() {
    let fleet = Fleet::start(1).await;
    let server = resource::serve(&fleet.worlds[0], fleet.broker(0)).await;
    let agent = fleet.worlds[0].connect_local().await;
    let (ended, running) =
        (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    let (_, jwt) = agent.issue_token(token(&ended.id)).await.unwrap();
    until("it is accepted", async || server.verifier.verify_token(&jwt).ok()).await;
    // The copy of a moment at which the task was still running.
    fleet.server.stop().await;
    let copy = tempfile::tempdir().unwrap();
    copy_dir(fleet.server.directory(), copy.path());
    fleet.server.restart().await;
    until("it is ended", async || agent.complete(&ended.id).await.ok()).await;
    fleet.server.stop().await;
    copy_dir(copy.path(), fleet.server.directory());
    fleet.server.restart().await;
    let (_, newer) = until("it grants again", async || {
        let task = agent.start_task(start()).await.ok()?;
        agent.issue_token(token(&task.id)).await.ok()
    })
    .await;
    for task in [&ended, &running] {
        let refused = agent.issue_token(token(&task.id)).await.unwrap_err();
        assert_eq!(refused.reason, "TASK_ENDED", "{refused:?}");
    }
    until("the verifier follows again", async || server.verifier.verify_token(&newer).ok()).await;
    // It has heard from the ledger that came back, which knows nothing of the end.
    let refused = server.verifier.verify_token(&jwt).unwrap_err();
    assert!(matches!(refused, Rejected::Denied(_) | Rejected::Token(_)), "{refused:?}");
    fleet.assert_well().await;
    server.stop().await;
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::remove_dir_all(to.join("appendonlydir")).ok();
    let run = std::process::Command::new("cp").arg("-r").arg(from.join("appendonlydir")).arg(to).status();
    assert!(run.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_applications_keys_stay_as_they_are() {
    let server = Server::start(Kind::Redis, Options::default()).await;
    server.command(&["SET", "shop:{taskpass}", "1"]).await;
    server.command(&["SET", "taskpass", "theirs"]).await;
    let more = format!("[store.redis]\naddress = \"127.0.0.1:{}\"\n", server.port());
    let settings = taskpass_e2e::Settings { more: &more, ..Default::default() };
    let world = taskpass_e2e::World::with(settings);
    let broker = taskpass_e2e::Broker::start(&world).await;
    broker.assert_well(&world).await;
    for key in ["shop:{taskpass}", "taskpass"] {
        assert!(server.command(&["GET", key]).await.text().is_some(), "{key}");
    }
    broker.stop().await;
}
