//! More than was declared, more than policy allows, more than anyone needs.

use super::Desk;
use taskpass_e2e::{Client, issue, start, token};
use taskpass_proto::v1::{
    IssueCredentialRequest, StartTaskRequest, TokenForm, issue_credential_request::Form,
};
use tonic::Code;

fn scopes(count: usize) -> StartTaskRequest {
    StartTaskRequest { scopes: (0..count).map(|i| format!("demo-api:invoice:{i}")).collect(), ..start() }
}

fn ask(task: &str, actions: &[&str]) -> IssueCredentialRequest {
    let actions = actions.iter().map(|action| (*action).to_owned()).collect();
    IssueCredentialRequest { actions, ..token(task) }
}

async fn task(agent: &Client, scopes: &[&str]) -> String {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    agent.start_task(StartTaskRequest { scopes, ..start() }).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_scopes_and_no_more() {
    let desk = Desk::open().await;
    assert_eq!(desk.agent.start_task(scopes(64)).await.unwrap().scopes.len(), 64);
    let since = desk.world.next_entry();
    let refused = desk.agent.start_task(scopes(65)).await.unwrap_err();
    desk.refused("65 scopes", since, &refused, (Code::InvalidArgument, "FIELD_INVALID")).await;
    assert_eq!(refused.about("field"), "scopes");
    desk.close(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_declared_is_refused_whole() {
    let desk = Desk::open().await;
    for (actions, resource, scope) in [
        (&["invoice:delete"][..], "demo-api", "demo-api:invoice:delete"),
        (&["invoice:read", "invoice:write"], "demo-api", "demo-api:invoice:write"),
        (&["invoice:read"], "other-api", "other-api:invoice:read"),
        (&["invoice:*"], "demo-api", "demo-api:invoice:*"),
    ] {
        let since = desk.world.next_entry();
        let request = IssueCredentialRequest { resource: resource.to_owned(), ..ask(&desk.task.id, actions) };
        let refused = desk.agent.issue(request).await.unwrap_err();
        desk.refused(scope, since, &refused, (Code::PermissionDenied, "SCOPE_EXCEEDS_TASK")).await;
        assert_eq!((refused.about("scope"), refused.about("task")), (scope, desk.task.id.as_str()));
        assert!(!refused.about("fix").is_empty());
    }
    desk.close(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_names_the_policy_the_reason_and_the_way_out() {
    let desk = Desk::open().await;
    let all = ["demo-api:invoice:read", "demo-api:invoice:write", "demo-api:invoice:delete", "other-api:x"];
    let task = task(&desk.agent, &all).await;
    let denied = (Code::PermissionDenied, "POLICY_DENIED");

    // Forbidden by name, also beside what is allowed.
    for actions in [&["invoice:delete"][..], &["invoice:delete", "invoice:read"]] {
        let since = desk.world.next_entry();
        let refused = desk.agent.issue(ask(&task, actions)).await.unwrap_err();
        desk.refused("forbidden", since, &refused, denied).await;
        let said = refused.text();
        for part in ["nobody-deletes-invoices", "guardrails.cedar:", "kept for ten years"] {
            assert!(said.contains(part), "`{part}` is not in {refused:?}");
        }
        assert!(refused.about("decision").starts_with("dc_"), "{refused:?}");
        assert!(!refused.about("fix").is_empty(), "{refused:?}");
    }
    // Permitted by nobody.
    let since = desk.world.next_entry();
    let other = IssueCredentialRequest { resource: "other-api".to_owned(), ..ask(&task, &["x"]) };
    let refused = desk.agent.issue(other).await.unwrap_err();
    desk.refused("not permitted", since, &refused, denied).await;
    assert!(refused.message.contains("no policy permits"), "{refused:?}");
    // Permitted under a condition: on the Unix socket there is no certificate to bind to.
    let local = desk.world.connect_local().await;
    let task = self::task(&local, &all).await;
    let refused = local.issue(ask(&task, &["invoice:write"])).await.unwrap_err();
    assert_eq!(refused.says(), denied, "{refused:?}");
    assert!(refused.text().contains("context.bound"), "{refused:?}");
    // With a key of its own it is, and policy's two minutes are all that it gets.
    let bound = Form::Token(TokenForm { jkt: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".to_owned() });
    let request = IssueCredentialRequest { actions: vec!["invoice:write".to_owned()], ..issue(&task, bound) };
    let (lease, _) = local.issue(request).await.unwrap();
    assert!(lease.bound);
    let life = lease.expire_time.unwrap().seconds - lease.create_time.unwrap().seconds;
    assert!((1..=120).contains(&life), "{life}");
    desk.close(1).await;
}
