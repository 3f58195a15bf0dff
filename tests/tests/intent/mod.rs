//! Intent decides: people, policies, tool calls and budgets, and what a change of any of them does to what is already
//! out.

mod approvals;
mod budgets;
mod drift;
mod plans;
mod tools;

use rustix::process::{Signal, kill_process};
use taskpass_e2e::{Broker, Client, Refused, Settings, World, start, token, until};
use taskpass_proto::v1::{IssueCredentialRequest, Lease, StartTaskRequest, Task};

/// People, besides whoever runs the test: `maya`, who owns every agent, two finance leads, and somebody in no group.
const PEOPLE: &str = r#"
[[users]]
name = "maya@acme.test"
groups = ["finance-leads"]
selectors = ["spiffe:id:spiffe://acme.test/people/maya"]
[[users]]
name = "noor@acme.test"
groups = ["finance-leads"]
selectors = ["spiffe:id:spiffe://acme.test/people/noor"]
[[users]]
name = "ines@acme.test"
groups = ["finance-leads"]
selectors = ["spiffe:id:spiffe://acme.test/people/ines"]
[[users]]
name = "otto@acme.test"
selectors = ["spiffe:id:spiffe://acme.test/people/otto"]
"#;

/// A world with [`PEOPLE`] and other tables, and its broker.
async fn set(more: &str) -> (World, Broker) {
    let world = World::with(Settings { more: &format!("{more}{PEOPLE}"), ..Settings::default() });
    let broker = Broker::start(&world).await;
    (world, broker)
}

/// Changes the configuration on disk, and has the broker take it up.
fn reconfigure(world: &World, broker: &Broker, from: &str, to: &str) {
    let text = std::fs::read_to_string(world.path("taskpass.toml")).unwrap();
    let edited = text.replacen(from, to, 1);
    assert_ne!(edited, text);
    world.write("taskpass.toml", &edited);
    kill_process(broker.pid(), Signal::HUP).unwrap();
}

/// A task that may read and refund.
fn both() -> StartTaskRequest {
    let scopes = ["demo-api:invoice:read", "demo-api:invoice:refund"].map(str::to_owned).to_vec();
    StartTaskRequest { scopes, ..start() }
}

/// Asks for a token to refund with.
fn refund(task: &Task) -> IssueCredentialRequest {
    IssueCredentialRequest { actions: vec!["invoice:refund".to_owned()], ..token(&task.id) }
}

/// The approval that a request has to wait for.
fn waits_for(answer: Result<(Lease, String), Refused>) -> String {
    let refused = answer.unwrap_err();
    assert_eq!(refused.reason, "APPROVAL_REQUIRED", "{refused:?}");
    let approval = refused.about("approval").to_owned();
    assert!(approval.starts_with("ap_"), "{refused:?}");
    approval
}

/// Waits until a lease has ended, and gives how.
async fn ended(client: &Client, lease: &Lease) -> taskpass_proto::v1::End {
    until("the lease has ended", async || client.lease(&lease.id).await.unwrap().end).await
}

/// Every set of policies that the broker has said to be in force, by the log.
fn revisions(world: &World) -> Vec<String> {
    let loads = world.entries().into_iter().filter(|entry| entry.code == "TP401S");
    loads.filter_map(|entry| entry.policy_revision).collect()
}
