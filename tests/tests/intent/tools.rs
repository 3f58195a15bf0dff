//! Single tool calls: what was declared is allowed and counted; what was not is followed by what policy says.

use super::{ended, set};
use taskpass_client::Arguments;
use taskpass_e2e::{Client, start, token};
use taskpass_proto::v1::{
    AuthorizeToolCallRequest, AuthorizeToolCallResponse, CallOutcome, Consequence, EndReason, Lease,
    ReportToolCallRequest, ToolCall,
};
use tonic::Code;

fn call(lease: &Lease, action: &str) -> ToolCall {
    ToolCall {
        lease_id: lease.id.clone(),
        tool: "a.tool".to_owned(),
        resource: "demo-api".to_owned(),
        action: action.to_owned(),
        ..Default::default()
    }
}

async fn authorize(caller: &Client, call: ToolCall) -> AuthorizeToolCallResponse {
    let request = AuthorizeToolCallRequest { call: Some(call), ..Default::default() };
    caller.library().authorize_call(request).await.unwrap()
}

async fn live(agent: &Client) -> Lease {
    let task = agent.start_task(start()).await.unwrap();
    agent.issue(token(&task.id)).await.unwrap().0
}

const HOLDS: &str = r#"
@id("printing-is-suspicious")
@outside_scope("hold")
permit (principal in Group::"dev", action == Action::"call_tool", resource == Resource::"demo-api")
when { context.action == "invoice:print" };
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_beside_the_declared_scopes_is_reported_held_or_ends_the_lease() {
    let (world, broker) = set("").await;
    world.write("policies/holds.cedar", HOLDS);
    taskpass_e2e::until("it is in force", async || (super::revisions(&world).len() == 2).then_some(())).await;
    let (agent, server) = (world.connect("dev/bot").await, world.connect("prod/demo-api").await);
    let arguments = Arguments::new(b"{}").unwrap();

    // The agent asks, the resource server tells.
    let lease = live(&agent).await;
    let digest = arguments.digest().to_vec();
    let declared = ToolCall { arguments_digest: digest.clone().into(), ..call(&lease, "invoice:read") };
    let allowed = authorize(&agent, declared.clone()).await;
    assert!(allowed.decision.unwrap().allowed);
    let report = ReportToolCallRequest {
        call_id: allowed.call_id.clone(),
        call: Some(declared),
        outcome: CallOutcome::Succeeded.into(),
    };
    server.library().report_call(report).await.unwrap();
    for (code, actor) in [
        ("TP211I", "agent/dev/bot"),
        ("TP211S", "agent/dev/bot"),
        ("TP212S", "peer/spiffe://acme.test/prod/demo-api"),
    ] {
        let entry = world
            .recorded(code, |entry| entry.code == code && entry.call.as_deref() == Some(&allowed.call_id))
            .await;
        assert_eq!((entry.actor.as_str(), entry.tool.as_deref()), (actor, Some("a.tool")));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(entry.arguments, Some(hex));
    }
    assert_eq!(agent.lease(&lease.id).await.unwrap().uses, 1);

    // Nothing says what follows from this one, so it is written down.
    let deleting = authorize(&server, call(&lease, "invoice:delete")).await.decision.unwrap();
    assert_eq!((deleting.allowed, deleting.consequence()), (false, Consequence::Report));
    assert_eq!(deleting.reason, "SCOPE_EXCEEDS_TASK");
    assert!(agent.issue(token(&lease.task_id)).await.is_ok());

    let held = authorize(&server, call(&lease, "invoice:print")).await.decision.unwrap();
    assert_eq!((held.allowed, held.consequence()), (false, Consequence::Hold));
    let refused = agent.issue(token(&lease.task_id)).await.unwrap_err();
    assert_eq!(refused.says(), (Code::PermissionDenied, "HELD_AFTER_KILL"), "{refused:?}");
    let refused = authorize(&agent, call(&lease, "invoice:read")).await.decision.unwrap();
    assert_eq!((refused.allowed, refused.reason.as_str()), (false, "HELD_AFTER_KILL"));
    assert!(agent.lease(&lease.id).await.unwrap().end.is_none(), "a hold ends nothing");
    assert!(world.connect("ops/oncall").await.release(&lease.id).await.unwrap());

    // A call that was made without asking is judged when it is told.
    let report = ReportToolCallRequest {
        call: Some(call(&lease, "invoice:refund")),
        outcome: CallOutcome::Succeeded.into(),
        ..Default::default()
    };
    let told = server.library().report_call(report).await.unwrap().decision.unwrap();
    assert_eq!((told.allowed, told.consequence()), (false, Consequence::Kill));
    assert_eq!(ended(&agent, &lease).await.reason(), EndReason::Drifted);
    for (code, consequence) in [("TP303S", "hold"), ("TP403S", "report"), ("TP403S", "kill")] {
        world
            .recorded(&format!("{code} {consequence}"), |entry| {
                entry.code == code
                    && entry.lease.as_deref() == Some(&lease.id)
                    && (code != "TP403S" || entry.consequence.as_deref() == Some(consequence))
            })
            .await;
    }
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_neither_the_lease_nor_a_verifiers_role_calls_nothing_under_it() {
    let (world, broker) = set("").await;
    let agent = world.connect("dev/bot").await;
    let lease = live(&agent).await;
    for who in ["dev/rival", "platform/scheduler", "people/noor"] {
        let stranger = world.connect(who).await.library();
        let request =
            AuthorizeToolCallRequest { call: Some(call(&lease, "invoice:refund")), ..Default::default() };
        let refused = stranger.authorize_call(request).await.unwrap_err();
        assert_eq!(refused.reason_code(), "LEASE_NOT_FOUND", "{who}: {refused:?}");
    }
    assert!(agent.lease(&lease.id).await.unwrap().end.is_none());
    broker.assert_well(&world).await;
}
