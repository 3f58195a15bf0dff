//! Brokers that do the same at the same time.

use crate::world::{open, plan, server, settings, start};
use futures::future::join_all;
use taskpass_lease::Event;
use taskpass_store::{Store as _, conformance::events};

/// A whole fleet starts with its server, and each broker finds a ledger that somebody has to take up first.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_starts_together_starts() {
    let server = server(&["appendonly yes", "appendfsync always"]).await;
    for _ in 0..4 {
        let opened = join_all((0..8).map(|_| open(settings(server.port())))).await;
        let fleet: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
        let policies = Event::SetPolicies(Box::new(events::set_policies("r1")));
        fleet[0].apply(policies, crate::world::NOW).await.unwrap();
        let task = start(&fleet[0]).await.unwrap();
        plan(&fleet[7], task).await.unwrap();
        drop(fleet);
        server.kill();
        server.restart().await;
    }
}
