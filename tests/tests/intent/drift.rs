//! What is out, and what becomes of it when the world is no longer the one in which it was allowed.

use super::{ended, reconfigure, set};
use taskpass_audit::Entry;
use taskpass_e2e::{Broker, Client, World, resource, start, token, until};
use taskpass_proto::v1::{EndReason, Lease, RenewCredentialRequest, Task};
use tonic::Code;

/// A task of `agent` with one token.
async fn live(agent: &Client) -> (Task, Lease, String) {
    let task = agent.start_task(start()).await.unwrap();
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    (task, lease, jwt)
}

/// Edits the demo's policies.
fn edit(world: &World, from: &str, to: &str) {
    let text = std::fs::read_to_string(world.path("policies/agents.cedar")).unwrap();
    let edited = text.replacen(from, to, 1);
    assert_ne!(edited, text);
    world.write("policies/agents.cedar", &edited);
}

/// What the log says about a drift that was detected.
async fn detected(world: &World, since: u64, rule: &str, lease: Option<&Lease>) -> Entry {
    world
        .recorded(&format!("what rule {rule} was about"), |entry| {
            entry.seq >= since
                && entry.code == "TP403S"
                && entry.rule.as_deref() == Some(rule)
                && entry.lease.as_deref() == lease.map(|lease| lease.id.as_str())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_disk_reaches_a_live_lease_and_says_by_which_rule() {
    let (world, broker) = set("").await;
    let server = resource::serve(&world, &broker).await;
    let agent = world.connect_local().await;
    let (_, lease, jwt) = live(&agent).await;
    assert!(server.verifier.verify_token(&jwt).is_ok());

    // Still allowed, but for less time than it has.
    edit(&world, "@max_ttl(\"15m\")", "@max_ttl(\"1m\")");
    detected(&world, 1, "default-narrowed", Some(&lease)).await;
    let cut = until("it has an earlier end", async || agent.lease(&lease.id).await.unwrap().cut_time).await;
    let (issued, before) = (lease.create_time.unwrap(), lease.expire_time.unwrap());
    assert!(cut.seconds <= issued.seconds + 61 && cut.seconds < before.seconds, "{cut:?} {before:?}");
    assert!(server.verifier.verify_token(&jwt).is_ok());

    // Not allowed at all.
    edit(&world, "context.action == \"invoice:read\" }", "context.action == \"invoice:list\" }");
    let why = until("the verifier refuses it", async || server.verifier.verify_token(&jwt).err()).await;
    assert!(why.to_string().contains("ended: drifted"), "{why}");
    let entry = detected(&world, 1, "default-policy", Some(&lease)).await;
    assert!(entry.purpose.unwrap().contains("no policy permits"));
    assert_eq!(ended(&agent, &lease).await.by, "broker/drift default-policy");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_agents_leases_and_tasks_end_and_nobody_elses() {
    let (world, broker) = set("").await;
    let server = resource::serve(&world, &broker).await;
    let identity = world.authority.svid("dev/bot");
    let (bot, rival) = (Client::connect(&world.endpoint(&identity)).await, world.connect("dev/rival").await);
    let (task, lease, jwt) = live(&bot).await;
    let (_, other, _) = live(&rival).await;
    assert!(resource::ask(&world, &server, Some(&identity), Some(&jwt)).await.is_ok());

    reconfigure(&world, &broker, "id = \"dev/bot\"\n", "id = \"dev/bot\"\nsuspended = true\n");
    let refused = until("its token is refused", async || {
        let answer = resource::ask(&world, &server, Some(&identity), Some(&jwt)).await;
        (!answer.is_ok()).then_some(answer)
    })
    .await;
    assert!(refused.text.contains("ended: drifted"), "{refused:?}");
    detected(&world, 1, "default-agent", None).await;
    let operator = world.connect("ops/oncall").await;
    let end = until("the task has ended", async || operator.task(&task.id).await.unwrap().end).await;
    assert_eq!(end.reason(), EndReason::Drifted);
    assert_eq!(ended(&operator, &lease).await.epoch, end.epoch, "one record for all of it");
    for refused in [bot.start_task(start()).await.unwrap_err(), bot.issue(token(&task.id)).await.unwrap_err()]
    {
        assert_eq!(refused.says(), (Code::PermissionDenied, "AGENT_SUSPENDED"), "{refused:?}");
    }
    assert!(rival.lease(&other.id).await.unwrap().end.is_none());

    reconfigure(&world, &broker, "suspended = true\n", "");
    until("it may start tasks again", async || bot.start_task(start()).await.ok()).await;
    server.stop().await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_answers_for_any_more_ends() {
    let (world, broker) = set("").await;
    let (bot, rival) = (world.connect("dev/bot").await, world.connect("dev/rival").await);
    let (task, lease, _) = live(&bot).await;
    let (_, other, _) = live(&rival).await;
    let owned = "id = \"dev/bot\"\nowner = \"maya@acme.test\"\n";
    reconfigure(&world, &broker, owned, "id = \"dev/bot\"\n");
    assert_eq!(ended(&bot, &lease).await.reason(), EndReason::Drifted);
    detected(&world, 1, "default-owner", None).await;
    assert_eq!(bot.task(&task.id).await.unwrap().end.unwrap().by, "broker/drift default-owner");
    let refused = bot.start_task(start()).await.unwrap_err();
    assert_eq!(refused.says(), (Code::PermissionDenied, "AGENT_WITHOUT_OWNER"), "{refused:?}");
    assert!(rival.lease(&other.id).await.unwrap().end.is_none());
}

const CLASSIFIED: &str = r#"
@id("high-is-for-people")
forbid (principal, action, resource)
when { resource has sensitivity && resource.sensitivity == "high" };
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_reclassified_takes_its_leases_along() {
    let (world, broker) = set("[[resources]]\nname = \"demo-api\"\nsensitivity = \"low\"\n").await;
    world.write("policies/classified.cedar", CLASSIFIED);
    until("the policy is in force", async || (super::revisions(&world).len() == 2).then_some(())).await;
    let bot = world.connect("dev/bot").await;
    let (task, lease, _) = live(&bot).await;
    // Nobody is told to look: the file is looked at.
    let text = std::fs::read_to_string(world.path("taskpass.toml")).unwrap();
    world.write("taskpass.toml", &text.replace("sensitivity = \"low\"", "sensitivity = \"high\""));
    assert_eq!(ended(&bot, &lease).await.by, "broker/drift default-resource");
    let entry = detected(&world, 1, "default-resource", Some(&lease)).await;
    assert!(entry.purpose.unwrap().contains("high-is-for-people"));
    assert!(bot.task(&task.id).await.unwrap().end.is_none(), "the task may do something else");

    // A configuration that makes no sense changes nothing.
    world.write("taskpass.toml", &text.replace("sensitivity", "sensibility"));
    world.recorded("that it was kept out", |entry| entry.code == "TP412F").await;
    let refused = bot.issue(token(&task.id)).await.unwrap_err();
    assert_eq!(refused.says(), (Code::PermissionDenied, "POLICY_DENIED"), "{refused:?}");
    drop(broker);
}

/// Turns reading off, and on again.
async fn off_and_on(world: &World) {
    for (from, to) in [("read\" }", "list\" }"), ("list\" }", "read\" }")] {
        let known = super::revisions(world).len();
        edit(
            world,
            &format!("context.action == \"invoice:{from}"),
            &format!("context.action == \"invoice:{to}"),
        );
        until("they are in force", async || (super::revisions(world).len() > known).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_in_the_shadow_is_in_the_log_and_does_nothing() {
    let rule = "[[drift]]\nid = \"look-first\"\nwhen = \"policy\"\nthen = \"revoke\"\nshadow = true\n";
    let (world, broker) = set(rule).await;
    let agent = world.connect_local().await;
    let (_, lease, _) = live(&agent).await;
    let mut since = 1;
    // Found by a second look, it had survived the first.
    for _ in 0..2 {
        edit(&world, "context.action == \"invoice:read\" }", "context.action == \"invoice:list\" }");
        let entry = detected(&world, since, "look-first", Some(&lease)).await;
        assert_eq!(entry.shadow.as_deref(), Some("true"), "{entry:?}");
        let shown = agent.lease(&lease.id).await.unwrap();
        assert!(shown.end.is_none() && shown.cut_time.is_none(), "{shown:?}");
        since = entry.seq + 1;
        let known = super::revisions(&world).len();
        edit(&world, "context.action == \"invoice:list\" }", "context.action == \"invoice:read\" }");
        until("it is allowed again", async || (super::revisions(&world).len() > known).then_some(())).await;
    }
    agent.renew(renew(&lease)).await.unwrap();
    broker.assert_well(&world).await;
}

fn renew(lease: &Lease) -> RenewCredentialRequest {
    RenewCredentialRequest { lease_id: lease.id.clone(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn grace_ends_it_later_and_a_policy_that_comes_back_does_not_help() {
    let rule = "[[drift]]\nid = \"a-little-time\"\nwhen = \"policy\"\nthen = \"grace 3s\"\n";
    let (world, broker) = set(rule).await;
    let server = resource::serve(&world, &broker).await;
    let agent = world.connect_local().await;
    let (_, lease, jwt) = live(&agent).await;
    off_and_on(&world).await;
    let cut = until("it has an earlier end", async || {
        let shown = agent.lease(&lease.id).await.unwrap();
        shown.cut_time.or(shown.end.and_then(|end| end.time))
    })
    .await;
    let end = ended(&agent, &lease).await;
    assert_eq!(end.reason(), EndReason::Drifted);
    assert!(end.time.unwrap().seconds >= cut.seconds, "{end:?} {cut:?}");
    let announced = detected(&world, 1, "a-little-time", Some(&lease)).await.seq;
    // The store tells of an end before its outcome is in the log.
    let written = async |code: &str| {
        let fits = |entry: &Entry| entry.code == code && entry.lease.as_deref() == Some(&lease.id);
        world.recorded(code, fits).await.seq
    };
    let (cut, dead) = (written("TP205S").await, written("TP203S").await);
    assert!(announced < cut && cut < dead, "{announced} {cut} {dead}");
    until("the verifier refuses it", async || server.verifier.verify_token(&jwt).err()).await;
    server.stop().await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_to_be_denied_while_the_broker_was_down_ends_when_it_is_up() {
    let (world, broker) = set("").await;
    let agent = world.connect_local().await;
    let (_, lease, _) = live(&agent).await;
    broker.kill();
    edit(&world, "context.action == \"invoice:read\" }", "context.action == \"invoice:list\" }");
    let broker = Broker::start(&world).await;
    let agent = world.connect_local().await;
    assert_eq!(ended(&agent, &lease).await.by, "broker/drift default-policy");
    drop(broker);
}
