//! What the broker asks about is answered by what requests would meet.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

mod common;

use common::{Broker, SESSION, grant, lease};
use taskpass_proto::v1::{Probe, WatchDeniesResponse};
use taskpass_types::{Epoch, Grant};

fn probe(grant: &Grant) -> Probe {
    Probe {
        lease_id: grant.lease.to_string(),
        task_path: grant.task_path.iter().map(|task| task.to_string()).collect(),
        agents: grant.agents.iter().map(ToString::to_string).collect(),
        owner: grant.owner.to_string(),
        resource: grant.resource.to_string(),
        policy_revision: grant.policy_revision.to_string(),
        key_generation: grant.key_generation.0,
        deny_epoch: grant.deny_epoch.0,
        expire_time: common::time(grant.expires_at),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_says_what_it_would_do() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let (dead, living) = (grant(), grant());
    let ask = broker.delta(0, vec![lease(1, &dead)]);
    session.say(WatchDeniesResponse { probes: vec![probe(&dead), probe(&living)], ..ask }).await;
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let said = broker.answered.recv().await.unwrap();
        assert_eq!(said.session_id, SESSION);
        answers.extend(said.answers.into_iter().map(|answer| (answer.lease_id, answer.refused)));
    }
    assert_eq!(answers, [(dead.lease.to_string(), true), (living.lease.to_string(), false)]);
    assert_eq!(verifier.epoch(), Some(Epoch(1)));
    // With a heartbeat too.
    session.say(WatchDeniesResponse { probes: vec![probe(&dead)], ..broker.delta(1, vec![]) }).await;
    assert!(broker.answered.recv().await.unwrap().answers[0].refused);
    // What has expired is refused too, though nobody remembers that it was denied.
    let expired = Grant { expires_at: common::T0, ..grant() };
    broker.clock.advance(std::time::Duration::from_secs(5));
    session.say(WatchDeniesResponse { probes: vec![probe(&expired)], ..broker.delta(1, vec![]) }).await;
    assert!(broker.answered.recv().await.unwrap().answers[0].refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_none_ends_the_session_and_nothing_else() {
    let mut broker = Broker::start();
    let (verifier, session) = broker.ready().await;
    let bad = Probe { task_path: Vec::new(), ..probe(&grant()) };
    session.say(WatchDeniesResponse { probes: vec![bad], ..broker.delta(0, vec![]) }).await;
    let again = broker.session().await;
    again.say(broker.snapshot(0, vec![])).await;
    let good = grant();
    verifier.verify_token(&broker.token(&good)).unwrap();
}
