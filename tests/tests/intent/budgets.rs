//! A budget holds exactly, whoever asks at the same moment.

use super::set;
use taskpass_e2e::{Client, World, start, token, until};
use taskpass_proto::v1::{AuthorizeToolCallRequest, IssueCredentialRequest, StartTaskRequest, ToolCall};
use tokio::task::JoinSet;

const AT_ONCE: usize = 100;

const BUDGETS: &str = r#"
@id("a-few-ledgers")
@max_credentials("7")
permit (principal in Group::"dev", action == Action::"issue", resource == Resource::"ledger-api");

@id("a-few-calls")
@max_calls("11 per minute")
permit (principal in Group::"dev", action == Action::"call_tool", resource == Resource::"ledger-api")
when { context.action == "entry:read" };

@id("once-or-twice")
@max_uses("3")
permit (principal in Group::"dev", action == Action::"call_tool", resource == Resource::"ledger-api")
when { context.action == "entry:sign" };

@id("hand-on")
permit (principal in Group::"dev", action == Action::"delegate", resource == Resource::"ledger-api");
"#;

fn ledger(parent: &str) -> StartTaskRequest {
    let scopes = ["ledger-api:entry:read", "ledger-api:entry:sign"].map(str::to_owned).to_vec();
    StartTaskRequest { scopes, parent_task_id: parent.to_owned(), ..start() }
}

fn asking(task: &str) -> IssueCredentialRequest {
    IssueCredentialRequest {
        resource: "ledger-api".to_owned(),
        actions: vec!["entry:read".to_owned()],
        ..token(task)
    }
}

/// Asks a hundred times at once over several connections; gives how many got what they asked for. All others were told
/// that the budget is used up.
async fn race<F>(world: &World, ask: impl Fn(Client, usize) -> F) -> usize
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(world.connect("dev/bot").await);
    }
    let mut asking = JoinSet::new();
    for (turn, client) in clients.iter().cycle().take(AT_ONCE).enumerate() {
        asking.spawn(ask(client.clone(), turn));
    }
    let answers = asking.join_all().await;
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused, "BUDGET_EXCEEDED");
    }
    answers.iter().filter(|answer| answer.is_ok()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_get_exactly_what_the_budget_has() {
    let (world, broker) = set("").await;
    world.write("policies/budgets.cedar", BUDGETS);
    until("it is in force", async || (super::revisions(&world).len() == 2).then_some(())).await;
    let agent = world.connect("dev/bot").await;
    let root = agent.start_task(ledger("")).await.unwrap().id;
    let child = agent.start_task(ledger(&root)).await.unwrap().id;
    let (lease, _) = agent.issue(asking(&root)).await.unwrap();

    // The root and all below it share one budget, of which one is used.
    let tasks = [root.clone(), child];
    let got = race(&world, |client, turn| {
        let request = asking(&tasks[turn % 2]);
        async move { client.issue(request).await.map(drop).map_err(|refused| refused.reason) }
    })
    .await;
    assert_eq!(got, 6);
    assert_eq!(agent.task(&root).await.unwrap().issued, 7);

    let call = |action: &str| {
        let (lease_id, action) = (lease.id.clone(), action.to_owned());
        let (tool, resource) = ("ledger".to_owned(), "ledger-api".to_owned());
        let call = ToolCall { lease_id, tool, resource, action, ..Default::default() };
        AuthorizeToolCallRequest { call: Some(call), ..Default::default() }
    };
    let calls = async |world: &World, request: AuthorizeToolCallRequest| {
        race(world, |client, _| {
            let request = request.clone();
            async move {
                let decision = client.library().authorize_call(request).await.unwrap().decision.unwrap();
                if decision.allowed { Ok(()) } else { Err(decision.reason) }
            }
        })
        .await
    };
    assert_eq!(calls(&world, call("entry:read")).await, 11);
    let shown = agent.lease(&lease.id).await.unwrap();
    assert_eq!((shown.uses, agent.task(&root).await.unwrap().tool_calls), (11, 11));
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_uses_at_once_of_one_credential_are_three() {
    let (world, broker) = set("").await;
    world.write("policies/budgets.cedar", BUDGETS);
    until("it is in force", async || (super::revisions(&world).len() == 2).then_some(())).await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(ledger("")).await.unwrap().id;
    let both = ["entry:read", "entry:sign"].map(str::to_owned).to_vec();
    let (lease, _) = agent.issue(IssueCredentialRequest { actions: both, ..asking(&task) }).await.unwrap();
    let call = ToolCall {
        lease_id: lease.id.clone(),
        tool: "ledger".to_owned(),
        resource: "ledger-api".to_owned(),
        action: "entry:sign".to_owned(),
        ..Default::default()
    };
    let got = race(&world, |client, _| {
        let request = AuthorizeToolCallRequest { call: Some(call.clone()), ..Default::default() };
        async move {
            let decision = client.library().authorize_call(request).await.unwrap().decision.unwrap();
            if decision.allowed { Ok(()) } else { Err(decision.reason) }
        }
    })
    .await;
    assert_eq!((got, agent.lease(&lease.id).await.unwrap().uses), (3, 3));
    // Leaving out the lease does not leave out its budget.
    let without = ToolCall { lease_id: String::new(), task_id: task.clone(), ..call };
    let request = AuthorizeToolCallRequest { call: Some(without), ..Default::default() };
    let decision = agent.library().authorize_call(request).await.unwrap().decision.unwrap();
    assert_eq!((decision.allowed, decision.reason.as_str()), (false, "OBLIGATION_UNMET"));
    broker.assert_well(&world).await;
}
