use crate::{Api, convert};
use taskpass_broker::{CallAsk, CallOutcome, Caller};
use taskpass_proto::v1::{self, tool_service_server::ToolService};
use taskpass_types::Refusal;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl ToolService for Api {
    async fn authorize_tool_call(
        &self,
        request: Request<v1::AuthorizeToolCallRequest>,
    ) -> Result<Response<v1::AuthorizeToolCallResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let v1::AuthorizeToolCallRequest { call, approval_id } = request.into_inner();
        let ask = self.call_ask(&caller, call, &approval_id).await;
        let ask = ask.map_err(|refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let decision = self.run(async move { broker.authorize_call(caller, ask).await }).await?;
        Ok(Response::new(v1::AuthorizeToolCallResponse {
            call_id: decision.call.map(|id| id.to_string()).unwrap_or_default(),
            decision: Some(convert::call_decision(&decision)),
        }))
    }

    async fn report_tool_call(
        &self,
        request: Request<v1::ReportToolCallRequest>,
    ) -> Result<Response<v1::ReportToolCallResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let request = request.into_inner();
        let outcome = outcome(request.outcome());
        let ask = async {
            let id = convert::optional("call_id", &request.call_id)?;
            let outcome = outcome.ok_or_else(|| convert::invalid("outcome", "it says nothing"))?;
            Ok((id, outcome, self.call_ask(&caller, request.call, "").await?))
        };
        let (id, outcome, ask) = ask.await.map_err(|refusal: Refusal| self.refuse(&caller, &refusal))?;
        let broker = self.broker.clone();
        let decision = self.run(async move { broker.report_call(caller, id, ask, outcome).await }).await?;
        let decision = decision.as_ref().map(convert::call_decision);
        Ok(Response::new(v1::ReportToolCallResponse { decision }))
    }
}

impl Api {
    async fn call_ask(
        &self,
        caller: &Caller,
        call: Option<v1::ToolCall>,
        approval: &str,
    ) -> Result<CallAsk, Refusal> {
        let call = call.ok_or_else(|| convert::invalid("call", "it is missing"))?;
        // A resource server cannot list, so it names leases in full.
        let lease = match call.lease_id.as_str() {
            "" => None,
            id => Some(match id.parse() {
                Ok(id) => id,
                Err(_) => self.lease_id(caller, id).await?,
            }),
        };
        let task = match call.task_id.as_str() {
            "" => None,
            id => Some(self.task_id(caller, id).await?),
        };
        convert::call_ask(call, task, lease, approval)
    }
}

fn outcome(outcome: v1::CallOutcome) -> Option<CallOutcome> {
    match outcome {
        v1::CallOutcome::Unspecified => None,
        v1::CallOutcome::Succeeded => Some(CallOutcome::Succeeded),
        v1::CallOutcome::Failed => Some(CallOutcome::Failed),
        v1::CallOutcome::Refused => Some(CallOutcome::Refused),
    }
}
