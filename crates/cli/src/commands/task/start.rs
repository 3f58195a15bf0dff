//! `taskpass task start`.

use crate::{
    args::{Ask, Declaration, Patience, proto_span},
    error::{Exit, Failure},
    session::{Outcome, Session},
    span::Span,
    view::TaskView,
};
use clap::Args;
use taskpass_proto::v1;
use taskpass_types::Reason;

/// Declare a task; credentials can be asked for until it ends
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass task start \"close November\" --resource billing-api:invoice:read --task-ttl 30m
  taskpass task start \"refund order 7291\" --parent tk_9f2c4x --agent support/triage \\
      --resource payments-api:refund:create --wait-approval 10m
  id=$(taskpass task start \"close November\" --resource s3/reports:put,list -o name)")]
pub(crate) struct Start {
    /// Why, for people
    purpose: String,
    /// What may be asked for, `resource:action[,action]`; may be repeated
    #[arg(short, long, value_name = "ASK", required = true)]
    resource: Vec<Ask>,
    #[command(flatten)]
    declaration: Declaration,
    #[command(flatten)]
    patience: Patience,
    /// End it when nobody shows life for three of these; never when not said
    #[arg(long, value_name = "SPAN")]
    heartbeat: Option<Span>,
    /// The agent that will hold it; you when not said
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Delegate: the task of yours that this one is under, and within
    #[arg(long, value_name = "TASK")]
    parent: Option<String>,
    /// The idempotency key: the same one gives the same task
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl Start {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let told = self.patience.told(session.out);
        let request = self.into_request()?;
        let broker = session.broker().await?;
        let task = match (broker.start_task(request.clone()).await, told) {
            (Err(error), Some((at_most, told))) if error.reason() == Some(Reason::ApprovalRequired) => {
                let id = error.metadata().get("approval").cloned().ok_or(error)?;
                told(&broker.find_approval(&id).await?);
                broker.wait_for_approval(&id, at_most).await?;
                broker.start_task(request).await?
            }
            (started, _) => started?,
        };
        let task = TaskView::new(task, session.now());
        session.out.one(&task)?;
        session.out.hint(&format!(
            "taskpass exec --task {id} --resource … -- CMD    end it: taskpass task complete {id}",
            id = session.out.style.id(&task.id)
        ));
        Ok(Exit::Done)
    }

    fn into_request(self) -> Result<v1::StartTaskRequest, Failure> {
        let Declaration { kind, label, initiator, sensitivity, task_ttl } = self.declaration;
        Ok(v1::StartTaskRequest {
            request_id: self.request_id.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            purpose: self.purpose,
            scopes: self.resource.iter().flat_map(Ask::scopes).collect(),
            ttl: task_ttl.map(proto_span).transpose()?,
            heartbeat_interval: self.heartbeat.map(proto_span).transpose()?,
            labels: label.into_iter().map(|pair| (pair.name, pair.value)).collect(),
            initiator: initiator.unwrap_or_default(),
            agent: self.agent.unwrap_or_default(),
            parent_task_id: self.parent.unwrap_or_default(),
            sensitivity: sensitivity.unwrap_or_default(),
            approval_id: String::new(),
        })
    }
}
